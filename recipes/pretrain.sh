#!/usr/bin/env bash
# Pre-train a masked language model with LayerDrop: one fairseq-train command.
#
#   bash recipes/pretrain.sh --data DIR --out DIR [--preset tiny|base|large] [--seed N] [FAIRSEQ-TRAIN OPTIONS]
#   bash recipes/pretrain.sh --data DIR --out DIR --from CHECKPOINT [FAIRSEQ-TRAIN OPTIONS]
#
#   --data DIR      masked-LM data (recipes/data/prepare_text.sh or speeches.sh makes it) (required)
#   --out PATH      where the checkpoints go [default: pretrained]
#   --from PATH     go on pre-training this model, whose shape and weights these are: with LayerDrop, so that children can
#                   be cut out of it; DATA is prepared with its tokenizer (prepare_text.sh --tokenizer)
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
if has --from; then
    [[ -z $PRETRAIN_SHAPE ]] || die "PRETRAIN_SHAPE is for new models: --from takes the shape of $FROM" 2
    same_dictionary "$FROM" "$OUT" "$DATA/dict.txt"
    TASK=pruning_masked_lm LR=$PRETRAIN_FROM_LR LONGEST=()
    SHAPE=(--arch layerdrop_roberta --prune-from "$FROM")
else
    TASK=masked_lm LR=$PRETRAIN_LR LONGEST=(--max-positions "$PRETRAIN_TOKENS")
    read -ra SHAPE <<<"--arch $PRETRAIN_ARCH $PRETRAIN_SHAPE"
fi
BPE=sentencepiece
if [[ -f $DATA/tokenizer.json ]]; then BPE=tokenizer_json; fi # of an imported model
share --batch-size "$PRETRAIN_BATCH" "$PRETRAIN_BATCH_PER_GPU" "$PRETRAIN_PRECISION"

train "$DATA" "$OUT" \
    --task "$TASK" --criterion masked_lm \
    "${SHAPE[@]}" --encoder-layerdrop "$PRETRAIN_LAYERDROP" \
    "${LONGEST[@]}" --tokens-per-sample "$PRETRAIN_TOKENS" --sample-break-mode none \
    --dropout "$PRETRAIN_DROPOUT" --attention-dropout "$PRETRAIN_DROPOUT" --weight-decay 0.01 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-6 --clip-norm 1.0 \
    --lr-scheduler polynomial_decay --lr "$LR" --warmup-updates "$PRETRAIN_WARMUP" \
    --max-update "$PRETRAIN_UPDATES" --total-num-update "$PRETRAIN_UPDATES" \
    --required-batch-size-multiple 1 \
    --save-interval-updates "$PRETRAIN_SAVE_UPDATES" --keep-interval-updates 1 --no-epoch-checkpoints \
    --bpe "$BPE" --seed "$SEED" --num-workers "$NUM_WORKERS" \
    --log-format simple --log-interval "$LOG_INTERVAL" "${OTHERS[@]}"
keep_beside "$DATA" "$OUT"
say "pre-trained: $OUT/checkpoint_best.pt"
