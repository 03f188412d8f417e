# shellcheck disable=SC2034
# WMT'16 en-de with 12 + 6 layers and LayerDrop 0.2 (Fan et al. 2019), trained like Ott et al. 2018 (fairseq's
# examples/scaling_nmt, joined dictionary, given with --data): base.sh, except for what is named here.
# (Not run on GPUs: none was at hand. Compare the flags with your fairseq's examples.)

: "${NMT_ARCH:=layerdrop_transformer_wmt_en_de_big_12_6}" # 12 + 6 layers, width 1024, FFN 4096, 16 heads
: "${NMT_BATCH:=458752}" "${NMT_BATCH_PER_GPU:=3584}" # 128 GPUs of 3,584 tokens, or as many passes of fewer
: "${NMT_UPDATES:=50000}" "${NMT_WARMUP:=4000}" "${NMT_SAVE_UPDATES:=1000}"
: "${NMT_LR:=1e-3}" "${NMT_SCHEDULE:=inverse_sqrt}" "${NMT_WEIGHT_DECAY:=0.0}" "${NMT_CLIP:=0.0}"
: "${NMT_CHILDREN:=decoder-3=all+even:3 decoder-2=all+even:2 encoder-6=even:6+all both-6-3=even:6+even:3 both-4-2=even:4+even:2}"
: "${NMT_FINETUNE_UPDATES:=5000}" "${NMT_FINETUNE_WARMUP:=500}"
: "${COMPARE_NMT_UPDATES:=50000}"

# shellcheck source=base.sh
source "$RECIPES/presets/base.sh"
