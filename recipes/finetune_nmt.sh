#!/usr/bin/env bash
# Fine-tune a translation model, or train what pruning left of it a little longer: one fairseq-train command.
#
#   bash recipes/finetune_nmt.sh --data DIR --from CHECKPOINT [--encoder-layers SPEC] [--decoder-layers SPEC] --out DIR
#                                [FAIRSEQ-TRAIN OPTIONS]
#
#   --data DIR      translation data with the dictionaries of CKPT
#   --from CKPT     a trained or pruned model: shape and weights come from it
#   --encoder-layers, --decoder-layers SPEC   prune it first: every-other:P, even:N, first:N, last:N, outer:N (N layers
#                   stay), keep:0,2,4; a side that is not named stays whole
#   --src-lang, --tgt-lang NAME   the language pair (default: what the data is named after)
#   --out DIR       where the checkpoints go (default: finetuned); checkpoint_best.pt is chosen on the valid split
#   --preset NAME   tiny (2 cores; the default), base, iwslt or wmt (GPUs): recipes/presets/NAME.sh
#   --seed N        default: 1
#
# Other options go to fairseq-train unchanged and win over the preset's; variables of the preset can also be set in
# the environment: NMT_FINETUNE_LR=1e-4 bash recipes/finetune_nmt.sh …
# Run it again after a kill and it resumes; run it again when finished and it does nothing. Afterwards
#   TransformerModel.from_pretrained(DIR, checkpoint_file="checkpoint_best.pt").translate("…")
# works with no more arguments, if the data has a sentencepiece.bpe.model.

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=lib/training.sh
source "$RECIPES/lib/training.sh"
# shellcheck source=lib/translation.sh
source "$RECIPES/lib/translation.sh"

DATA='' FROM='' LAYERS=() SRC_LANG='' TGT_LANG='' OUT=finetuned PRESET=tiny SEED=1 EXTRA=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --data) DATA=$(value "$1" "$@"); shift 2 ;;
        --from) FROM=$(value "$1" "$@"); shift 2 ;;
        --encoder-layers | --decoder-layers) LAYERS+=("--prune-${1#--}" "$(value "$1" "$@")"); shift 2 ;;
        --src-lang) SRC_LANG=$(value "$1" "$@"); shift 2 ;;
        --tgt-lang) TGT_LANG=$(value "$1" "$@"); shift 2 ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --preset) PRESET=$(value "$1" "$@"); shift 2 ;;
        --seed) SEED=$(value "$1" "$@"); shift 2 ;;
        --) shift; EXTRA+=("$@"); break ;;
        *) EXTRA+=("$1"); shift ;;
    esac
done
need --data "$DATA"
need --from "$FROM"
DATA=$(absolute "$DATA") FROM=$(absolute "$FROM") OUT=$(absolute "$OUT")
need_dir "$DATA"
languages "$DATA" train
preset "$PRESET"
need_software
# The parent may be gone when a run resumes.
if [[ -f $FROM ]]; then
    same_dictionary "$FROM" "$DATA/dict.$SRC_LANG.txt"
    same_dictionary "$FROM" "$DATA/dict.$TGT_LANG.txt"
elif ! compgen -G "$OUT/checkpoint*.pt" >/dev/null; then
    need_file "$FROM"
fi
training_options "$DATA"
BATCH=$NMT_BATCH

train "$DATA" "$OUT" \
    --task pruning_translation --arch layerdrop_transformer --prune-from "$FROM" "${LAYERS[@]}" \
    --encoder-layerdrop "$NMT_FINETUNE_LAYERDROP" --decoder-layerdrop "$NMT_FINETUNE_LAYERDROP" \
    "${OPTIONS[@]}" --lr-scheduler polynomial_decay --lr "$NMT_FINETUNE_LR" --warmup-updates "$NMT_FINETUNE_WARMUP" \
    --max-update "$NMT_FINETUNE_UPDATES" --total-num-update "$NMT_FINETUNE_UPDATES" \
    --save-interval-updates "$NMT_SAVE_UPDATES" --keep-interval-updates 1 --no-epoch-checkpoints \
    --seed "$SEED" "${EXTRA[@]}"
keep_beside "$DATA" "$OUT"
say "fine-tuned: $OUT/checkpoint_best.pt"
