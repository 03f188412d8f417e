#!/usr/bin/env bash
# GLUE-format TSV files to sentence_prediction data, with the tokenizer and dictionary of the pre-training.
#
#   bash recipes/data/prepare_nlu.sh --tokenizer DIR --out DIR --train TSV --valid TSV [--test TSV] [OPTIONS]
#   bash recipes/data/prepare_nlu.sh --tokenizer DIR --out DIR --split TSV [OPTIONS]
#
#   --tokenizer DIR     holds dict.txt and sentencepiece.bpe.model: masked-LM data, or a pre-trained model's folder;
#                       or what  layerdrop import-hf  made, whose order of labels is kept (required)
#   --out PATH          gets input0/, input1/ (pairs) and label/ (required)
#   --train, --valid, --test FILE   UTF-8, one example a line, tabs between columns
#   --split FILE        one file for all three, split by a hash of the text: equal texts never part
#   --valid-fraction, --test-fraction F   of --split (default: 0.1 each)
#   --columns LIST      TEXT,LABEL or TEXT1,TEXT2,LABEL: names in the header, or numbers counted from 1
#                       (default: the names that GLUE's files use; two text columns make pairs)
#   --no-header         the first line is an example too (with --columns 4,2 or the like; CoLA)
#   --regression        labels are numbers (STS-B)
#   --limit N           use only N examples of each file, chosen by a hash of the text
#   --limit-train N     use only N of the training part, and all of the others
#   --preset NAME       accepted like in the other recipes; preparation is the same in all of them
#
# Run it again when finished and it does nothing. DIR appears whole or not at all.

source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
options "$@"
need_file "$TOKENIZER/dict.txt"
TOKENIZER_FILES=(sentencepiece.bpe.model)
if [[ -f $TOKENIZER/tokenizer.json ]]; then TOKENIZER_FILES=({tokenizer,special_tokens_map}.json); fi
for FILE in "${TOKENIZER_FILES[@]}"; do need_file "$TOKENIZER/$FILE"; done
given --train --valid --test --split
[[ ${#GIVEN[@]} -gt 0 ]] || die "--train and --valid, or --split, is required (see --help)" 2
FILES=("${GIVEN[@]}")
need_software

LABELS=()
if [[ -f $TOKENIZER/label/dict.txt && -z $REGRESSION ]]; then LABELS=(--labels "$TOKENIZER/label/dict.txt"); fi
given --valid-fraction --test-fraction --columns --limit --limit-train --no-header --regression
SETTINGS=$(settings "${GIVEN[@]}" && sha256 "$TOKENIZER/${TOKENIZER_FILES[0]}" "${LABELS[@]:1}" && checksums "${FILES[@]}")
if already "$OUT" "$SETTINGS"; then exit 0; fi
build_in "$OUT"
TEXT=$PARTIAL/text
mkdir -- "$TEXT"
for FILE in dict.txt "${TOKENIZER_FILES[@]}"; do cp -- "$TOKENIZER/$FILE" "$PARTIAL"; done
run "$PYTHON" "$RECIPES/data/split_tsv.py" --out "$TEXT" "${GIVEN[@]}" "${LABELS[@]}" "${FILES[@]}"
if [[ -f $PARTIAL/tokenizer.json ]]; then
    SUFFIX=pieces
    run layerdrop encode "$PARTIAL" "$TEXT"/*.input[01]
else
    SUFFIX=spm
    run "$PYTHON" "$RECIPES/data/spm.py" encode --model "$PARTIAL/sentencepiece.bpe.model" "$TEXT"/*.input[01]
fi

# binarize FOLDER SUFFIX DICTIONARY: every split that there is.
binarize() {
    prefixes "$TEXT" ".$2"
    run_logged "$PARTIAL/prepare.log" fairseq-preprocess --only-source --srcdict "$3" "${PREFIXES[@]}" --destdir "$PARTIAL/$1"
    rm -f -- "$PARTIAL/$1/preprocess.log"
}
binarize input0 "input0.$SUFFIX" "$PARTIAL/dict.txt"
if [[ -f $TEXT/train.input1 ]]; then binarize input1 "input1.$SUFFIX" "$PARTIAL/dict.txt"; fi
if [[ -f $TEXT/label.dict.txt ]]; then
    binarize label label "$TEXT/label.dict.txt"
else
    mkdir -- "$PARTIAL/label"
    cp -- "$TEXT"/*.label "$PARTIAL/label"
fi
rm -- "$PARTIAL/prepare.log" "$TEXT"/*."$SUFFIX"
finished "$SETTINGS"
say "sentence_prediction data: $OUT"
