#!/usr/bin/env bash
# One job of compare_layerdrop.sh, which sets the variables: a training, and the scores of its children at every depth.
# Finished parts are skipped.
#
#   OUT=… SPEECHES=… HELP=… PRESET=… bash recipes/lib/compare_job.sh TASK-pP-seedN

source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
preset "$PRESET"
need_software
NAME=$1
[[ $NAME =~ ^(.+)-p(.+)-seed(.+)$ ]]
TASK=${BASH_REMATCH[1]} P=${BASH_REMATCH[2]} SEED=${BASH_REMATCH[3]}

if [[ $TASK == masked-lm ]]; then
    PRETRAIN_LAYERDROP=$P PRETRAIN_UPDATES=$COMPARE_PRETRAIN_UPDATES \
        recipe pretrain.sh --data "$SPEECHES" --out "$OUT/trained/$NAME" --seed "$SEED"
else
    NMT_ENCODER_LAYERDROP=$P NMT_DECODER_LAYERDROP=$P NMT_UPDATES=$COMPARE_NMT_UPDATES recipe train_nmt.sh \
        --data "$HELP" --out "$OUT/trained/$NAME" --seed "$SEED" --keep-interval-updates-pattern -1
fi
# Only the last checkpoint is scored: every training has the same number of updates.
PARENT=$OUT/trained/$NAME/checkpoint_last.pt

# score FILE SIDE DEPTH LAYERS: the child lives as long as its scoring.
score() {
    local child=$OUT/children/$NAME-$2-$3 model=$PARENT point
    if [[ $3 -lt $4 ]]; then
        recipe prune.sh --from "$PARENT" "--$2-layers" "even:$3" --out "$child"
        model=$child/child.pt
    fi
    point=$(printf '{"task": "%s", "train": "p = %s", "seed": %d, "kept": %d, "side": "%s"}' "$TASK" "$P" "$SEED" "$3" "$2")
    if [[ $TASK == masked-lm ]]; then # masks are drawn with the same seed for all models
        run layerdrop evaluate "$SPEECHES" --path "$model" --subset valid --seed 1 --name "p = $P, $2 $3" \
            --train-seed "$SEED" --point "$point" --out "$(dirname -- "$1")"
    else
        recipe evaluate_nmt.sh --model "$model" --data "$HELP" --split test --name "p = $P, $2 $3" --seed "$SEED" \
            --point "$point" --out "$1"
    fi
    rm -rf -- "$child"
}

# Every depth of the encoder, then of the decoder, up to all layers; of a side with one layer there is nothing to compare.
DESCRIBED=$(shape layers "$PARENT")
mapfile -t LAYERS <<<"$DESCRIBED"
SIDES=(encoder decoder) SUFFIX=.json
if [[ $TASK == masked-lm ]]; then SUFFIX=/evaluate.json; fi
for I in 0 1; do
    for ((DEPTH = 1; LAYERS[I] > 1 && DEPTH <= LAYERS[I]; DEPTH++)); do
        FILE=$OUT/evaluated/$NAME-${SIDES[I]}-$DEPTH$SUFFIX
        once "$FILE" "$PARENT" -- score "$FILE" "${SIDES[I]}" "$DEPTH" "${LAYERS[I]}"
    done
done
