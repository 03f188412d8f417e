#!/usr/bin/env bash
# Evaluate a fine-tuned model: one fairseq-validate command, and a result file made from what it prints.
#
#   bash recipes/evaluate_nlu.sh --model CHECKPOINT --data DIR [--split test] --out result.json [--name NAME]
#                                [FAIRSEQ-VALIDATE OPTIONS]
#
#   --model CKPT    a checkpoint of finetune_nlu.sh
#   --data DIR      sentence_prediction data
#   --split NAME    test (the default), valid or train
#   --out FILE      the result as JSON; the log lies beside it (default: result.json)
#   --name NAME     the model's name in reports (default: the folder of CKPT)
#   --seed N        the seed of its fine-tuning, for reports (default: 1)
#   --preset NAME   accepted like in the other recipes; evaluation is the same in all of them
#
# Other options go to fairseq-validate unchanged. Every example is counted: fairseq's own default leaves out the rest
# of a last batch. Run it again for the same model and data and it does nothing.

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

MODEL='' DATA='' SPLIT=test OUT=result.json NAME='' SEED=1 PRESET=tiny EXTRA=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --model) MODEL=$(value "$1" "$@"); shift 2 ;;
        --data) DATA=$(value "$1" "$@"); shift 2 ;;
        --split) SPLIT=$(value "$1" "$@"); shift 2 ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --name) NAME=$(value "$1" "$@"); shift 2 ;;
        --seed) SEED=$(value "$1" "$@"); shift 2 ;;
        --preset) PRESET=$(value "$1" "$@"); shift 2 ;;
        --) shift; EXTRA+=("$@"); break ;;
        *) EXTRA+=("$1"); shift ;;
    esac
done
need --model "$MODEL"
need --data "$DATA"
MODEL=$(absolute "$MODEL") DATA=$(absolute "$DATA") OUT=$(absolute "$OUT")
NAME=${NAME:-$(basename -- "$(dirname -- "$MODEL")")}
LOG=${OUT%.json}.log
need_file "$MODEL"
need_dir "$DATA"
need_file "$DATA/input0/$SPLIT.idx"
preset "$PRESET"
need_software

CRITERION=(--criterion sentence_prediction)
if [[ ! -f $DATA/label/dict.txt ]]; then CRITERION+=(--regression-target --report-pearson-and-spearman); fi
ARGUMENTS=(--path "$MODEL" --valid-subset "$SPLIT" --task sentence_prediction "${CRITERION[@]}"
    --batch-size 32 --required-batch-size-multiple 1 --num-workers "$NUM_WORKERS" --log-format json "${EXTRA[@]}")
SETTINGS="$(quoted "$DATA" "${ARGUMENTS[@]}") # $(sha256 "$MODEL") $(sha256 "$DATA/input0/$SPLIT.bin") $NAME $SEED"
if [[ -f $OUT && -f $LOG && $(head -n 1 -- "$LOG") == "$SETTINGS" ]]; then
    say "[done before] $OUT"
    exit 0
fi

user_dir
gpus
DEVICE=()
if [[ $GPUS -eq 0 ]]; then DEVICE=(--cpu); fi
COMMAND=(fairseq-validate "$DATA" --user-dir "$LAYERDROP_USER_DIR" "${DEVICE[@]}" "${ARGUMENTS[@]}")
mkdir -p -- "$(dirname -- "$OUT")"
trap 'rm -f -- "$LOG.partial"' EXIT
rm -f -- "$OUT"
say "+ $(quoted "${COMMAND[@]}")"
printf '%s\n' "$SETTINGS" >"$LOG.partial"
"${COMMAND[@]}" >>"$LOG.partial" 2>&1 || die "fairseq-validate failed: $(last_line "$LOG.partial")"
mv -- "$LOG.partial" "$LOG"
layerdrop score --log "$LOG" --checkpoint "$MODEL" --name "$NAME" --seed "$SEED" --split "$SPLIT" --data "$DATA" \
    --command "$(quoted "${COMMAND[@]}")" --out "$OUT"
