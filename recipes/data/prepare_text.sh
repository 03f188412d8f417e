#!/usr/bin/env bash
# Text files to masked-LM data: split, SentencePiece (trained on the training part only), fairseq-preprocess.
#
#   bash recipes/data/prepare_text.sh --out DIR [OPTIONS] FILE...
#
#   FILE...           UTF-8 text, a paragraph a line, blank lines are skipped; a folder stands for its *.txt
#   --out PATH        gets train and valid, dict.txt and sentencepiece.bpe.model (required)
#   --tokenizer DIR   the tokenizer of a model that is trained on: holds dict.txt and sentencepiece.bpe.model, or what
#                     layerdrop import-hf  made (default: train one)
#   --vocab-size N    SentencePiece pieces [env: VOCAB_SIZE] (default: the preset's)
#   --lowercase       ignore case (inside the tokenizer, so users need not know)
#   --valid F         fraction for validation [default: 0.02], chosen by a hash of each paragraph
#   --limit N         read only the first N paragraphs
#   --preset NAME     tiny, base or large [default: tiny]
#
# Run it again when finished and it does nothing. DIR appears whole or not at all.

source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
options "$@"
[[ ${#OTHERS[@]} -gt 0 ]] || die "FILE is required (see --help)" 2
TEXTS=()
for FILE in "${OTHERS[@]}"; do
    [[ -e $FILE ]] || die "$FILE: no such file"
    if [[ -d $FILE ]]; then TEXTS+=("$FILE"/*.txt); else TEXTS+=("$FILE"); fi
done
TOKENIZER_FILES=()
if has --tokenizer; then
    excludes --tokenizer --lowercase
    [[ " $* " != *" --vocab-size "* ]] || die "--tokenizer excludes --vocab-size" 2
    TOKENIZER_FILES=("$TOKENIZER"/{dict.txt,sentencepiece.bpe.model})
    if [[ -f $TOKENIZER/tokenizer.json ]]; then
        TOKENIZER_FILES=("$TOKENIZER"/{dict.txt,tokenizer.json,special_tokens_map.json})
    fi
    for FILE in "${TOKENIZER_FILES[@]}"; do need_file "$FILE"; done
fi
preset "$PRESET"
need_software

given --vocab-size --lowercase --valid --limit
SETTINGS=$(settings "${GIVEN[@]}" && cat -- "${TOKENIZER_FILES[@]}" "${TEXTS[@]}" | sha256sum)
if already "$OUT" "$SETTINGS"; then exit 0; fi
build_in "$OUT"
given --valid --limit
run "$PYTHON" "$RECIPES/data/split_text.py" --out "$PARTIAL" "${GIVEN[@]}" "${TEXTS[@]}"
if has --tokenizer; then
    cp -- "${TOKENIZER_FILES[@]}" "$PARTIAL"
else
    given --vocab-size --lowercase
    run "$PYTHON" "$RECIPES/data/spm.py" train --text "$PARTIAL/train.txt" --out "$PARTIAL" "${GIVEN[@]}"
fi
if [[ -f $PARTIAL/tokenizer.json ]]; then
    SUFFIX=pieces
    run layerdrop encode "$PARTIAL" "$PARTIAL"/{train,valid}.txt
else
    SUFFIX=spm
    run "$PYTHON" "$RECIPES/data/spm.py" encode --model "$PARTIAL/sentencepiece.bpe.model" "$PARTIAL"/{train,valid}.txt
fi
run_logged "$PARTIAL/prepare.log" fairseq-preprocess --only-source --workers "$(nproc)" --srcdict "$PARTIAL/dict.txt" \
    --trainpref "$PARTIAL/train.txt.$SUFFIX" --validpref "$PARTIAL/valid.txt.$SUFFIX" --destdir "$PARTIAL/binary"
mv -- "$PARTIAL"/binary/{train,valid}.{bin,idx} "$PARTIAL"
rm -r -- "$PARTIAL/binary" "$PARTIAL"/*."$SUFFIX" "$PARTIAL/prepare.log"
finished "$SETTINGS"
say "masked-LM data: $OUT"
