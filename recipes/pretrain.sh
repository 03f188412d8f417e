#!/usr/bin/env bash
# Pre-train a masked language model with LayerDrop: one fairseq-train command.
#
#   bash recipes/pretrain.sh --data DIR --out DIR [--preset tiny|base|large] [--seed N] [FAIRSEQ-TRAIN OPTIONS]
#
#   --data DIR      masked-LM data (recipes/data/prepare_text.sh or speeches.sh makes it) (required)
#   --out PATH      where the checkpoints go [default: pretrained]
#   --preset NAME   tiny (2 cores), base or large (the papers' flags, GPUs): recipes/presets/NAME.sh [default: tiny]
#   --seed SEED     [default: 1]
#   --*             other options go to fairseq-train unchanged and win over the preset's
#
# Variables of the preset can also be set in the environment: PRETRAIN_UPDATES=5000 bash recipes/pretrain.sh …
# Run it again after a kill and it resumes; run it again when finished and it does nothing.

source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
need_file "$DATA/dict.txt"
preset "$PRESET"
need_software
read -ra SHAPE <<<"$PRETRAIN_SHAPE"
share --batch-size "$PRETRAIN_BATCH" "$PRETRAIN_BATCH_PER_GPU" "$PRETRAIN_PRECISION"

train "$DATA" "$OUT" \
    --task masked_lm --criterion masked_lm \
    --arch "$PRETRAIN_ARCH" "${SHAPE[@]}" --encoder-layerdrop "$PRETRAIN_LAYERDROP" \
    --max-positions "$PRETRAIN_TOKENS" --tokens-per-sample "$PRETRAIN_TOKENS" --sample-break-mode none \
    --dropout "$PRETRAIN_DROPOUT" --attention-dropout "$PRETRAIN_DROPOUT" --weight-decay 0.01 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-6 --clip-norm 1.0 \
    --lr-scheduler polynomial_decay --lr "$PRETRAIN_LR" --warmup-updates "$PRETRAIN_WARMUP" \
    --max-update "$PRETRAIN_UPDATES" --total-num-update "$PRETRAIN_UPDATES" \
    --required-batch-size-multiple 1 \
    --save-interval-updates "$PRETRAIN_SAVE_UPDATES" --keep-interval-updates 1 --no-epoch-checkpoints \
    --bpe sentencepiece --seed "$SEED" --num-workers "$NUM_WORKERS" \
    --log-format simple --log-interval "$LOG_INTERVAL" "${OTHERS[@]}"
keep_beside "$DATA" "$OUT"
say "pre-trained: $OUT/checkpoint_best.pt"
