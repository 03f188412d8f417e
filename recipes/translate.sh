#!/usr/bin/env bash
# From parallel text to small translation models, and what they cost and gain: one command, 2 CPU cores, 15 minutes.
#
#   bash recipes/translate.sh [--pair LANG] [--out DIR] [--preset tiny|long|base|iwslt|wmt] [--seed N]
#   bash recipes/translate.sh --src FILE --tgt FILE --src-lang NAME --tgt-lang NAME [--out DIR] …
#   bash recipes/translate.sh --data DIR [--out DIR] …
#
#   --out PATH        everything lands here (default: translate/ in the checkout)
#   --preset NAME     tiny (2 cores, 10 minutes a training), long (2 cores, 40 minutes), base (one GPU, minutes), or iwslt
#                     and wmt (the papers', with --data)
#                     [env: PRESET] [default: tiny]
#   --pair LANG       LibreOffice's help from English to LANG: de, es, fr, zh, … (all: data/libreoffice.sh --help) (default:
#                     de)
#   --src, --tgt FILE    sentences of your own, line by line each other's translation; tiny keeps those of at most 40
#                     pieces, and 400 for the test
#   --src-lang, --tgt-lang LANG   their languages
#   --data DIR        data that fairseq-preprocess made, such as IWSLT'14 or WMT'16 of fairseq's examples
#   --seed SEED       [default: 1]
#   --downloads PATH  keeps what is fetched (default: DIR/downloads)
#   --parent-only     stop when the parent is trained
#   --tiny-slice      a few hundred sentences and a toy model: shows that it runs, the numbers mean nothing
#
# Steps: install (into .venv if no virtual environment is active), fetch and prepare, train with LayerDrop on both sides,
# prune decoder, encoder and both, fine-tune the smallest child, evaluate all on the test split beside the model at a tenth
# of its training and a copy of the source, export parent and fine-tuned child to CTranslate2 and evaluate them there,
# time them, report. Killed? Run it again: what is finished is skipped, training
# resumes. Ends with a table, and report.md, report.json and report.png in DIR.

source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
together --src --tgt
together --src-lang --tgt-lang
excludes --src --data
excludes --pair --src --data --src-lang
[[ -z $SRC || -n $SRC_LANG ]] || die "--src and --tgt need --src-lang and --tgt-lang" 2
[[ $PRESET != iwslt && $PRESET != wmt || -n $DATA ]] || die "--preset $PRESET needs --data (see recipes/presets/$PRESET.sh)" 2
OUT=${OUT:-$ROOT/translate}
DOWNLOADS=${DOWNLOADS:-$OUT/downloads}
PREPARE=() TIMING=(--repeats 5 --max-sentences 128)
if has --tiny-slice; then
    slice
    PREPARE=(--limit 400 --limit-valid 16 --limit-test 16 --vocab-size 300 --max-tokens-per-sentence 150)
    TIMING=(--repeats 1 --max-sentences 4 --batch-sizes 4 --threads 1)
fi
preset "$PRESET"
if [[ -z $TINY_SLICE && $NMT_LIMIT_TEST -gt 0 ]]; then PREPARE+=(--limit-test "$NMT_LIMIT_TEST"); fi

# child NAME=ENCODER-SPEC+DECODER-SPEC: sets NAME, and KEEP to what prune.sh is told; `all` leaves a side whole.
child() {
    [[ $1 =~ ^([A-Za-z0-9_.-]+)=([^+]+)\+([^+]+)$ ]] || die "NMT_CHILDREN: $1 is not NAME=ENCODER-SPEC+DECODER-SPEC" 2
    NAME=${BASH_REMATCH[1]} KEEP=()
    if [[ ${BASH_REMATCH[2]} != all ]]; then KEEP+=(--encoder-layers "${BASH_REMATCH[2]}"); fi
    if [[ ${BASH_REMATCH[3]} != all ]]; then KEEP+=(--decoder-layers "${BASH_REMATCH[3]}"); fi
}

# What cannot be used is refused before anything is installed.
for CHILD in $NMT_CHILDREN; do child "$CHILD"; done
if [[ -n $DATA ]]; then
    languages "$DATA" train valid test
elif [[ -z $SRC ]]; then
    SRC_LANG=${SRC_LANG:-en} TGT_LANG=${TGT_LANG:-${PAIR:-de}}
    help_languages
fi
given --src-lang --tgt-lang

keep_times "$OUT"
software 9 report,ctranslate2 matplotlib scipy sacrebleu ctranslate2

if [[ -n $DATA ]]; then
    step "parallel text: $DATA"
elif [[ -n $SRC ]]; then
    step "parallel text: $SRC, $TGT"
    DATA=$OUT/data/text
    recipe data/prepare_parallel.sh "${GIVEN[@]}" --src "$SRC" --tgt "$TGT" --out "$DATA" "${PREPARE[@]}"
else
    step "parallel text: LibreOffice's help, $SRC_LANG to $TGT_LANG"
    DATA=$OUT/data/$SRC_LANG-$TGT_LANG
    recipe data/libreoffice.sh "${GIVEN[@]}" --out "$DATA" --downloads "$DOWNLOADS" "${PREPARE[@]}"
fi
languages "$DATA" test
given --data --src-lang --tgt-lang --seed

step "train a translation model with LayerDrop"
recipe train_nmt.sh "${GIVEN[@]}" --out "$OUT/parent"
PARENT=$OUT/parent/checkpoint_best.pt
EARLY=$("$PYTHON" "$RECIPES/lib/training_checkpoints.py" first "$OUT/parent")
if has --parent-only; then exit; fi

step "prune: layers of the decoder, of the encoder, of both"
TRAINED=("parent=$PARENT")
for CHILD in $NMT_CHILDREN; do
    child "$CHILD"
    recipe prune.sh --from "$PARENT" "${KEEP[@]}" --out "$OUT/pruned/$NAME"
    TRAINED+=("$NAME=$OUT/pruned/$NAME/child.pt")
done

step "fine-tune $NAME"
recipe finetune_nmt.sh "${GIVEN[@]}" --from "$OUT/pruned/$NAME/child.pt" --out "$OUT/finetuned/$NAME"
TRAINED+=("$NAME, fine-tuned=$OUT/finetuned/$NAME/checkpoint_best.pt")

step "evaluate on the test split"
UPDATES=${EARLY##*_}
models "${TRAINED[@]}" ${EARLY:+"parent at ${UPDATES%.pt} updates=$EARLY"}
evaluate_translations "$OUT/results" "$DATA" "$SEED"
if [[ -f $DATA/test.$SRC_LANG ]]; then
    run layerdrop score "$DATA" --copy-source --name "copy of the source" --subset test --out "$OUT/results/copy.json"
fi

step "CTranslate2: parent and $NAME, fine-tuned, in single precision and with weights of 8 bits"
EXPORTED=()
for TYPE in float32 int8; do
    in_ctranslate2 "$TYPE" "parent=$PARENT" "$NAME, fine-tuned=$OUT/finetuned/$NAME/checkpoint_best.pt"
done
TRAINED+=("${EXPORTED[@]}")

step "time the models, in turn in one process"
models "${TRAINED[@]}"
time_models "$OUT/latency.json" "$DATA" --beam "$NMT_BEAM" "${TIMING[@]}"

step "report"
run layerdrop report --results "$OUT/results" --latency "$OUT/latency.json" --times "$LAYERDROP_TIMES" --out "$OUT" \
    --title "Translation with fewer layers"
printf '\nDone in %s. Read %s\n' "$(elapsed)" "$OUT/report.md"
