#!/usr/bin/env bash
# Line-aligned text files to translation data: split, one SentencePiece model for both languages, fairseq-preprocess.
#
#   bash recipes/data/prepare_parallel.sh --src-lang es --tgt-lang en --src FILE --tgt FILE --out DIR [OPTIONS]
#   bash recipes/data/prepare_parallel.sh --src-lang es --tgt-lang en --train-src FILE --train-tgt FILE \
#       --valid-src FILE --valid-tgt FILE [--test-src FILE --test-tgt FILE] --out DIR [OPTIONS]
#
#   --src-lang, --tgt-lang LANG   letters, digits and _; they become parts of file names (required)
#   --src, --tgt FILE   UTF-8, a sentence a line, both files with the same number of lines; split by a hash of the source
#                       sentence: equal sentences never part
#   --groups FILE       a name a line for the lines of --src, a chapter's for instance: groups stay whole instead, and
#                       pairs that train has too are dropped from valid and test
#   --about FILE        where --src and --tgt are from, and their licence: DIR gets it as ABOUT
#   --valid F           fraction of --src and --tgt (default: 0.02)
#   --test F            likewise (default: 0.03); 0 makes no test split
#   --train-src, --train-tgt, --valid-src, --valid-tgt, --test-src, --test-tgt FILE   splits of your own, as they are
#   --out PATH          gets train, valid and test as fairseq's data and as text, line for line the same; the dictionary
#                       (the same one for both languages) and sentencepiece.bpe.model (required)
#   --vocab-size N      SentencePiece pieces [env: NMT_VOCAB_SIZE] (default: the preset's), learnt from the training part of both languages
#   --max-tokens-per-sentence N   drop pairs with a longer side, in pieces [env: NMT_MAX_TOKENS] (default: the
#                       preset's); pairs with one side more than 3 times as long as the other are dropped too, from all splits
#   --skip-empty        drop pairs with an empty side instead of refusing them
#   --limit N           use only N pairs (of each split, if you give splits), chosen by a hash of the text
#   --limit-valid, --limit-test N   keep at most N pairs of the split, chosen likewise
#   --preset NAME       a file of recipes/presets: tiny, base, … [default: tiny]
#
# Run it again when finished and it does nothing. DIR appears whole or not at all.

source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"
options "$@"
[[ $SRC_LANG != "$TGT_LANG" ]] || die "--src-lang and --tgt-lang are both $SRC_LANG" 2
SPLITS=(--train-src --train-tgt --valid-src --valid-tgt --test-src --test-tgt)
together --src --tgt
for I in 0 2 4; do together "${SPLITS[@]:I:2}"; done
excludes --src "${SPLITS[@]}"
excludes --train-src --groups --valid --test
has --src || { has --train-src && has --valid-src; } ||
    die "give --src and --tgt, or --train-src, --train-tgt, --valid-src and --valid-tgt (see --help)" 2
NMT_VOCAB_SIZE=$VOCAB_SIZE NMT_MAX_TOKENS=$MAX_TOKENS_PER_SENTENCE
preset "$PRESET"
VOCAB_SIZE=$NMT_VOCAB_SIZE MAX_TOKENS_PER_SENTENCE=$NMT_MAX_TOKENS
need_software

given --src --tgt --groups "${SPLITS[@]}"
FILES=("${GIVEN[@]}")
SPLITTING=(--src-lang --tgt-lang --valid --test --skip-empty --limit)
given "${SPLITTING[@]}" --limit-valid --limit-test --vocab-size --max-tokens-per-sentence
SETTINGS=$(settings "${GIVEN[@]}" && checksums "${FILES[@]}")
if already "$OUT" "$SETTINGS"; then exit 0; fi
build_in "$OUT"
TEXT=$PARTIAL/text PIECES=$PARTIAL/pieces MODEL=$PARTIAL/sentencepiece.bpe.model
mkdir -- "$TEXT" "$PIECES"
given "${SPLITTING[@]}"
run "$PYTHON" "$RECIPES/data/split_parallel.py" split "${GIVEN[@]}" --out "$TEXT" "${FILES[@]}"
run "$PYTHON" "$RECIPES/data/spm.py" train --text "$TEXT/train.$SRC_LANG" "$TEXT/train.$TGT_LANG" --out "$PARTIAL" \
    --vocab-size "$VOCAB_SIZE"
run "$PYTHON" "$RECIPES/data/spm.py" encode --keep-empty --model "$MODEL" "$TEXT"/*
given --src-lang --tgt-lang --limit-valid --limit-test
run "$PYTHON" "$RECIPES/data/split_parallel.py" trim "${GIVEN[@]}" --max-pieces "$MAX_TOKENS_PER_SENTENCE" \
    --text "$TEXT" --out "$PARTIAL" --out-pieces "$PIECES"
prefixes "$PIECES" ".$SRC_LANG" ''
run_logged "$PARTIAL/prepare.log" fairseq-preprocess --source-lang "$SRC_LANG" --target-lang "$TGT_LANG" \
    --workers "$(nproc)" --joined-dictionary --srcdict "$PARTIAL/dict.txt" "${PREFIXES[@]}" --destdir "$PARTIAL/binary"
mv -- "$PARTIAL"/binary/{*.bin,*.idx,dict.*.txt} "$PARTIAL"
if has --about; then cp -- "$ABOUT" "$PARTIAL/ABOUT"; fi
rm -r -- "$PARTIAL/binary" "$TEXT" "$PIECES" "$PARTIAL/dict.txt" "$PARTIAL/prepare.log"
finished "$SETTINGS"
say "translation data: $OUT"
