# shellcheck shell=bash disable=SC2034
# RoBERTa-base (Liu et al. 2019) with LayerDrop 0.2 (Fan et al. 2019), for GPUs. The environment wins over these.

: "${VOCAB_SIZE:=32000}"

: "${PRETRAIN_ARCH:=layerdrop_roberta_base}" # 12 layers, width 768, FFN 3072, 12 heads
: "${PRETRAIN_LAYERDROP:=0.2}"
: "${PRETRAIN_TOKENS:=512}"
: "${PRETRAIN_BATCH:=8192}"
: "${PRETRAIN_BATCH_PER_GPU:=16}"            # what fits a 16 GB GPU; gradients are accumulated up to PRETRAIN_BATCH
: "${PRETRAIN_UPDATES:=500000}"
: "${PRETRAIN_WARMUP:=24000}"
: "${PRETRAIN_LR:=6e-4}"
: "${PRETRAIN_DROPOUT:=0.1}"
: "${PRETRAIN_SAVE_UPDATES:=5000}"
: "${PRETRAIN_PRECISION:=--fp16}"            # on GPUs only

: "${PRUNE_LAYERS:=every-other:0.5}"

: "${FINETUNE_LAYERDROP:=0.0}"
: "${FINETUNE_BATCH:=32}"                    # the papers choose among 16 and 32
: "${FINETUNE_EPOCHS:=10}"
: "${FINETUNE_LR:=2e-5}"                     # … and among 1e-5, 2e-5, 3e-5
: "${FINETUNE_DROPOUT:=0.1}"
: "${FINETUNE_PRECISION:=--fp16}"

: "${LOG_INTERVAL:=100}"
: "${NUM_WORKERS:=4}"
