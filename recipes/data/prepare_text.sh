#!/usr/bin/env bash
# Text files to masked-LM data: split, SentencePiece (trained on the training part only), fairseq-preprocess.
#
#   bash recipes/data/prepare_text.sh --out DIR [OPTIONS] FILE...
#
#   FILE...           UTF-8 text, a paragraph a line, blank lines are skipped; a folder stands for its *.txt
#   --out DIR         gets train and valid, dict.txt and sentencepiece.bpe.model
#   --vocab-size N    SentencePiece pieces (default: the preset's)
#   --lowercase       ignore case (inside the tokenizer, so users need not know)
#   --valid F         fraction for validation (default: 0.02), chosen by a hash of each paragraph
#   --limit N         read only the first N paragraphs
#   --preset NAME     tiny (the default), base or large
#
# Run it again when finished and it does nothing. DIR appears whole or not at all.

# shellcheck source=../lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"

OUT='' VOCAB='' LOWERCASE=() VALID=0.02 LIMIT=() PRESET=tiny FILES=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --vocab-size) VOCAB=$(value "$1" "$@"); shift 2 ;;
        --lowercase) LOWERCASE=(--lowercase); shift ;;
        --valid) VALID=$(value "$1" "$@"); shift 2 ;;
        --limit) LIMIT=(--limit "$(value "$1" "$@")"); shift 2 ;;
        --preset) PRESET=$(value "$1" "$@"); shift 2 ;;
        --) shift; FILES+=("$@"); break ;;
        -*) die "unknown option $1 (see --help)" 2 ;;
        *) FILES+=("$1"); shift ;;
    esac
done
need --out "$OUT"
need FILE "${FILES[*]}"
OUT=$(absolute "$OUT")
for FILE in "${FILES[@]}"; do
    [[ -e $FILE ]] || die "$FILE: no such file"
done
preset "$PRESET"
VOCAB=${VOCAB:-$VOCAB_SIZE}
need_software

SETTINGS=$(settings --vocab-size "$VOCAB" "${LOWERCASE[@]}" --valid "$VALID" "${LIMIT[@]}"
    for FILE in "${FILES[@]}"; do if [[ -d $FILE ]]; then cat -- "$FILE"/*.txt; else cat -- "$FILE"; fi; done | sha256sum)
if already "$OUT" "$SETTINGS"; then exit 0; fi
build_in "$OUT"
run "$PYTHON" "$RECIPES/data/split_text.py" --out "$PARTIAL" --valid "$VALID" "${LIMIT[@]}" "${FILES[@]}"
run "$PYTHON" "$RECIPES/data/spm.py" train --text "$PARTIAL/train.txt" --out "$PARTIAL" --vocab-size "$VOCAB" "${LOWERCASE[@]}"
run "$PYTHON" "$RECIPES/data/spm.py" encode --model "$PARTIAL/sentencepiece.bpe.model" "$PARTIAL"/{train,valid}.txt
run_logged "$PARTIAL/prepare.log" fairseq-preprocess --only-source --workers "$(nproc)" --srcdict "$PARTIAL/dict.txt" \
    --trainpref "$PARTIAL/train.txt.spm" --validpref "$PARTIAL/valid.txt.spm" --destdir "$PARTIAL/binary"
mv -- "$PARTIAL"/binary/{train,valid}.{bin,idx} "$PARTIAL"
rm -r -- "$PARTIAL/binary" "$PARTIAL"/*.spm "$PARTIAL/prepare.log"
finished "$SETTINGS"
say "masked-LM data: $OUT"
