#!/usr/bin/env bash
# From raw text to a small, fine-tuned classifier, and what it costs and gains: one command, 2 CPU cores, 15 minutes.
#
#   bash recipes/quickstart.sh [--out DIR] [--seeds N] [--seed N]
#
#   --out PATH        everything lands here (default: quickstart/ in the checkout)
#   --seeds N         repeat the fine-tunings with N seeds [default: 1]
#   --seed SEED       the first seed [default: 1]
#   --preset NAME     tiny, base or large [default: tiny]
#   --downloads PATH  keeps what is fetched (default: DIR/downloads)
#   --parent-only     stop when the parent is fine-tuned with the first seed
#   --tiny-slice      a few hundred lines and a toy model: shows that it runs, the numbers mean nothing
#
# Steps: install (into .venv if no virtual environment is active), fetch and prepare, pre-train with LayerDrop, prune
# every other layer (with depth counted from 0, as the LayerDrop paper's formula does, and from 1, as its released example
# does), fine-tune the parent, both children and a model of the first one's shape from scratch, evaluate them on the test
# split, time them, report. Killed? Run it again: what is finished is skipped, training resumes.
# Ends with a table, and report.md, report.json and report.png in DIR.

source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
OUT=${OUT:-$ROOT/quickstart}
DOWNLOADS=${DOWNLOADS:-$OUT/downloads} SPEECHES=$OUT/data/speeches REVIEWS=$OUT/data/reviews
LIMIT_TEXT=() LIMIT_NLU=() LIMIT_TIME=() NAMES=(parent child child-from-1 scratch)
if has --tiny-slice; then
    slice
    LIMIT_TEXT=(--limit 400 --valid 0.1 --vocab-size 300) LIMIT_NLU=(--limit 300) LIMIT_TIME=(--repeats 1 --max-sentences 32)
fi

keep_times "$OUT"
software 9 report matplotlib scipy

step "text for pre-training: speeches"
recipe data/speeches.sh --out "$SPEECHES" --downloads "$DOWNLOADS" --lowercase "${LIMIT_TEXT[@]}"

step "sentences to classify: movie reviews"
recipe data/reviews.sh --tokenizer "$SPEECHES" --out "$REVIEWS" --downloads "$DOWNLOADS" "${LIMIT_NLU[@]}"

step "pre-train a masked language model with LayerDrop"
recipe pretrain.sh --data "$SPEECHES" --out "$OUT/pretrained" --seed "$SEED"
PARENT=$OUT/pretrained/checkpoint_best.pt

finetune() { recipe finetune_nlu.sh "$1" "$2" --data "$REVIEWS" --out "$OUT/finetuned/$3-$4" --seed "$4"; }
if has --parent-only; then
    finetune --from "$PARENT" parent "$SEED"
    exit
fi

step "prune: every other layer goes, depth counted from 0 and from 1"
recipe prune.sh --from "$PARENT" --out "$OUT/pruned"
recipe prune.sh --from "$PARENT" --layers every-other-from-1:0.5 --out "$OUT/pruned-from-1"

step "fine-tune the parent, the children, and the first one's shape from scratch"
for ((S = SEED; S < SEED + SEEDS; S++)); do
    printf '\n  seed %d   (%s)\n' "$S" "$(elapsed)"
    finetune --from "$PARENT" parent "$S"
    finetune --from "$OUT/pruned/child.pt" child "$S"
    finetune --from "$OUT/pruned-from-1/child.pt" child-from-1 "$S"
    finetune --from-scratch-like "$OUT/pruned/child.pt" scratch "$S"
done

step "evaluate on the test split"
for ((S = SEED + SEEDS - 1; S >= SEED; S--)); do # those of the first seed are timed below
    TRAINED=()
    for NAME in "${NAMES[@]}"; do TRAINED+=("$NAME=$OUT/finetuned/$NAME-$S/checkpoint_best.pt"); done
    models "${TRAINED[@]}"
    evaluate_models "$OUT/evaluated/$S" "$REVIEWS" test "$S"
done

step "time the models, in turn in one process"
time_models "$OUT/latency.json" "$REVIEWS" "${LIMIT_TIME[@]}"

step "report"
run layerdrop report --results "$OUT/evaluated" --latency "$OUT/latency.json" --times "$LAYERDROP_TIMES" --out "$OUT"
printf '\nDone in %s. Read %s\n' "$(elapsed)" "$OUT/report.md"
