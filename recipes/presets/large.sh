# shellcheck disable=SC2034
# RoBERTa-large (Liu et al. 2019) with LayerDrop 0.2 (Fan et al. 2019), for GPUs: base.sh, except for what is named here.

: "${PRETRAIN_ARCH:=layerdrop_roberta_large}"   # 24 layers, width 1024, FFN 4096, 16 heads
: "${PRETRAIN_BATCH_PER_GPU:=8}" "${PRETRAIN_WARMUP:=30000}" "${PRETRAIN_LR:=4e-4}" "${FINETUNE_LR:=1e-5}"

# shellcheck source=base.sh
source "$RECIPES/presets/base.sh"
