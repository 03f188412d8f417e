# shellcheck disable=SC2034
# For 2 CPU cores and an evening: at most 40 minutes a training, one at a time:
#   bash recipes/translate.sh --preset long
#   OMP_NUM_THREADS=2 bash recipes/compare_layerdrop.sh --preset long --jobs 1
# tiny.sh, which says what each number is, except for what is named here. The environment wins over both. (Its numbers of
# updates follow from speeds that were measured; no training with it has been run to the end.)

: "${PRETRAIN_UPDATES:=5000}" "${PRETRAIN_WARMUP:=500}" "${PRETRAIN_SAVE_UPDATES:=500}"

# 6 + 3 layers of width 256 train on about 2,400 target tokens a second, on two threads.
: "${NMT_SHAPE:=--encoder-embed-dim 256 --encoder-ffn-embed-dim 1024 --decoder-embed-dim 256 --decoder-ffn-embed-dim 1024}"
: "${NMT_MAX_TOKENS:=60}" "${NMT_LIMIT_TEST:=0}"
: "${NMT_BATCH:=1024}" "${NMT_BATCH_PER_GPU:=1024}"
: "${NMT_UPDATES:=5000}" "${NMT_WARMUP:=400}" "${NMT_SAVE_UPDATES:=500}"
: "${NMT_LR:=1e-3}" "${NMT_DROPOUT:=0.15}"
: "${NMT_FINETUNE_UPDATES:=1500}" "${NMT_FINETUNE_WARMUP:=150}" "${NMT_FINETUNE_LR:=5e-4}"

: "${COMPARE_PRETRAIN_UPDATES:=2000}" "${COMPARE_NMT_UPDATES:=4500}" "${COMPARE_SENTENCES:=400}"

# shellcheck source=tiny.sh
source "$RECIPES/presets/tiny.sh"
