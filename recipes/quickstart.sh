#!/usr/bin/env bash
# From raw text to a small, fine-tuned classifier, and what it costs and gains: one command, 2 CPU cores, 15 minutes.
#
#   bash recipes/quickstart.sh [--out DIR] [--seeds N] [--seed N]
#
#   --out DIR         everything lands here (default: quickstart/ in the checkout)
#   --seeds N         repeat the fine-tunings with N seeds (default: 1)
#   --seed N          the first seed (default: 1)
#   --preset NAME     tiny (the default), base or large
#   --downloads DIR   keeps what is fetched (default: DIR/downloads)
#   --parent-only     stop when the parent is fine-tuned with the first seed
#   --tiny-slice      a few hundred lines and a toy model: shows that it runs, the numbers mean nothing
#
# Steps: install (into .venv if no virtual environment is active), fetch and prepare, pre-train with LayerDrop, prune
# every other layer (with depth counted from 0, as the LayerDrop paper's formula does, and from 1, as its released example
# does), fine-tune the parent, both children and a model of the first one's shape from scratch, evaluate them on the test
# split, time them, report. Killed? Run it again: what is finished is skipped, training resumes.
# Ends with a table, and report.md, report.json and report.png in DIR.

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=lib/environment.sh
source "$RECIPES/lib/environment.sh"
# shellcheck source=lib/steps.sh
source "$RECIPES/lib/steps.sh"

OUT=$ROOT/quickstart SEEDS=1 SEED=1 PRESET=tiny DOWNLOADS='' SLICE='' PARENT_ONLY=''
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --seeds) SEEDS=$(value "$1" "$@"); shift 2 ;;
        --seed) SEED=$(value "$1" "$@"); shift 2 ;;
        --preset) PRESET=$(value "$1" "$@"); shift 2 ;;
        --downloads) DOWNLOADS=$(value "$1" "$@"); shift 2 ;;
        --parent-only) PARENT_ONLY=yes; shift ;;
        --tiny-slice) SLICE=yes; shift ;;
        *) die "unknown argument $1 (see --help)" 2 ;;
    esac
done
[[ $SEEDS =~ ^[1-9][0-9]*$ ]] || die "--seeds $SEEDS: want a number from 1" 2
[[ $SEED =~ ^[0-9]+$ ]] || die "--seed $SEED: want a whole number" 2
OUT=$(absolute "$OUT")
DOWNLOADS=$(absolute "${DOWNLOADS:-$OUT/downloads}")

STEPS=9

step "software"
use_environment report matplotlib scipy
need_software
user_dir

LIMIT_TEXT=() LIMIT_NLU=() LIMIT_TIME=() TOY=()
if [[ -n $SLICE ]]; then
    LIMIT_TEXT=(--limit 400 --valid 0.1 --vocab-size 300) LIMIT_NLU=(--limit 300)
    LIMIT_TIME=(--repeats 1 --max-sentences 32)
    TOY=(--encoder-layers 2 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64 --encoder-attention-heads 2)
    export PRETRAIN_TOKENS=64 PRETRAIN_UPDATES=8 PRETRAIN_WARMUP=2 PRETRAIN_SAVE_UPDATES=4 FINETUNE_EPOCHS=1 LOG_INTERVAL=2
fi
TEXT=$OUT/data/speeches REVIEWS=$OUT/data/reviews RESULTS=$OUT/results MODELS=()

step "text for pre-training: speeches"
recipe data/speeches.sh --out "$TEXT" --downloads "$DOWNLOADS" --lowercase "${LIMIT_TEXT[@]}"

step "sentences to classify: movie reviews"
recipe data/reviews.sh --tokenizer "$TEXT" --out "$REVIEWS" --downloads "$DOWNLOADS" "${LIMIT_NLU[@]}"

step "pre-train a masked language model with LayerDrop"
recipe pretrain.sh --data "$TEXT" --out "$OUT/pretrained" --seed "$SEED" "${TOY[@]}"
PARENT=$OUT/pretrained/checkpoint_best.pt

if [[ -n $PARENT_ONLY ]]; then
    recipe finetune_nlu.sh --from "$PARENT" --data "$REVIEWS" --out "$OUT/finetuned/parent-$SEED" --seed "$SEED"
    exit 0
fi

# row DIR: what to call the child in DIR in the report, by the layers that it keeps and the rule's name.
row() {
    local layers rule
    layers=$(layerdrop inspect "$1/child.pt" | sed -n 's/.*keeping encoder layers \[\([0-9, ]*\)\] of .*/\1/p')
    rule=$(sed -n 's/^--encoder-layers \([^:]*\):.*/\1/p' "$1/settings.txt")
    printf 'child: layers %s (%s)' "$layers" "$rule"
}

step "prune: every other layer goes, depth counted from 0 and from 1"
recipe prune.sh --from "$PARENT" --out "$OUT/pruned"
recipe prune.sh --from "$PARENT" --layers every-other-from-1:0.5 --out "$OUT/pruned-from-1"
CHILD=$OUT/pruned/child.pt
NAMES=(parent child child-from-1 scratch)
declare -A ROW=([parent]=parent [scratch]=scratch)
ROW[child]=$(row "$OUT/pruned")
ROW[child-from-1]=$(row "$OUT/pruned-from-1")

step "fine-tune the parent, the children, and the first one's shape from scratch"
for ((S = SEED; S < SEED + SEEDS; S++)); do
    for NAME in "${NAMES[@]}"; do
        case $NAME in
            parent) FROM=(--from "$PARENT") ;;
            child) FROM=(--from "$CHILD") ;;
            child-from-1) FROM=(--from "$OUT/pruned-from-1/child.pt") ;;
            scratch) FROM=(--from-scratch-like "$CHILD") ;;
        esac
        printf '\n  %s, seed %d   (%s)\n' "${ROW[$NAME]}" "$S" "$(elapsed)"
        recipe finetune_nlu.sh "${FROM[@]}" --data "$REVIEWS" --out "$OUT/finetuned/$NAME-$S" --seed "$S"
        [[ $S -ne $SEED ]] || MODELS+=("${ROW[$NAME]}=$OUT/finetuned/$NAME-$S/checkpoint_best.pt")
    done
done

step "evaluate on the test split"
for ((S = SEED; S < SEED + SEEDS; S++)); do
    for NAME in "${NAMES[@]}"; do
        recipe evaluate_nlu.sh --model "$OUT/finetuned/$NAME-$S/checkpoint_best.pt" --data "$REVIEWS" --split test \
            --name "${ROW[$NAME]}" --seed "$S" --out "$RESULTS/$NAME-$S.json"
    done
done

step "time the models, in turn in one process"
time_models "$OUT/latency.json" "$REVIEWS" "${MODELS[@]}" -- "${LIMIT_TIME[@]}"

step "report"
run layerdrop report --results "$RESULTS" --latency "$OUT/latency.json" --out "$OUT"
printf '\nDone in %s. Read %s\n' "$(elapsed)" "$OUT/report.md"
