#!/usr/bin/env bash
# Evaluate a translation model: one fairseq-generate command for BLEU and chrF, one fairseq-validate command for the loss,
# and a result file made from what they print.
#
#   bash recipes/evaluate_nmt.sh --model CHECKPOINT --data DIR [--split test] --out result.json [--name NAME]
#                                [FAIRSEQ-GENERATE OPTIONS]
#
#   --model CKPT    a trained, pruned or fine-tuned model
#   --data DIR      translation data; BLEU is of its text (SPLIT.TGT), or of the tokens put together where it has none
#   --split NAME    test (the default), valid or train
#   --out FILE      the result as JSON; what fairseq printed lies beside it (default: result.json)
#   --references FILE   other references, a sentence a line
#   --name NAME     the model's name in reports (default: the folder of CKPT)
#   --seed N        the seed of its training, for reports (default: 1)
#   --point JSON    where the result belongs in `layerdrop curves`
#   --preset NAME   tiny (the default), base, iwslt or wmt: the width of the beam
#
# Other options go to fairseq-generate unchanged. Every sentence is translated and counted. Run it again for the same
# model and data and it does nothing.

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=lib/translation.sh
source "$RECIPES/lib/translation.sh"

MODEL='' DATA='' SPLIT=test OUT=result.json REFERENCES='' NAME='' SEED=1 POINT='' PRESET=tiny EXTRA=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --model) MODEL=$(value "$1" "$@"); shift 2 ;;
        --data) DATA=$(value "$1" "$@"); shift 2 ;;
        --split) SPLIT=$(value "$1" "$@"); shift 2 ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --references) REFERENCES=$(value "$1" "$@"); shift 2 ;;
        --name) NAME=$(value "$1" "$@"); shift 2 ;;
        --seed) SEED=$(value "$1" "$@"); shift 2 ;;
        --point) POINT=$(value "$1" "$@"); shift 2 ;;
        --preset) PRESET=$(value "$1" "$@"); shift 2 ;;
        --) shift; EXTRA+=("$@"); break ;;
        *) EXTRA+=("$1"); shift ;;
    esac
done
need --model "$MODEL"
need --data "$DATA"
MODEL=$(absolute "$MODEL") DATA=$(absolute "$DATA") OUT=$(absolute "$OUT")
NAME=${NAME:-$(basename -- "$(dirname -- "$MODEL")")}
LOG=${OUT%.json}.log GENERATED=${OUT%.json}.generated.txt
need_file "$MODEL"
need_dir "$DATA"
if [[ -n $REFERENCES ]]; then need_file "$REFERENCES"; fi
SRC_LANG='' TGT_LANG=''
languages "$DATA" "$SPLIT"
preset "$PRESET"
need_software

BATCHES=(--max-tokens 4096 --required-batch-size-multiple 1 --num-workers "$NUM_WORKERS")
# A model that pruning has harmed may repeat itself for ever: a translation is at most a fifth and 10 tokens longer.
GENERATE=(--path "$MODEL" --gen-subset "$SPLIT" --beam "$NMT_BEAM" --max-len-a 1.2 --max-len-b 10
    --remove-bpe "$(pieces "$DATA")" "${BATCHES[@]}" "${EXTRA[@]}")
VALIDATE=(--path "$MODEL" --valid-subset "$SPLIT" --task translation
    --criterion label_smoothed_cross_entropy --label-smoothing "$NMT_LABEL_SMOOTHING" "${BATCHES[@]}" --log-format json)
SCORE=(--name "$NAME" --seed "$SEED" --split "$SPLIT" --data "$DATA")
if [[ -n $REFERENCES ]]; then SCORE+=(--references "$REFERENCES"); fi
if [[ -n $POINT ]]; then SCORE+=(--point "$POINT"); fi

SETTINGS="$(quoted "${GENERATE[@]}" "${VALIDATE[@]}" "${SCORE[@]}") # $(
    sha256sum -- "$MODEL" "$DATA/$SPLIT.$SRC_LANG-$TGT_LANG".*.bin ${REFERENCES:+"$REFERENCES"} | cut -d ' ' -f 1 | paste -sd ' '
)"
if [[ -f $OUT && -f $GENERATED && -f $LOG && $(head -n 1 -- "$LOG") == "$SETTINGS" ]]; then
    say "[done before] $OUT"
    exit 0
fi

user_dir
gpus
DEVICE=(--user-dir "$LAYERDROP_USER_DIR")
if [[ $GPUS -eq 0 ]]; then DEVICE+=(--cpu); fi
GENERATE=(fairseq-generate "$DATA" "${DEVICE[@]}" "${GENERATE[@]}")
VALIDATE=(fairseq-validate "$DATA" "${DEVICE[@]}" "${VALIDATE[@]}")
mkdir -p -- "$(dirname -- "$OUT")"
trap 'rm -f -- "$GENERATED.partial" "$LOG.partial"' EXIT
rm -f -- "$OUT" "$GENERATED.partial"
run_logged "$GENERATED.partial" "${GENERATE[@]}"
printf '%s\n' "$SETTINGS" >"$LOG.partial"
run_logged "$LOG.partial" "${VALIDATE[@]}"
mv -- "$GENERATED.partial" "$GENERATED"
mv -- "$LOG.partial" "$LOG"
layerdrop score --generated "$GENERATED" --log "$LOG" --checkpoint "$MODEL" "${SCORE[@]}" \
    --command "$(quoted "${GENERATE[@]}")" --out "$OUT"
