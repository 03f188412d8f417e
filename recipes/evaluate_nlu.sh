#!/usr/bin/env bash
# Evaluate fine-tuned classifiers or regressions: one layerdrop command, which prints the fairseq-validate command that
# gives the same number.
#
#   bash recipes/evaluate_nlu.sh --model CHECKPOINT --data DIR [--split test] --out DIR [--name NAME]
#                                [LAYERDROP EVALUATE OPTIONS]
#
#   --model CKPT    a checkpoint of finetune_nlu.sh (required)
#   --data DIR      sentence_prediction data (required)
#   --split NAME    test, valid or train [default: test]
#   --out PATH      gets evaluate.json and evaluate.md [default: evaluated]
#   --name NAME     the model's name in reports (default: the folder of CKPT)
#   --seed SEED     the seed of its fine-tuning, for reports [default: 1]
#   --preset NAME   accepted like in the other recipes; evaluation is the same in all of them [default: tiny]
#   --*             other options go to `layerdrop evaluate` unchanged
#
# Every example is counted. Run it again for the same model and data and it does nothing.

source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
need_file "$DATA/input0/$SPLIT.idx"
preset "$PRESET"
need_software
models "${NAME:-$(basename -- "$(dirname -- "$MODEL")")}=$MODEL"
evaluate_models "$OUT" "$DATA" "$SPLIT" "$SEED" "${OTHERS[@]}"
