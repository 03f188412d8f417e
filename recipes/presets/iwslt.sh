# shellcheck disable=SC2034
# IWSLT'14 de-en with the flags of fairseq's examples/translation, and LayerDrop 0.2 (Fan et al. 2019): base.sh, except for
# what is named here. The data: prepare-iwslt14.sh and fairseq-preprocess there, given with --data.
# (Not run on GPUs: none was at hand. Compare the flags with your fairseq's examples.)

: "${NMT_BATCH:=4096}" "${NMT_BATCH_PER_GPU:=4096}"
: "${NMT_UPDATES:=50000}" "${NMT_WARMUP:=4000}" "${NMT_SAVE_UPDATES:=1000}"
: "${NMT_LR:=5e-4}" "${NMT_SCHEDULE:=inverse_sqrt}" "${NMT_CLIP:=0.0}" "${NMT_BEAM:=5}"
: "${NMT_FINETUNE_UPDATES:=10000}" "${NMT_FINETUNE_WARMUP:=500}"
: "${COMPARE_NMT_UPDATES:=50000}"

# shellcheck source=base.sh
source "$RECIPES/presets/base.sh"
