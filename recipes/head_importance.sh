#!/usr/bin/env bash
# Which attention heads do the work, and models without the others: one command, 2 CPU cores, half an hour.
#
#   bash recipes/head_importance.sh [--out DIR] [--only classifier|translation] [--seed N]
#   bash recipes/head_importance.sh --classifier CKPT --classifier-data DIR …
#   bash recipes/head_importance.sh --translation CKPT --translation-data DIR …
#
#   --out DIR          everything lands here (default: heads/ in the checkout)
#   --only KIND        classifier or translation (default: both)
#   --classifier CKPT --classifier-data DIR     a fine-tuned classifier and its data (default: quickstart.sh's parent, which
#                      is made first, in --quickstart, unless it is there)
#   --translation CKPT --translation-data DIR   a translation model and its data (default: translate.sh's parent, likewise)
#   --quickstart DIR, --translate DIR   those recipes' folders (default: quickstart/ and translate/ in the checkout)
#   --preset NAME      tiny (the default) or base
#   --seed N           default: 1
#   --downloads DIR    keeps what is fetched (default: of those recipes)
#   --tiny-slice       a few sentences and toy models: shows that it runs, the numbers mean nothing
#
# For each model: score its heads and FFN units on the training data; remove each head alone and see what changes (and keep
# each alone); remove more and more of them by importance, by magnitude and at random; cut out a child with half the
# heads, and one with half the FFN units too; fine-tune the smaller one; evaluate and time all of them; report. Killed? Run
# it again: what is finished is skipped, training resumes. Ends with DIR/report.md, a page with tables and pictures; all that
# it is made of lies in DIR/classifier and DIR/translation. The numbers below can be set in the environment:
# HEADS_RATE=0.3 bash recipes/head_importance.sh

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=lib/environment.sh
source "$RECIPES/lib/environment.sh"
# shellcheck source=lib/steps.sh
source "$RECIPES/lib/steps.sh"

: "${HEADS_RATE:=0.5}"            # share of the heads that goes
: "${FFN_RATE:=0.5}"              # share of the FFN units
: "${MIN_HEADS:=0}"               # heads that every attention keeps
: "${IMPORTANCE_EXAMPLES:=1000}"  # training examples that scores are estimated on
: "${ABLATE_BLEU_EXAMPLES:=200}"  # sentences translated without the most and the least important heads
: "${CURVE_EXAMPLES:=300}"        # of valid, for each point of a curve
: "${CURVE_BLEU_EXAMPLES:=40}"    # of them translated
: "${CURVE_STEP:=0.1}"

OUT=$ROOT/heads ONLY='' QUICKSTART=$ROOT/quickstart TRANSLATE=$ROOT/translate PRESET=tiny SEED=1 DOWNLOADS='' SLICE=''
CLASSIFIER='' CLASSIFIER_DATA='' TRANSLATION='' TRANSLATION_DATA=''
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --only) ONLY=$(value "$1" "$@"); shift 2 ;;
        --classifier) CLASSIFIER=$(value "$1" "$@"); shift 2 ;;
        --classifier-data) CLASSIFIER_DATA=$(value "$1" "$@"); shift 2 ;;
        --translation) TRANSLATION=$(value "$1" "$@"); shift 2 ;;
        --translation-data) TRANSLATION_DATA=$(value "$1" "$@"); shift 2 ;;
        --quickstart) QUICKSTART=$(value "$1" "$@"); shift 2 ;;
        --translate) TRANSLATE=$(value "$1" "$@"); shift 2 ;;
        --preset) PRESET=$(value "$1" "$@"); shift 2 ;;
        --seed) SEED=$(value "$1" "$@"); shift 2 ;;
        --downloads) DOWNLOADS=$(value "$1" "$@"); shift 2 ;;
        --tiny-slice) SLICE=yes; shift ;;
        *) die "unknown argument $1 (see --help)" 2 ;;
    esac
done
[[ $SEED =~ ^[0-9]+$ ]] || die "--seed $SEED: want a whole number" 2
[[ $ONLY =~ ^(classifier|translation)?$ ]] || die "--only $ONLY: choose classifier or translation" 2
[[ -z $CLASSIFIER$CLASSIFIER_DATA || -n $CLASSIFIER && -n $CLASSIFIER_DATA ]] ||
    die "--classifier and --classifier-data go together" 2
[[ -z $TRANSLATION$TRANSLATION_DATA || -n $TRANSLATION && -n $TRANSLATION_DATA ]] ||
    die "--translation and --translation-data go together" 2
for FILE in "$CLASSIFIER" "$TRANSLATION"; do
    if [[ -n $FILE ]]; then need_file "$FILE"; fi
done
for FOLDER in "$CLASSIFIER_DATA" "$TRANSLATION_DATA"; do
    if [[ -n $FOLDER ]]; then need_dir "$FOLDER"; fi
done
OUT=$(absolute "$OUT") QUICKSTART=$(absolute "$QUICKSTART") TRANSLATE=$(absolute "$TRANSLATE")

LIKE=(--seed "$SEED" --preset "$PRESET" --parent-only) TIMING_NLU=() TIMING_NMT=(--repeats 5 --max-sentences 128)
if [[ -n $DOWNLOADS ]]; then LIKE+=(--downloads "$(absolute "$DOWNLOADS")"); fi
if [[ -n $SLICE ]]; then
    LIKE+=(--tiny-slice)
    TIMING_NLU=(--repeats 1 --max-sentences 32) TIMING_NMT=(--repeats 1 --max-sentences 4 --batch-sizes 4 --threads 1)
    export FINETUNE_EPOCHS=1 NMT_FINETUNE_UPDATES=4 NMT_FINETUNE_WARMUP=1 NMT_BEAM=2 LOG_INTERVAL=2
    IMPORTANCE_EXAMPLES=20 ABLATE_BLEU_EXAMPLES=4 CURVE_EXAMPLES=8 CURVE_BLEU_EXAMPLES=2 CURVE_STEP=0.5
fi
preset "$PRESET"

# once FILE WORD... -- COMMAND...: run the command, which writes FILE, unless it did so before with these WORDs.
once() {
    local file=$1 made=()
    shift
    while [[ $1 != -- ]]; do
        made+=("$1")
        shift
    done
    if [[ -f $file && -f $file.made && $(<"$file.made") == "${made[*]} $(quoted "${@:2}")" ]]; then
        say "[done before] $file"
        return
    fi
    rm -f -- "$file.made"
    run "${@:2}"
    printf '%s\n' "${made[*]} $(quoted "${@:2}")" >"$file.made"
}

# study KIND CHECKPOINT DATA: everything about the heads of one model, in OUT/KIND.
study() {
    local kind=$1 model=$2 data=$3 out=$OUT/$1 hash scores bleu=() curve_bleu=() evaluate finetune timing
    if [[ $kind == classifier ]]; then
        evaluate=evaluate_nlu.sh finetune=finetune_nlu.sh timing=("${TIMING_NLU[@]}")
    else
        evaluate=evaluate_nmt.sh finetune=finetune_nmt.sh timing=(--beam "$NMT_BEAM" "${TIMING_NMT[@]}")
        bleu=(--bleu extremes --bleu-examples "$ABLATE_BLEU_EXAMPLES" --beam 1) curve_bleu=(--bleu-examples "$CURVE_BLEU_EXAMPLES")
    fi
    hash=$(sha256 "$model") scores=$out/importance.json
    mkdir -p -- "$out"

    step "$kind: score heads, FFN units and layers"
    once "$scores" "$hash" -- layerdrop importance "$data" --path "$model" --subset train \
        --max-examples "$IMPORTANCE_EXAMPLES" --seed "$SEED" --out "$scores"

    step "$kind: remove each head alone, and all but one"
    for MODE in each all-but-one; do
        once "$out/$MODE/ablation.json" "$hash" -- layerdrop ablate "$data" --path "$model" --subset test --mode "$MODE" \
            "${bleu[@]}" --seed "$SEED" --out "$out/$MODE"
    done

    step "$kind: remove more and more of them"
    for PART in heads ffn; do
        once "$out/curve-$PART/curve.json" "$hash" "$(sha256 "$scores")" -- layerdrop curve "$data" --path "$model" \
            --subset valid --max-examples "$CURVE_EXAMPLES" "--$PART" --step "$CURVE_STEP" --importance "$scores" \
            "${curve_bleu[@]}" --seed "$SEED" --out "$out/curve-$PART"
    done

    step "$kind: cut out children"
    recipe prune.sh --from "$model" --heads "$scores:$HEADS_RATE" --min-heads "$MIN_HEADS" --out "$out/half-heads"
    recipe prune.sh --from "$model" --heads "$scores:$HEADS_RATE" --min-heads "$MIN_HEADS" --ffn "$scores:$FFN_RATE" \
        --out "$out/half-both"

    step "$kind: fine-tune the smaller one"
    recipe "$finetune" --data "$data" --from "$out/half-both/child.pt" --out "$out/finetuned" --seed "$SEED"

    step "$kind: evaluate and time"
    local names=(parent "without $HEADS_RATE of the heads" "without $HEADS_RATE of the heads and $FFN_RATE of the FFN")
    names+=("${names[2]}, fine-tuned")
    local models=("$model" "$out"/{half-heads/child.pt,half-both/child.pt,finetuned/checkpoint_best.pt}) timed=() i
    for i in "${!models[@]}"; do
        timed+=("${names[i]}=${models[i]}")
        recipe "$evaluate" --model "${models[i]}" --data "$data" --split test --name "${names[i]}" --seed "$SEED" \
            --out "$out/results/$i.json"
    done
    time_models "$out/latency.json" "$data" "${timed[@]}" -- "${timing[@]}"

    step "$kind: report"
    run layerdrop report --results "$out/results" --latency "$out/latency.json" --out "$out" --title "A $kind with fewer heads"
    KINDS+=("$kind")
    PICTURES+=("$out/report.png" "$out"/{each,all-but-one}/ablation.png "$out"/curve-{heads,ffn}/curve.png)
}

KINDS=() PICTURES=() STEPS=10
if [[ -z $ONLY ]]; then STEPS=18; fi
step "software"
use_environment report matplotlib scipy sacrebleu
need_software
user_dir

if [[ $ONLY != translation ]]; then
    step "classifier: $([[ -n $CLASSIFIER ]] && echo "$CLASSIFIER" || echo "the parent of the quick start")"
    if [[ -z $CLASSIFIER ]]; then
        bash "$RECIPES/quickstart.sh" --out "$QUICKSTART" "${LIKE[@]}"
        CLASSIFIER=$QUICKSTART/finetuned/parent-$SEED/checkpoint_best.pt CLASSIFIER_DATA=$QUICKSTART/data/reviews
    fi
    study classifier "$(absolute "$CLASSIFIER")" "$(absolute "$CLASSIFIER_DATA")"
fi
if [[ $ONLY != classifier ]]; then
    step "translation: $([[ -n $TRANSLATION ]] && echo "$TRANSLATION" || echo "the parent of translate.sh")"
    if [[ -z $TRANSLATION ]]; then
        bash "$RECIPES/translate.sh" --out "$TRANSLATE" "${LIKE[@]}"
        TRANSLATION=$TRANSLATE/parent/checkpoint_best.pt TRANSLATION_DATA=$TRANSLATE/data/verses
    fi
    study translation "$(absolute "$TRANSLATION")" "$(absolute "$TRANSLATION_DATA")"
fi

step "all on one page"
"$PYTHON" -m layerdrop_plugin.reports.heads "$OUT" "${KINDS[@]}"
printf '\nDone in %s. Read %s; pictures:\n' "$(elapsed)" "$OUT/report.md"
printf '  %s\n' "${PICTURES[@]}"
