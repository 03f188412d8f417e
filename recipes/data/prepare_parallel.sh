#!/usr/bin/env bash
# Line-aligned text files to translation data: split, one SentencePiece model for both languages, fairseq-preprocess.
#
#   bash recipes/data/prepare_parallel.sh --src-lang es --tgt-lang en --src FILE --tgt FILE --out DIR [OPTIONS]
#   bash recipes/data/prepare_parallel.sh --src-lang es --tgt-lang en --train-src FILE --train-tgt FILE \
#       --valid-src FILE --valid-tgt FILE [--test-src FILE --test-tgt FILE] --out DIR [OPTIONS]
#
#   --src-lang, --tgt-lang NAME   letters, digits and _; they become parts of file names
#   --src, --tgt FILE   UTF-8, a sentence a line, both files with the same number of lines; split by a hash of the source
#                       sentence: equal sentences never part
#   --groups FILE       a name a line for the lines of --src, a chapter's for instance: groups stay whole instead, and
#                       pairs that train has too are dropped from valid and test
#   --valid F, --test F   fractions of --src and --tgt (default: 0.02 and 0.03); --test 0 makes no test split
#   --train-src, … FILE   splits of your own, taken as they are
#   --out DIR           gets train, valid and test as fairseq's data and as text, line for line the same; the dictionary
#                       (the same one for both languages) and sentencepiece.bpe.model
#   --vocab-size N      SentencePiece pieces (default: the preset's), learnt from the training part of both languages
#   --max-tokens-per-sentence N   drop pairs with a longer side, in pieces (default: the preset's); pairs with one side
#                       more than 3 times as long as the other are dropped too, from all splits
#   --skip-empty        drop pairs with an empty side instead of refusing them
#   --limit N           use only N pairs (of each split, if you give splits), chosen by a hash of the text
#   --limit-valid N, --limit-test N   keep at most N pairs of the split, chosen likewise
#   --preset NAME       a file of recipes/presets: tiny (the default), base, …
#
# Run it again when finished and it does nothing. DIR appears whole or not at all.

# shellcheck source=../lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../lib/common.sh"

# Every option that names a file, in the order in which they are looked at.
INPUTS=(--src --tgt --groups --train-src --train-tgt --valid-src --valid-tgt --test-src --test-tgt)
declare -A FILE=()
SRC='' TGT='' OUT='' FRACTIONS=() VOCAB='' MAX_TOKENS='' SAMPLE=() CAPS=() PRESET=tiny

# number OPTION VALUE, share OPTION VALUE: stop unless it is a number of pairs or pieces, or a fraction.
number() { [[ $2 =~ ^[1-9][0-9]*$ ]] || die "$1 $2: want a number from 1" 2; }
share() { [[ $2 =~ ^(0|0?\.[0-9]+)$ ]] || die "$1 $2: want a fraction like 0.02" 2; }

# language OPTION NAME: stop unless it can be part of a file's name and of fairseq's.
language() {
    need "$1" "$2"
    [[ $2 =~ ^[A-Za-z0-9_]+$ ]] || die "$1 $2: only letters, digits and _ will do" 2
}

# given OPTION...: whether any of them came with a file.
given() {
    local option
    for option in "$@"; do
        if [[ -n ${FILE[$option]:-} ]]; then return 0; fi
    done
    return 1
}

# both OPTION OPTION: stop if one came without the other.
both() {
    if given "$1" && ! given "$2"; then die "$1 needs $2" 2; fi
    if given "$2" && ! given "$1"; then die "$2 needs $1" 2; fi
}

while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --src-lang) SRC=$(value "$1" "$@"); shift 2 ;;
        --tgt-lang) TGT=$(value "$1" "$@"); shift 2 ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --src | --tgt | --groups | --train-src | --train-tgt | --valid-src | --valid-tgt | --test-src | --test-tgt)
            VALUE=$(value "$1" "$@"); need "$1" "$VALUE"; FILE[$1]=$VALUE; shift 2 ;;
        --valid | --test) VALUE=$(value "$1" "$@"); share "$1" "$VALUE"; FRACTIONS+=("$1" "$VALUE"); shift 2 ;;
        --vocab-size) VOCAB=$(value "$1" "$@"); number "$1" "$VOCAB"; shift 2 ;;
        --max-tokens-per-sentence) MAX_TOKENS=$(value "$1" "$@"); number "$1" "$MAX_TOKENS"; shift 2 ;;
        --skip-empty) SAMPLE+=("$1"); shift ;;
        --limit) VALUE=$(value "$1" "$@"); number "$1" "$VALUE"; SAMPLE+=("$1" "$VALUE"); shift 2 ;;
        --limit-valid | --limit-test) VALUE=$(value "$1" "$@"); number "$1" "$VALUE"; CAPS+=("$1" "$VALUE"); shift 2 ;;
        --preset) PRESET=$(value "$1" "$@"); shift 2 ;;
        *) die "unknown argument $1 (see --help)" 2 ;;
    esac
done
language --src-lang "$SRC"
language --tgt-lang "$TGT"
[[ $SRC != "$TGT" ]] || die "--src-lang and --tgt-lang are both $SRC" 2
need --out "$OUT"
OUT=$(absolute "$OUT")
both --src --tgt
both --train-src --train-tgt
both --valid-src --valid-tgt
both --test-src --test-tgt
if given --src; then
    if given "${INPUTS[@]:3}"; then die "--src and --tgt are all splits; leave out --train-src and the like" 2; fi
elif ! given --train-src || ! given --valid-src; then
    die "give --src and --tgt, or --train-src, --train-tgt, --valid-src and --valid-tgt (see --help)" 2
elif given --groups || [[ ${#FRACTIONS[@]} -gt 0 ]]; then
    die "--groups, --valid and --test go with --src and --tgt" 2
fi
FILES=()
for OPTION in "${INPUTS[@]}"; do
    if given "$OPTION"; then
        need_file "${FILE[$OPTION]}"
        FILES+=("$OPTION" "${FILE[$OPTION]}")
    fi
done
preset "$PRESET"
VOCAB=${VOCAB:-$NMT_VOCAB_SIZE} MAX_TOKENS=${MAX_TOKENS:-$NMT_MAX_TOKENS}
need_software

LANGUAGES=(--src-lang "$SRC" --tgt-lang "$TGT")
SETTINGS=$(
    settings "${LANGUAGES[@]}" "${FRACTIONS[@]}" "${SAMPLE[@]}" "${CAPS[@]}" \
        --vocab-size "$VOCAB" --max-tokens-per-sentence "$MAX_TOKENS"
    for ((i = 0; i < ${#FILES[@]}; i += 2)); do settings "${FILES[i]}" "$(sha256 "${FILES[i + 1]}")"; done
)
if already "$OUT" "$SETTINGS"; then exit 0; fi
build_in "$OUT"
TEXT=$PARTIAL/text PIECES=$PARTIAL/pieces MODEL=$PARTIAL/sentencepiece.bpe.model
mkdir -- "$TEXT" "$PIECES"
run "$PYTHON" "$RECIPES/data/split_parallel.py" split "${LANGUAGES[@]}" --out "$TEXT" "${FRACTIONS[@]}" "${SAMPLE[@]}" \
    "${FILES[@]}"
run "$PYTHON" "$RECIPES/data/spm.py" train --text "$TEXT/train.$SRC" "$TEXT/train.$TGT" --out "$PARTIAL" --vocab-size "$VOCAB"
run "$PYTHON" "$RECIPES/data/spm.py" encode --keep-empty --model "$MODEL" "$TEXT"/*
run "$PYTHON" "$RECIPES/data/split_parallel.py" trim "${LANGUAGES[@]}" "${CAPS[@]}" --max-pieces "$MAX_TOKENS" \
    --text "$TEXT" --out "$PARTIAL" --out-pieces "$PIECES"
PREFIXES=()
for SPLIT in train valid test; do
    if [[ -f $PIECES/$SPLIT.$SRC ]]; then PREFIXES+=("--${SPLIT}pref" "$PIECES/$SPLIT"); fi
done
run_logged "$PARTIAL/prepare.log" fairseq-preprocess --source-lang "$SRC" --target-lang "$TGT" --workers "$(nproc)" \
    --joined-dictionary --srcdict "$PARTIAL/dict.txt" "${PREFIXES[@]}" --destdir "$PARTIAL/binary"
mv -- "$PARTIAL"/binary/{*.bin,*.idx,dict.*.txt} "$PARTIAL"
rm -r -- "$PARTIAL/binary" "$TEXT" "$PIECES" "$PARTIAL/dict.txt" "$PARTIAL/prepare.log"
finished "$SETTINGS"
say "translation data: $OUT"
