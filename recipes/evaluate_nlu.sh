#!/usr/bin/env bash
# Evaluate a fine-tuned model: one fairseq-validate command, and a result file made from what it prints.
#
#   bash recipes/evaluate_nlu.sh --model CHECKPOINT --data DIR [--split test] --out result.json [--name NAME]
#                                [FAIRSEQ-VALIDATE OPTIONS]
#
#   --model CKPT    a checkpoint of finetune_nlu.sh (required)
#   --data DIR      sentence_prediction data (required)
#   --split NAME    test, valid or train [default: test]
#   --out PATH      the result as JSON; the log lies beside it [default: result.json]
#   --name NAME     the model's name in reports (default: the folder of CKPT)
#   --seed SEED     the seed of its fine-tuning, for reports [default: 1]
#   --preset NAME   accepted like in the other recipes; evaluation is the same in all of them [default: tiny]
#   --*             other options go to fairseq-validate unchanged
#
# Every example is counted: fairseq's own default leaves out the rest
# of a last batch. Run it again for the same model and data and it does nothing.

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
need_file "$DATA/input0/$SPLIT.idx"
preset "$PRESET"
need_software

# evaluate NAME SEED OPTION...: the result of the model of that name.
evaluate() {
    local log=${OUT%.json}.log command
    device
    command=(fairseq-validate "$DATA" "${DEVICE[@]}" "${@:3}")
    run_logged "$log" "${command[@]}"
    layerdrop score --log "$log" --checkpoint "$MODEL" --name "$1" --seed "$2" --split "$SPLIT" --data "$DATA" \
        --command "$(quoted "${command[@]}")" --out "$OUT"
}

REGRESSION=(--regression-target --report-pearson-and-spearman)
if [[ -f $DATA/label/dict.txt ]]; then REGRESSION=(); fi
once "$OUT" "$MODEL" "$DATA/input0/$SPLIT.bin" -- evaluate "${NAME:-$(basename -- "$(dirname -- "$MODEL")")}" "$SEED" \
    --path "$MODEL" --valid-subset "$SPLIT" --task sentence_prediction --criterion sentence_prediction "${REGRESSION[@]}" \
    --batch-size 32 --required-batch-size-multiple 1 --num-workers "$NUM_WORKERS" --log-format json "${OTHERS[@]}"
