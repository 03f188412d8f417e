# What the translation recipes share; common.sh reads it.

# languages DATA SPLIT...: sets SRC_LANG and TGT_LANG, where they are empty, to the pair that all the splits have.
languages() {
    local pair
    words pair data/data_folder.py languages "$1" "$SRC_LANG" "$TGT_LANG" "${@:2}"
    SRC_LANG=${pair[0]} TGT_LANG=${pair[1]}
}

# training_options DATA: sets OPTIONS to what training and fine-tuning have in common; a batch is NMT_BATCH tokens.
training_options() {
    share --max-tokens "$NMT_BATCH" "$NMT_BATCH_PER_GPU" "$NMT_PRECISION"
    OPTIONS=(--source-lang "$SRC_LANG" --target-lang "$TGT_LANG"
        --criterion label_smoothed_cross_entropy --label-smoothing "$NMT_LABEL_SMOOTHING"
        --dropout "$NMT_DROPOUT" --weight-decay "$NMT_WEIGHT_DECAY"
        --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm "$NMT_CLIP"
        --required-batch-size-multiple 1 --num-workers "$NUM_WORKERS"
        --log-format simple --log-interval "$LOG_INTERVAL")
    if [[ -f $1/sentencepiece.bpe.model ]]; then OPTIONS+=(--bpe sentencepiece); fi
}

# help_languages: sets HELP_LANGUAGE to the one of SRC_LANG and TGT_LANG that is not English, and HELP_PACKAGE to the package
# with LibreOffice's help in it.
help_languages() {
    local known="ca cs da de dz el en_gb es et eu fi fr gl hi hu id it ja km ko nl om pl pt pt_br ru sk sl sv tr vi zh zh_tw"
    HELP_LANGUAGE=$TGT_LANG
    if [[ $SRC_LANG != en ]]; then HELP_LANGUAGE=$SRC_LANG; fi
    [[ ($SRC_LANG == en || $TGT_LANG == en) && " $known " == *" $HELP_LANGUAGE "* ]] ||
        die "$SRC_LANG to $TGT_LANG: LibreOffice's help is English and one of $known" 2
    # shellcheck disable=SC2034
    HELP_PACKAGE=libreoffice-help-${HELP_LANGUAGE//_/-}
    if [[ $HELP_LANGUAGE == zh ]]; then HELP_PACKAGE+=-cn; fi
}

# in_ctranslate2 TYPE NAME=CHECKPOINT...: exports each to OUT/ctranslate2, its weights of that TYPE, and scores it there on
# the test split of DATA; adds NAME=FILE of the models to EXPORTED.
in_ctranslate2() {
    local type=$1 model name folder
    shift
    for model in "$@"; do
        name="${model%%=*}, CTranslate2 $type" folder=$OUT/ctranslate2/${model%%[=,]*}-$type
        once "$folder.log" "${model#*=}" "$DATA"/dict.*.txt -- export_ct2 "${model#*=}" "$folder" "$type"
        once "$OUT/results/$(basename -- "$folder").json" "$folder/model.bin" "$DATA/test.$SRC_LANG-$TGT_LANG".*.bin -- \
            run layerdrop score "$DATA" --path "$folder/model.bin" --subset test --beam "$NMT_BEAM" --name "$name" \
            --seed "$SEED" --out "$OUT/results/$(basename -- "$folder").json"
        EXPORTED+=("$name=$folder/model.bin")
    done
}

# export_ct2 CHECKPOINT FOLDER TYPE: what layerdrop export-ct2 says is in FOLDER.log.
export_ct2() {
    rm -rf -- "$2"
    run_logged "$2.log" layerdrop export-ct2 "$1" "$DATA" "$2" --quantization "$3"
}
