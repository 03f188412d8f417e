#!/usr/bin/env bash
# Fine-tune a classifier or a regression on sentences or sentence pairs: one fairseq-train command.
#
#   bash recipes/finetune_nlu.sh --data DIR --from CHECKPOINT [--layers SPEC] --out DIR [FAIRSEQ-TRAIN OPTIONS]
#   bash recipes/finetune_nlu.sh --data DIR --from-scratch-like CHECKPOINT --out DIR [FAIRSEQ-TRAIN OPTIONS]
#
#   --data DIR      sentence_prediction data (recipes/data/prepare_nlu.sh or reviews.sh makes it); pairs and regression
#                   targets are recognised by what is in it (required)
#   --from PATH     a pre-trained, pruned or fine-tuned model: shape and weights come from it
#   --layers SPEC   prune it first: every-other:P, even:N, first:N, last:N, outer:N (N layers stay), keep:0,2,4
#   --layerdrop F   leave out each layer with this probability in training, so that children can be cut afterwards without
#                   another fine-tuning (default: the preset's, 0)
#   --from-scratch-like PATH   the shape of that checkpoint with fresh weights
#   --regression    the labels are numbers (default: when DATA has no label dictionary)
#   --out PATH      where the checkpoints go [default: finetuned]; checkpoint_best.pt is chosen on the valid split
#   --preset NAME   tiny (2 cores), base or large (the papers' flags, GPUs): recipes/presets/NAME.sh [default: tiny]
#   --seed SEED     [default: 1]
#   --*             other options go to fairseq-train unchanged and win over the preset's
#
# Variables of the preset can also be set in the environment: FINETUNE_LR=1e-4 bash recipes/finetune_nlu.sh …
# Run it again after a kill and it resumes; run it again when finished and it does nothing. Afterwards
#   RobertaModel.from_pretrained(DIR, checkpoint_file="checkpoint_best.pt")
# works with no more arguments (from scratch: after `import layerdrop_plugin`).

source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
MODEL=$FROM$FROM_SCRATCH_LIKE
[[ -n $MODEL ]] || die "--from or --from-scratch-like is required (see --help)" 2
excludes --from --from-scratch-like
excludes --from-scratch-like --layers
need_file "$DATA/input0/dict.txt"
preset "$PRESET"
need_software
same_dictionary "$MODEL" "$OUT" "$DATA/input0/dict.txt"

# What is trained, and from what.
if has --from; then
    SHAPE=(--task pruning_sentence_prediction --arch layerdrop_roberta --prune-from "$MODEL"
        ${LAYERS:+--prune-encoder-layers "$LAYERS"})
else
    [[ -f $MODEL ]] || MODEL=$OUT/checkpoint_last.pt
    WORDS=$(shape options "$MODEL") || exit
    mapfile -t SHAPE <<<"$WORDS"
    SHAPE=(--task sentence_prediction --arch layerdrop_roberta "${SHAPE[@]}")
fi
words SCHEDULE data/data_folder.py finetuning "$DATA" "$FINETUNE_BATCH" "$FINETUNE_EPOCHS" "$REGRESSION"
words FORMAT data/data_folder.py inputs "$DATA" # the first two are --bpe
share --batch-size "$FINETUNE_BATCH" "$FINETUNE_BATCH" "$FINETUNE_PRECISION"

train "$DATA" "$OUT" \
    "${SHAPE[@]}" --criterion sentence_prediction "${SCHEDULE[@]}" \
    --encoder-layerdrop "${LAYERDROP:-$FINETUNE_LAYERDROP}" \
    "${FORMAT[@]:2}" --shorten-method truncate \
    --dropout "$FINETUNE_DROPOUT" --attention-dropout "$FINETUNE_DROPOUT" --weight-decay 0.1 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-6 --clip-norm 1.0 \
    --lr-scheduler polynomial_decay --lr "$FINETUNE_LR" \
    --required-batch-size-multiple 1 --no-epoch-checkpoints "${FORMAT[@]::2}" --seed "$SEED" --num-workers "$NUM_WORKERS" \
    --log-format simple --log-interval "$LOG_INTERVAL" "${OTHERS[@]}"
keep_beside "$DATA" "$OUT"
keep_origin "$(dirname -- "$MODEL")" "$OUT"
say "fine-tuned: $OUT/checkpoint_best.pt"
