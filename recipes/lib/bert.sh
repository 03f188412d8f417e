# What four_layer_bert.sh and compare_strategies.sh share: a Hugging Face model, its data, fine-tuning; both source it.

# bert_options FAST-LIMIT FAST-DEPTHS: checks the options, and sets the numbers of --fast, --tiny-slice and the preset.
bert_options() {
    DOWNLOADS=${DOWNLOADS:-$OUT/downloads}
    excludes --demo --model --train --split
    given --train --split
    [[ -n $DEMO || -n $MODEL && ${#GIVEN[@]} -gt 0 ]] || die "--demo, or --model with --split or --train, is required (see --help)" 2
    [[ $DEMO =~ ^(english|chinese)?$ ]] || die "--demo $DEMO: choose english or chinese" 2
    if has --fast; then
        : "${LIMIT:=$1}" "${BERT_CHILD_EPOCHS:=2}" "${BERT_DEPTHS:=$2}"
    elif has --tiny-slice; then
        slice
        LIMIT=${LIMIT:-120} BERT_DEPTHS=${BERT_DEPTHS:-2 1} BERT_EPOCHS=1 BERT_CHILD_EPOCHS=1
    fi
    : "${BERT_DEPTHS:=6 4 3 2}"       # layers of the children; those below the model's own count
    : "${BERT_EPOCHS:=2}"             # of the parent
    : "${BERT_CHILD_EPOCHS:=3}"
    : "${BERT_LR:=1e-4}"
    : "${BERT_LAYERDROP:=0.3}"        # of the parents whose children are cut without training
    preset "$PRESET"
    # shellcheck disable=SC2034 # both recipes use it
    read -ra DEPTHS <<<"$BERT_DEPTHS"
}

import_model() {
    rm -rf -- "$OUT/imported"
    run layerdrop import-hf "$MODEL" "$OUT/imported"
}

gather() { cat -- "${@:2}" >"$1"; }

# data TOKENIZER-FOLDER OUT: the labelled sentences in its pieces.
data() {
    given --train --valid --test --split --columns --limit --limit-train
    case $DEMO in
        english) recipe data/reviews.sh --tokenizer "$1" --out "$2" --downloads "$DOWNLOADS" "${GIVEN[@]}" ;;
        chinese) recipe data/chinese_reviews.sh --tokenizer "$1" --out "$2" --downloads "$DOWNLOADS" "${GIVEN[@]}" ;;
        *) recipe data/prepare_nlu.sh --tokenizer "$1" --out "$2" "${GIVEN[@]}" ;;
    esac
}

# bert_and_data: three steps; sets IMPORTED, the model with the vocabulary of the training text, its LAYERS, and DATA.
bert_and_data() {
    local files corpus=$OUT/data/whole/text/corpus.txt
    step "the model: ${DEMO:-$MODEL}"
    case $DEMO in
        english) run bash "$RECIPES/data/minilm.sh" --out "$OUT/model" --downloads "$DOWNLOADS" ;;
        chinese) run bash "$RECIPES/data/e5.sh" --out "$OUT/model" --downloads "$DOWNLOADS" ;;
    esac
    MODEL=${MODEL:-$OUT/model}
    need_file "$MODEL/config.json"
    mapfile -t files < <(find -L "$MODEL" -maxdepth 1 -type f | sort)
    once "$OUT/imported/checkpoint.pt" "${files[@]}" -- import_model

    step "the vocabulary: what the training text uses"
    data "$OUT/imported" "$OUT/data/whole"
    once "$corpus" "$OUT"/data/whole/text/train.input[01] -- gather "$corpus" "$OUT"/data/whole/text/train.input[01]
    recipe prune.sh --from "$OUT/imported/checkpoint.pt" --vocab "$corpus" --out "$OUT/vocabulary"
    IMPORTED=$OUT/vocabulary/child.pt

    step "sentences in the pieces that are left"
    DATA=$OUT/data/pieces
    data "$OUT/vocabulary" "$DATA"
    LAYERS=$(shape layers "$IMPORTED") # of the encoder, and a line for the decoder
    LAYERS=${LAYERS%%$'\n'*}
}

TOTAL=0 DONE=0 # costs of all trainings, and of those that this run has made

# tune SEED COST FROM OUT EPOCHS LR [OPTION...]: fine-tune, and say what is left. COST is the training's time in that of one layer.
tune() {
    local grouped=(--group-by-length)
    if [[ " ${*:7} " == *" --learn-layerdrop "* ]]; then grouped=(); fi # fairseq's own task, which cannot
    BEGUN=${BEGUN:-$SECONDS}
    if [[ -e $4/done ]]; then TOTAL=$((TOTAL - $2)); else DONE=$((DONE + $2)); fi
    FINETUNE_EPOCHS=$5 FINETUNE_LR=$6 recipe finetune_nlu.sh --from "$3" --data "$DATA" --out "$4" --seed "$1" \
        "${grouped[@]}" "${@:7}"
    if [[ $DONE -eq 0 ]]; then return; fi
    printf '    %s: %d %% of the trainings done, about %d minutes left\n' "$(elapsed)" $((100 * DONE / TOTAL)) \
        $(((SECONDS - BEGUN) * (TOTAL - DONE) / DONE / 60))
}

# tune_parent SEED FOLDER [OPTION...]: the imported model, fine-tuned whole.
tune_parent() { tune "$1" "$LAYERS" "$IMPORTED" "$OUT/trained/$1/$2" "$BERT_EPOCHS" "$BERT_LR" "${@:3}"; }
