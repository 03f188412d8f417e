# shellcheck disable=SC2034
# RoBERTa-base (Liu et al. 2019) with LayerDrop 0.2 (Fan et al. 2019), and a translation model of the size of IWSLT's, for
# GPUs: tiny.sh, which says what each number is, except for what is named here. The environment wins over both.
# (Run on a CPU for two updates, made small; not on GPUs: none was at hand.)

: "${NUM_WORKERS:=4}"
: "${VOCAB_SIZE:=32000}"

: "${PRETRAIN_ARCH:=layerdrop_roberta_base}"    # 12 layers, width 768, FFN 3072, 12 heads
: "${PRETRAIN_TOKENS:=512}"
: "${PRETRAIN_BATCH:=8192}" "${PRETRAIN_BATCH_PER_GPU:=16}" # what fits a 16 GB GPU; gradients are accumulated
: "${PRETRAIN_UPDATES:=500000}" "${PRETRAIN_WARMUP:=24000}" "${PRETRAIN_SAVE_UPDATES:=5000}"
: "${PRETRAIN_LR:=6e-4}" "${PRETRAIN_DROPOUT:=0.1}" "${PRETRAIN_FROM_LR:=1e-4}"
: "${PRETRAIN_PRECISION:=--fp16}"               # on GPUs only

: "${FINETUNE_LR:=2e-5}"                        # the papers choose among 1e-5, 2e-5, 3e-5, and batches of 16 and 32
: "${FINETUNE_EPOCHS:=10}" "${FINETUNE_PRECISION:=--fp16}"

# Translation of 30,000 pairs in minutes on one GPU.
: "${NMT_VOCAB_SIZE:=8000}" "${NMT_MAX_TOKENS:=175}" "${NMT_LIMIT_TEST:=0}"
: "${NMT_ARCH:=layerdrop_transformer_iwslt_de_en}" # 6 + 6 layers, width 512, FFN 1024, 4 heads
: "${NMT_BATCH:=8192}" "${NMT_BATCH_PER_GPU:=8192}" # what fits a 16 GB GPU
: "${NMT_UPDATES:=4000}" "${NMT_WARMUP:=600}" "${NMT_SAVE_UPDATES:=400}"
: "${NMT_LR:=1e-3}" "${NMT_DROPOUT:=0.3}" "${NMT_WEIGHT_DECAY:=1e-4}" "${NMT_PRECISION:=--fp16}"
: "${NMT_CHILDREN:=decoder-3=all+even:3 decoder-1=all+even:1 encoder-3=even:3+all both-3-3=even:3+even:3 both-3-1=even:3+even:1}"
: "${NMT_FINETUNE_UPDATES:=800}" "${NMT_FINETUNE_WARMUP:=80}" "${NMT_FINETUNE_LR:=3e-4}"

: "${COMPARE_PRETRAIN_UPDATES:=20000}" "${COMPARE_NMT_UPDATES:=4000}" "${COMPARE_SENTENCES:=1000}"

# shellcheck source=tiny.sh
source "$RECIPES/presets/tiny.sh"
