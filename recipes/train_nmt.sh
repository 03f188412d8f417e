#!/usr/bin/env bash
# Train a translation model with LayerDrop in encoder and decoder: one fairseq-train command.
#
#   bash recipes/train_nmt.sh --data DIR --out DIR [--preset tiny|long|base|iwslt|wmt] [--seed N] [FAIRSEQ-TRAIN OPTIONS]
#
#   --data DIR      translation data (recipes/data/prepare_parallel.sh or libreoffice.sh makes it; fairseq's own is as good)
#                   (required)
#   --src-lang, --tgt-lang LANG   the language pair (default: what the data is named after)
#   --out PATH      where the checkpoints go [default: translator]; checkpoint_best.pt is chosen on the valid split
#   --preset NAME   tiny and long (2 cores), base, iwslt or wmt (GPUs): recipes/presets/NAME.sh [default: tiny]
#   --seed SEED     [default: 1]
#   --*             other options go to fairseq-train unchanged and win over the preset's
#
# Variables of the preset can also be set in the environment: NMT_UPDATES=5000 bash recipes/train_nmt.sh …
# Run it again after a kill and it resumes; run it again when finished and it does nothing. Every tenth of the training
# leaves checkpoint_EPOCH_UPDATES.pt: the first is a baseline, the last ones can be averaged (layerdrop average).
# Afterwards, after `import layerdrop_plugin`,
#   TransformerModel.from_pretrained(DIR, checkpoint_file="checkpoint_best.pt").translate("…")
# works with no more arguments, if the data has a sentencepiece.bpe.model.

source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
languages "$DATA" train
preset "$PRESET"
need_software
training_options "$DATA"
read -ra SHAPE <<<"$NMT_SHAPE"

SCHEDULE=(--lr-scheduler "$NMT_SCHEDULE")
if [[ $NMT_SCHEDULE == polynomial_decay ]]; then SCHEDULE+=(--total-num-update "$NMT_UPDATES"); fi
EMBEDDINGS=--share-all-embeddings # with the same dictionary for both languages one table serves all
cmp -s -- "$DATA"/dict.{"$SRC_LANG","$TGT_LANG"}.txt || EMBEDDINGS=--share-decoder-input-output-embed
# The checkpoints that stay are at multiples of this: the tenth of the training, to whole intervals of saving.
TENTH=$((NMT_UPDATES / 10 / NMT_SAVE_UPDATES * NMT_SAVE_UPDATES))
TENTH=$((TENTH > 0 ? TENTH : NMT_SAVE_UPDATES))

train "$DATA" "$OUT" \
    --task translation --arch "$NMT_ARCH" "${SHAPE[@]}" "$EMBEDDINGS" \
    --encoder-layerdrop "$NMT_ENCODER_LAYERDROP" --decoder-layerdrop "$NMT_DECODER_LAYERDROP" \
    "${OPTIONS[@]}" "${SCHEDULE[@]}" --lr "$NMT_LR" --warmup-updates "$NMT_WARMUP" --max-update "$NMT_UPDATES" \
    --save-interval-updates "$NMT_SAVE_UPDATES" --keep-interval-updates 1 --keep-interval-updates-pattern "$TENTH" \
    --no-epoch-checkpoints --seed "$SEED" "${OTHERS[@]}"
keep_beside "$DATA" "$OUT"
say "trained: $OUT/checkpoint_best.pt"
