#!/usr/bin/env bash
# Text files to masked-LM data: split, SentencePiece (trained on the training part only), fairseq-preprocess.
#
#   bash recipes/data/prepare_text.sh --out DIR [OPTIONS] FILE...
#
#   FILE...           UTF-8 text, a paragraph a line, blank lines are skipped; a folder stands for its *.txt
#   --out PATH        gets train and valid, dict.txt and sentencepiece.bpe.model (required)
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
preset "$PRESET"
need_software

given --vocab-size --lowercase --valid --limit
SETTINGS=$(settings "${GIVEN[@]}" && cat -- "${TEXTS[@]}" | sha256sum)
if already "$OUT" "$SETTINGS"; then exit 0; fi
build_in "$OUT"
given --valid --limit
run "$PYTHON" "$RECIPES/data/split_text.py" --out "$PARTIAL" "${GIVEN[@]}" "${TEXTS[@]}"
given --vocab-size --lowercase
run "$PYTHON" "$RECIPES/data/spm.py" train --text "$PARTIAL/train.txt" --out "$PARTIAL" "${GIVEN[@]}"
run "$PYTHON" "$RECIPES/data/spm.py" encode --model "$PARTIAL/sentencepiece.bpe.model" "$PARTIAL"/{train,valid}.txt
run_logged "$PARTIAL/prepare.log" fairseq-preprocess --only-source --workers "$(nproc)" --srcdict "$PARTIAL/dict.txt" \
    --trainpref "$PARTIAL/train.txt.spm" --validpref "$PARTIAL/valid.txt.spm" --destdir "$PARTIAL/binary"
mv -- "$PARTIAL"/binary/{train,valid}.{bin,idx} "$PARTIAL"
rm -r -- "$PARTIAL/binary" "$PARTIAL"/*.spm "$PARTIAL/prepare.log"
finished "$SETTINGS"
say "masked-LM data: $OUT"
