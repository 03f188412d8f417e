# shellcheck disable=SC2034
# For 2 CPU cores and an evening: about 40 minutes a training. tiny.sh, which says what each number is, except for what is
# named here. The environment wins over both. (Its sizes follow from measured speeds, one training of it has not been run
# to the end yet.)

: "${PRETRAIN_UPDATES:=5000}" "${PRETRAIN_WARMUP:=500}" "${PRETRAIN_SAVE_UPDATES:=500}"

# Width 256 trains at a third of the speed of tiny's 128: about 2.5 million target tokens in 40 minutes.
: "${NMT_SHAPE:=--encoder-embed-dim 256 --encoder-ffn-embed-dim 1024 --decoder-embed-dim 256 --decoder-ffn-embed-dim 1024}"
: "${NMT_MAX_TOKENS:=60}" "${NMT_LIMIT_TEST:=0}"
: "${NMT_BATCH:=1024}" "${NMT_BATCH_PER_GPU:=1024}"
: "${NMT_UPDATES:=5000}" "${NMT_WARMUP:=400}" "${NMT_SAVE_UPDATES:=500}"
: "${NMT_LR:=1e-3}" "${NMT_DROPOUT:=0.15}"
: "${NMT_FINETUNE_UPDATES:=1500}" "${NMT_FINETUNE_WARMUP:=150}" "${NMT_FINETUNE_LR:=5e-4}"

: "${COMPARE_PRETRAIN_UPDATES:=2000}" "${COMPARE_NMT_UPDATES:=5000}" "${COMPARE_SENTENCES:=400}"

# shellcheck source=tiny.sh
source "$RECIPES/presets/tiny.sh"
