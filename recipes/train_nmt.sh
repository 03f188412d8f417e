#!/usr/bin/env bash
# Train a translation model with LayerDrop in encoder and decoder: one fairseq-train command.
#
#   bash recipes/train_nmt.sh --data DIR --out DIR [--preset tiny|base|iwslt|wmt] [--seed N] [FAIRSEQ-TRAIN OPTIONS]
#
#   --data DIR      translation data (recipes/data/prepare_parallel.sh or verses.sh makes it; fairseq's own is as good)
#   --src-lang, --tgt-lang NAME   the language pair (default: what the data is named after)
#   --out DIR       where the checkpoints go (default: translator); checkpoint_best.pt is chosen on the valid split
#   --preset NAME   tiny (2 cores; the default), base, iwslt or wmt (GPUs): recipes/presets/NAME.sh
#   --seed N        default: 1
#
# Other options go to fairseq-train unchanged and win over the preset's; variables of the preset can also be set in
# the environment: NMT_UPDATES=5000 bash recipes/train_nmt.sh …
# Run it again after a kill and it resumes; run it again when finished and it does nothing. Every tenth of the training
# leaves checkpoint_EPOCH_UPDATES.pt: the first is a baseline, the last ones can be averaged (layerdrop average).
# Afterwards, after `import layerdrop_plugin`,
#   TransformerModel.from_pretrained(DIR, checkpoint_file="checkpoint_best.pt").translate("…")
# works with no more arguments, if the data has a sentencepiece.bpe.model.

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=lib/training.sh
source "$RECIPES/lib/training.sh"
# shellcheck source=lib/translation.sh
source "$RECIPES/lib/translation.sh"

DATA='' SRC_LANG='' TGT_LANG='' OUT=translator PRESET=tiny SEED=1 EXTRA=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --data) DATA=$(value "$1" "$@"); shift 2 ;;
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
DATA=$(absolute "$DATA") OUT=$(absolute "$OUT")
need_dir "$DATA"
languages "$DATA" train
preset "$PRESET"
need_software
training_options "$DATA"
BATCH=$NMT_BATCH

SCHEDULE=(--lr-scheduler "$NMT_SCHEDULE")
if [[ $NMT_SCHEDULE == polynomial_decay ]]; then SCHEDULE+=(--total-num-update "$NMT_UPDATES"); fi
if joined "$DATA"; then EMBEDDINGS=--share-all-embeddings; else EMBEDDINGS=--share-decoder-input-output-embed; fi
# The checkpoints that stay are at multiples of this: the tenth of the training, to whole intervals of saving.
TENTH=$((NMT_UPDATES / 10 / NMT_SAVE_UPDATES * NMT_SAVE_UPDATES))
TENTH=$((TENTH > 0 ? TENTH : NMT_SAVE_UPDATES))

train "$DATA" "$OUT" \
    --task translation --arch "$NMT_ARCH" "$EMBEDDINGS" \
    --encoder-layerdrop "$NMT_ENCODER_LAYERDROP" --decoder-layerdrop "$NMT_DECODER_LAYERDROP" \
    "${OPTIONS[@]}" "${SCHEDULE[@]}" --lr "$NMT_LR" --warmup-updates "$NMT_WARMUP" --max-update "$NMT_UPDATES" \
    --save-interval-updates "$NMT_SAVE_UPDATES" --keep-interval-updates 1 --keep-interval-updates-pattern "$TENTH" \
    --no-epoch-checkpoints --seed "$SEED" "${EXTRA[@]}"
keep_beside "$DATA" "$OUT"
say "trained: $OUT/checkpoint_best.pt"
