#!/usr/bin/env bash
# GLUE-format TSV files to sentence_prediction data, with the tokenizer and dictionary of the pre-training.
#
#   bash recipes/data/prepare_nlu.sh --tokenizer DIR --out DIR --train TSV --valid TSV [--test TSV] [OPTIONS]
#   bash recipes/data/prepare_nlu.sh --tokenizer DIR --out DIR --split TSV [OPTIONS]
#
#   --tokenizer DIR     holds dict.txt and sentencepiece.bpe.model: masked-LM data, or a pre-trained model's folder
#   --out DIR           gets input0/, input1/ (pairs) and label/
#   --train, --valid, --test TSV   UTF-8, one example a line, tabs between columns
#   --split TSV         one file for all three, split by a hash of the text: equal texts never part
#   --valid-fraction F, --test-fraction F   of --split (default: 0.1 each)
#   --columns LIST      TEXT,LABEL or TEXT1,TEXT2,LABEL: names in the header, or numbers counted from 1
#                       (default: the names that GLUE's files use; two text columns make pairs)
#   --no-header         the first line is an example too (with --columns 4,2 or the like; CoLA)
#   --regression        labels are numbers (STS-B)
#   --limit N           use only N examples of each file, chosen by a hash of the text
#
# Run it again when finished and it does nothing. DIR appears whole or not at all.

# shellcheck source=../lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"

TOKENIZER='' OUT='' FILES=() OPTIONS=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --tokenizer) TOKENIZER=$(value "$1" "$@"); shift 2 ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --train | --valid | --test | --split) FILES+=("$1" "$(value "$1" "$@")"); shift 2 ;;
        --valid-fraction | --test-fraction | --columns | --limit) OPTIONS+=("$1" "$(value "$1" "$@")"); shift 2 ;;
        --no-header | --regression) OPTIONS+=("$1"); shift ;;
        --preset) value "$1" "$@" >/dev/null; shift 2 ;; # the same in all of them
        *) die "unknown argument $1 (see --help)" 2 ;;
    esac
done
need --tokenizer "$TOKENIZER"
need --out "$OUT"
need '--train and --valid, or --split,' "${FILES[*]}"
TOKENIZER=$(absolute "$TOKENIZER") OUT=$(absolute "$OUT")
need_file "$TOKENIZER/dict.txt"
need_file "$TOKENIZER/sentencepiece.bpe.model"
for ((i = 1; i < ${#FILES[@]}; i += 2)); do need_file "${FILES[i]}"; done
need_software

SETTINGS=$(
    settings "${OPTIONS[@]}"
    sha256 "$TOKENIZER/sentencepiece.bpe.model"
    for ((i = 0; i < ${#FILES[@]}; i += 2)); do settings "${FILES[i]}" "$(sha256 "${FILES[i + 1]}")"; done
)
if already "$OUT" "$SETTINGS"; then exit 0; fi
build_in "$OUT"
TEXT=$PARTIAL/text
mkdir -- "$TEXT"
cp -- "$TOKENIZER"/{dict.txt,sentencepiece.bpe.model} "$PARTIAL"
run "$PYTHON" "$RECIPES/data/split_tsv.py" --out "$TEXT" "${OPTIONS[@]}" "${FILES[@]}"
run "$PYTHON" "$RECIPES/data/spm.py" encode --model "$PARTIAL/sentencepiece.bpe.model" "$TEXT"/*.input[01]

# binarize FOLDER SUFFIX DICTIONARY: every split that there is.
binarize() {
    local splits=() split
    for split in train valid test; do
        if [[ -f $TEXT/$split.$2 ]]; then splits+=("--${split}pref" "$TEXT/$split.$2"); fi
    done
    run_logged "$PARTIAL/prepare.log" fairseq-preprocess --only-source --srcdict "$3" "${splits[@]}" --destdir "$PARTIAL/$1"
    rm -f -- "$PARTIAL/$1/preprocess.log"
}
binarize input0 input0.spm "$PARTIAL/dict.txt"
if [[ -f $TEXT/train.input1 ]]; then binarize input1 input1.spm "$PARTIAL/dict.txt"; fi
if [[ -f $TEXT/label.dict.txt ]]; then
    binarize label label "$TEXT/label.dict.txt"
else
    mkdir -- "$PARTIAL/label"
    for SPLIT in train valid test; do
        if [[ -f $TEXT/$SPLIT.label ]]; then cp -- "$TEXT/$SPLIT.label" "$PARTIAL/label/$SPLIT.label"; fi
    done
fi
rm -- "$PARTIAL/prepare.log" "$TEXT"/*.spm
finished "$SETTINGS"
say "sentence_prediction data: $OUT"
