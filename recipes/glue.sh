#!/usr/bin/env bash
# One of GLUE's tasks: a model fine-tuned on its official files as in the papers, and measured by GLUE's metric.
#
#   bash recipes/glue.sh TASK GLUE_DIR MODEL OUT [OPTIONS]
#
#   FILE...         TASK is CoLA, SST-2, MRPC, QQP, STS-B, MNLI, QNLI or RTE; GLUE_DIR holds a folder of that name with
#                   train.tsv and dev.tsv (MNLI: dev_matched.tsv and dev_mismatched.tsv), as GLUE's download script
#                   leaves them; MODEL is a pre-trained, pruned or imported checkpoint, or the folder of one, with its
#                   tokenizer and dictionary; OUT is the folder for everything
#   --layers SPEC   prune MODEL first: every-other:P, even:N, first:N, last:N, outer:N (N layers stay), keep:0,2,4
#   --layerdrop F   leave out each layer with this probability in training (default: the preset's, 0)
#   --preset NAME   base or large: RoBERTa's batch and learning rate for the task, and 10 epochs; tiny: its own numbers
#                   [default: base]
#   --seed SEED     [default: 1]
#
# Printed, and left in OUT/evaluated: on the development set accuracy; of CoLA Matthews' correlation, of MRPC and QQP the
# mean of accuracy and F1, of STS-B that of Pearson's and Spearman's. OUT/evaluated-mismatched is of MNLI's second one.
# The best checkpoint is chosen on the (matched) development set too, as in the papers: the score is a little too good.
# Variables of the preset can also be set in the environment: FINETUNE_LR=3e-5 bash recipes/glue.sh …
# Run it again after a kill and it goes on; run it again when finished and it does nothing.

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
[[ ${#OTHERS[@]} -eq 4 ]] || die "TASK, GLUE_DIR, MODEL and OUT are required (see --help)" 2
GLUE_DIR=${OTHERS[1]} MODEL=${OTHERS[2]} OUT=${OTHERS[3]}
words ABOUT data/glue.py settings "${OTHERS[0]}"
TASK=${ABOUT[0]} METRIC=${ABOUT[1]}
if [[ -d $MODEL ]]; then
    for NAME in checkpoint_best checkpoint_last checkpoint model; do
        if [[ -f $MODEL/$NAME.pt ]]; then break; fi
    done
    MODEL+=/$NAME.pt
fi
need_file "$MODEL"
need_software

SPLITS=(train valid) FILES=("$GLUE_DIR/$TASK"/{train,dev}.tsv)
if [[ $TASK == MNLI ]]; then
    SPLITS=(train valid test) FILES=("$GLUE_DIR/$TASK"/{train,dev_matched,dev_mismatched}.tsv)
fi
for FILE in "${FILES[@]}"; do need_file "$FILE"; done
trap 'rmdir -- "$OUT/tsv" "$OUT" 2>/dev/null || true' EXIT # a file that cannot be read leaves nothing
once "$OUT/tsv/train.tsv" "${FILES[@]}" -- \
    run "$PYTHON" "$RECIPES/data/glue.py" read "$TASK" "$GLUE_DIR" "$OUT/tsv"
trap - EXIT

PREPARE=()
for SPLIT in "${SPLITS[@]}"; do PREPARE+=("--$SPLIT" "$OUT/tsv/$SPLIT.tsv"); done
if [[ $TASK == STS-B ]]; then PREPARE+=(--regression); fi
recipe data/prepare_nlu.sh --tokenizer "$(dirname -- "$MODEL")" --out "$OUT/data" "${PREPARE[@]}"

if [[ $PRESET != tiny ]]; then
    export FINETUNE_BATCH=${FINETUNE_BATCH:-${ABOUT[2]}} FINETUNE_LR=${FINETUNE_LR:-${ABOUT[3]}}
    export FINETUNE_EPOCHS=${FINETUNE_EPOCHS:-10}
fi
given --layers --layerdrop --seed
recipe finetune_nlu.sh --data "$OUT/data" --from "$MODEL" --out "$OUT/finetuned" "${GIVEN[@]}" \
    --clip-norm 0.0 "${ABOUT[@]:4}"

# evaluated SPLIT FOLDER: GLUE's metric of a development set.
evaluated() {
    recipe evaluate_nlu.sh --model "$OUT/finetuned/checkpoint_best.pt" --data "$OUT/data" --split "$1" --out "$OUT/$2" \
        --name "$TASK" --seed "$SEED" --metric "$METRIC"
}
evaluated valid evaluated
say "$TASK: $OUT/evaluated/evaluate.md"
if [[ $TASK == MNLI ]]; then
    evaluated test evaluated-mismatched
    say "$TASK, mismatched: $OUT/evaluated-mismatched/evaluate.md"
fi
