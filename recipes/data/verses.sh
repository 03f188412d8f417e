#!/usr/bin/env bash
# Spanish and English Bible verses (31,077 pairs, public domain), from the packages of Debian and Ubuntu.
#
#   bash recipes/data/verses.sh --out DIR [--downloads DIR] [OPTIONS OF prepare_parallel.sh]
#
#   --src-lang, --tgt-lang LANG   es and en (the default), or en and es
#   --out DIR         translation data (default: data/verses)
#   --downloads DIR   keeps what is fetched, for the next time (default: downloads)
#
# Other options go to prepare_parallel.sh (--limit, --limit-test, --max-tokens-per-sentence, --preset, …). Nothing is
# installed and root is not needed. Chapters are never split; 2 % of the verses are valid and 3 % test, by a hash of the
# chapter's name. Reina-Valera 1909 and World English Bible; read with pysword, which is fetched if it is not installed.

# shellcheck source=../lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
# shellcheck source=../lib/download.sh
source "$RECIPES/lib/download.sh"
# shellcheck source=../lib/packages.sh
source "$RECIPES/lib/packages.sh"

OUT=data/verses DOWNLOADS=downloads SRC=es TGT=en OPTIONS=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --downloads) DOWNLOADS=$(value "$1" "$@"); shift 2 ;;
        --src-lang) SRC=$(value "$1" "$@"); shift 2 ;;
        --tgt-lang) TGT=$(value "$1" "$@"); shift 2 ;;
        *) OPTIONS+=("$1"); shift ;;
    esac
done
[[ $SRC-$TGT == es-en || $SRC-$TGT == en-es ]] || die "--src-lang $SRC --tgt-lang $TGT: only es and en are there" 2
need_software
DOWNLOADS=$(absolute "$DOWNLOADS")

VERSES=$(mktemp -d)
trap 'rm -rf -- "$VERSES"' EXIT
for PACKAGE in sword-text-sparv sword-text-web; do
    unpack_package "$DOWNLOADS" "$PACKAGE" "$VERSES" "recipes/translate.sh --src FILE --tgt FILE works with your own files"
done
READER=("$PYTHON")
if ! "$PYTHON" -Pc 'import pysword.modules' 2>/dev/null; then
    PYSWORD=pysword-0.2.8
    fetch "$DOWNLOADS" "$PYSWORD.tar.gz" 6302f350c22f39090e2556729551fac57a4c25ceb268f90cd7fd0584b9cca4f0 \
        --no-binary :all: pysword==0.2.8
    tar -xzf "$DOWNLOADS/$PYSWORD.tar.gz" -C "$VERSES"
    READER=(env "PYTHONPATH=$VERSES/$PYSWORD" "$PYTHON")
fi
run "${READER[@]}" "$RECIPES/data/verses.py" --modules "$VERSES/usr/share/sword" --out "$VERSES"

# Not refused: distributions may bring other editions. The checksums end in settings.txt.
TESTED="de172e52c2e7f4830a7b7c21ee7f9ec84ab96bb5fe95bfcd6b2777080655029c es, \
72a00f815d1465dc1d2e7af73006733920d3b8db3481f8c8f52dde28a678a9e6 en"
FOUND="$(sha256 "$VERSES/verses.es") es, $(sha256 "$VERSES/verses.en") en"
say "sha256: $FOUND"
[[ $FOUND == "$TESTED" ]] || say "these are not the editions that the recipes were tested with ($TESTED)"
run bash "$RECIPES/data/prepare_parallel.sh" --src-lang "$SRC" --tgt-lang "$TGT" --out "$OUT" \
    --src "$VERSES/verses.$SRC" --tgt "$VERSES/verses.$TGT" --groups "$VERSES/chapters" "${OPTIONS[@]}"
