#!/usr/bin/env bash
# Movie-review snippets with sentiment (10,072 sentences, MIT), from the PyPI source distribution of vaderSentiment.
#
#   bash recipes/data/reviews.sh --tokenizer DIR --out DIR [--downloads DIR] [OPTIONS OF prepare_nlu.sh]
#
#   --tokenizer DIR   the masked-LM data of the pre-training (required)
#   --out PATH        sentence_prediction data [default: data/reviews]
#   --downloads PATH  keeps what is fetched, for the next time [default: downloads]
#   --*               other options go to prepare_nlu.sh
#
# People scored the snippets from -4 to 4; the label is 1 above 0, and scores
# between -0.5 and 0.5 are left out. 10 % of the snippets are valid, 15 % test, by a hash of the text.

source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
options "$@"
need_software
SOURCE=vaderSentiment-3.3.2
run "$PYTHON" "$RECIPES/data/download.py" pypi "$DOWNLOADS" "$SOURCE.tar.gz" \
    5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9 --no-binary :all: vaderSentiment==3.3.2

TABLE=$(mktemp -d)
trap 'rm -rf -- "$TABLE"' EXIT
# id, mean score, text -> sentence, label
tar -xzOf "$DOWNLOADS/$SOURCE.tar.gz" "$SOURCE/additional_resources/hutto_ICWSM_2014.tar.gz" |
    tar -xzOf - hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt | tr -d '\r' |
    LC_ALL=C awk -F '\t' 'BEGIN { print "sentence\tlabel" } $2 >= 0.5 || $2 <= -0.5 { print $3 "\t" ($2 > 0) }' \
        >"$TABLE/reviews.tsv"
run bash "$RECIPES/data/prepare_nlu.sh" --tokenizer "$TOKENIZER" --out "$OUT" --split "$TABLE/reviews.tsv" \
    --valid-fraction 0.1 --test-fraction 0.15 "${OTHERS[@]}"
