#!/usr/bin/env bash
# Spanish and English Bible verses (31,077 pairs, public domain), from the packages of Debian and Ubuntu.
#
#   bash recipes/data/verses.sh --out DIR [--downloads DIR] [OPTIONS OF prepare_parallel.sh]
#
#   --src-lang LANG   es or en [default: es]
#   --tgt-lang LANG   the other one [default: en]
#   --out PATH        translation data [default: data/verses]
#   --downloads PATH  keeps what is fetched, for the next time [default: downloads]
#   --*               other options go to prepare_parallel.sh (--limit, --max-tokens-per-sentence, --preset, …)
#
# Nothing is installed and root is not needed. Chapters are never split; 2 % of the verses are valid and 3 % test, by a
# hash of the chapter's name. Reina-Valera 1909 and World English Bible; read with pysword, which is fetched if it is not
# installed.

source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
options "$@"
[[ $SRC_LANG-$TGT_LANG == es-en || $SRC_LANG-$TGT_LANG == en-es ]] ||
    die "--src-lang $SRC_LANG --tgt-lang $TGT_LANG: only es and en are there" 2
need_software

VERSES=$(mktemp -d)
trap 'rm -rf -- "$VERSES"' EXIT
for PACKAGE in sword-text-sparv sword-text-web; do
    run "$PYTHON" "$RECIPES/data/download.py" debian "$DOWNLOADS" "$PACKAGE" "$VERSES" \
        "recipes/translate.sh --src FILE --tgt FILE works with your own files"
done
READER=("$PYTHON")
if ! "$PYTHON" -Pc 'import pysword.modules' 2>/dev/null; then
    PYSWORD=pysword-0.2.8
    run "$PYTHON" "$RECIPES/data/download.py" pypi "$DOWNLOADS" "$PYSWORD.tar.gz" \
        6302f350c22f39090e2556729551fac57a4c25ceb268f90cd7fd0584b9cca4f0 --no-binary :all: pysword==0.2.8
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
run bash "$RECIPES/data/prepare_parallel.sh" --src-lang "$SRC_LANG" --tgt-lang "$TGT_LANG" --out "$OUT" \
    --src "$VERSES/verses.$SRC_LANG" --tgt "$VERSES/verses.$TGT_LANG" --groups "$VERSES/chapters" "${OTHERS[@]}"
