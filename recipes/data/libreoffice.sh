#!/usr/bin/env bash
# LibreOffice's help in English and another language (28,133 paragraphs and headings in German, MPL-2.0), from the
# packages of Debian and Ubuntu.
#
#   bash recipes/data/libreoffice.sh --out DIR [--tgt-lang LANG] [--downloads DIR] [OPTIONS OF prepare_parallel.sh]
#
#   --src-lang LANG   en, or another language if --tgt-lang is en [default: en]
#   --tgt-lang LANG   en, or one of ca cs da de dz el en_gb es et eu fi fr gl hi hu id it ja km ko nl om pl pt pt_br
#                     ru sk sl sv tr vi zh zh_tw [default: de]
#   --out PATH        translation data [default: data/libreoffice]; its ABOUT says where it is from, and the licence
#   --downloads PATH  keeps what is fetched, for the next time [default: downloads]
#   --*               other options go to prepare_parallel.sh (--limit, --max-tokens-per-sentence, --preset, …)
#
# Nothing is installed and root is not needed. Pairs of 3 to 60 English words, each once; code and what is not translated
# are left out. 2 % are valid and 3 % test, by a hash of the English text without digits, case and punctuation, so that
# paragraphs that differ in nothing else are in the same split.

source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
options "$@"
help_languages
need_software

HELP=$(mktemp -d)
trap 'rm -rf -- "$HELP"' EXIT
for PACKAGE in libreoffice-help-en-us "$HELP_PACKAGE"; do
    run "$PYTHON" "$RECIPES/data/download.py" debian "$DOWNLOADS" "$PACKAGE" "$HELP/$PACKAGE" \
        "recipes/translate.sh --src FILE --tgt FILE works with your own files"
done
mkdir -- "$HELP/text"
run "$PYTHON" "$RECIPES/data/libreoffice.py" "$HELP/libreoffice-help-en-us" "$HELP/$HELP_PACKAGE" \
    --language "$HELP_LANGUAGE" --downloads "$DOWNLOADS" --out "$HELP/text"
run bash "$RECIPES/data/prepare_parallel.sh" --src-lang "$SRC_LANG" --tgt-lang "$TGT_LANG" --out "$OUT" \
    --src "$HELP/text/help.$SRC_LANG" --tgt "$HELP/text/help.$TGT_LANG" --groups "$HELP/text/groups" \
    --about "$HELP/text/ABOUT" "${OTHERS[@]}"
