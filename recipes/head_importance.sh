#!/usr/bin/env bash
# Which attention heads do the work, and models without the others: one command, 2 CPU cores, half an hour.
#
#   bash recipes/head_importance.sh [--out DIR] [--only classifier|translation] [--seed N]
#   bash recipes/head_importance.sh --classifier CKPT --classifier-data DIR …
#   bash recipes/head_importance.sh --translation CKPT --translation-data DIR …
#
#   --out PATH         everything lands here (default: heads/ in the checkout)
#   --only KIND        classifier or translation (default: both)
#   --classifier CKPT  a fine-tuned classifier (default: quickstart.sh's parent, which is made first unless it is there)
#   --classifier-data DIR   its data
#   --translation CKPT   a translation model (default: translate.sh's parent, likewise)
#   --translation-data DIR   its data
#   --quickstart, --translate PATH   those recipes' folders (default: quickstart/ and translate/ in the checkout)
#   --preset NAME      tiny or base [default: tiny]
#   --seed SEED        [default: 1]
#   --downloads PATH   keeps what is fetched (default: of those recipes)
#   --tiny-slice       a few sentences and toy models: shows that it runs, the numbers mean nothing
#
# For each model: score its heads and FFN units on the training data; remove each head alone and see what changes (and keep
# each alone); remove more and more of them by importance, by magnitude and at random; cut out a child with half the
# heads, and one with half the FFN units too; fine-tune the smaller one; evaluate and time all of them; report. Killed? Run
# it again: what is finished is skipped, training resumes. Ends with DIR/report.md, a page with tables and pictures; all that
# it is made of lies in DIR/classifier and DIR/translation. The numbers below can be set in the environment:
# HEADS_RATE=0.3 bash recipes/head_importance.sh

source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"

: "${HEADS_RATE:=0.5}"            # share of the heads that goes
: "${FFN_RATE:=0.5}"              # share of the FFN units
: "${MIN_HEADS:=0}"               # heads that every attention keeps
: "${IMPORTANCE_EXAMPLES:=1000}"  # training examples that scores are estimated on
: "${ABLATE_BLEU_EXAMPLES:=200}"  # sentences translated without the most and the least important heads
: "${CURVE_EXAMPLES:=300}"        # of valid, for each point of a curve
: "${CURVE_BLEU_EXAMPLES:=40}"    # of them translated
: "${CURVE_STEP:=0.1}"

[[ $ONLY =~ ^(classifier|translation)?$ ]] || die "--only $ONLY: choose classifier or translation" 2
together --classifier --classifier-data
together --translation --translation-data
OUT=${OUT:-$ROOT/heads} QUICKSTART=${QUICKSTART:-$ROOT/quickstart} TRANSLATE=${TRANSLATE:-$ROOT/translate}
given --seed --preset --downloads --tiny-slice
LIKE=("${GIVEN[@]}" --parent-only) TIMING_NLU=() TIMING_NMT=(--repeats 5 --max-sentences 128)
if has --tiny-slice; then
    slice
    TIMING_NLU=(--repeats 1 --max-sentences 32) TIMING_NMT=(--repeats 1 --max-sentences 4 --batch-sizes 4 --threads 1)
    IMPORTANCE_EXAMPLES=20 ABLATE_BLEU_EXAMPLES=4 CURVE_EXAMPLES=8 CURVE_BLEU_EXAMPLES=2 CURVE_STEP=0.5
fi
preset "$PRESET"

# study KIND CHECKPOINT DATA: everything about the heads of one model, in OUT/KIND.
study() {
    local kind=$1 model=$2 data=$3 out=$OUT/$1 scores bleu=() curve_bleu=() finetune timing
    if [[ $kind == classifier ]]; then
        finetune=finetune_nlu.sh timing=("${TIMING_NLU[@]}")
    else
        finetune=finetune_nmt.sh timing=(--beam "$NMT_BEAM" "${TIMING_NMT[@]}")
        bleu=(--bleu extremes --bleu-examples "$ABLATE_BLEU_EXAMPLES" --beam 1) curve_bleu=(--bleu-examples "$CURVE_BLEU_EXAMPLES")
    fi
    scores=$out/importance.json

    step "$kind: score heads, FFN units and layers"
    once "$scores" "$model" -- run layerdrop importance "$data" --path "$model" --subset train \
        --max-examples "$IMPORTANCE_EXAMPLES" --seed "$SEED" --out "$scores"

    step "$kind: remove each head alone, and all but one"
    for MODE in each all-but-one; do
        once "$out/$MODE/ablation.json" "$model" -- run layerdrop ablate "$data" --path "$model" --subset test --mode "$MODE" \
            "${bleu[@]}" --seed "$SEED" --out "$out/$MODE"
    done

    step "$kind: remove more and more of them"
    for PART in heads ffn; do
        once "$out/curve-$PART/curve.json" "$model" "$scores" -- run layerdrop pruning-curve "$data" --path "$model" \
            --subset valid --max-examples "$CURVE_EXAMPLES" "--$PART" --step "$CURVE_STEP" --importance "$scores" \
            "${curve_bleu[@]}" --seed "$SEED" --out "$out/curve-$PART"
    done

    step "$kind: cut out children"
    local prune=(prune.sh --from "$model" --heads "$scores:$HEADS_RATE" --min-heads "$MIN_HEADS")
    recipe "${prune[@]}" --out "$out/half-heads"
    recipe "${prune[@]}" --ffn "$scores:$FFN_RATE" --out "$out/half-both"

    step "$kind: fine-tune the smaller one"
    recipe "$finetune" --data "$data" --from "$out/half-both/child.pt" --out "$out/finetuned" --seed "$SEED"

    step "$kind: evaluate and time"
    local without="without $HEADS_RATE of the heads" both
    both="$without and $FFN_RATE of the FFN"
    models "parent=$model" "$without=$out/half-heads/child.pt" "$both=$out/half-both/child.pt" \
        "$both, fine-tuned=$out/finetuned/checkpoint_best.pt"
    if [[ $kind == classifier ]]; then
        evaluate_models "$out/evaluated" "$data" test "$SEED"
    else
        evaluate_translations "$out/evaluated" "$data" "$SEED"
    fi
    time_models "$out/latency.json" "$data" "${timing[@]}"

    step "$kind: report"
    run layerdrop report --results "$out/evaluated" --latency "$out/latency.json" --out "$out" --title "A $kind with fewer heads"
    KINDS+=("$kind")
    PICTURES+=("$out/report.png" "$out"/{each,all-but-one}/ablation.png "$out"/curve-{heads,ffn}/curve.png)
}

KINDS=() PICTURES=()
keep_times "$OUT"
software $((${#ONLY} ? 10 : 18)) report matplotlib scipy sacrebleu

if [[ $ONLY != translation ]]; then
    step "classifier: ${CLASSIFIER:-the parent of the quick start}"
    if [[ -z $CLASSIFIER ]]; then
        bash "$RECIPES/quickstart.sh" --out "$QUICKSTART" "${LIKE[@]}"
        CLASSIFIER=$QUICKSTART/finetuned/parent-$SEED/checkpoint_best.pt CLASSIFIER_DATA=$QUICKSTART/data/reviews
    fi
    study classifier "$CLASSIFIER" "$CLASSIFIER_DATA"
fi
if [[ $ONLY != classifier ]]; then
    step "translation: ${TRANSLATION:-the parent of translate.sh}"
    if [[ -z $TRANSLATION ]]; then
        bash "$RECIPES/translate.sh" --out "$TRANSLATE" "${LIKE[@]}"
        TRANSLATION=$TRANSLATE/parent/checkpoint_best.pt TRANSLATION_DATA=$TRANSLATE/data/en-de
    fi
    study translation "$TRANSLATION" "$TRANSLATION_DATA"
fi

step "all on one page"
timed "$PYTHON" -m layerdrop_plugin.reports.heads "$OUT" "${KINDS[@]}"
printf '\nDone in %s. Read %s; pictures:\n' "$(elapsed)" "$OUT/report.md"
printf '  %s\n' "${PICTURES[@]}"
