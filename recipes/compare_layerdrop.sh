#!/usr/bin/env bash
# Does training with LayerDrop make a model that can be pruned without fine-tuning? The claim of Fan et al. 2019 at the size
# of the tiny preset: 12 trainings on 2 CPU cores, 55 minutes.
#
#   bash recipes/compare_layerdrop.sh [--out DIR] [--seeds N] [--jobs N] [--preset tiny|base]
#
#   --out PATH         everything lands here (default: compare/ in the checkout)
#   --seeds N          trainings of each kind, with the seeds 1 to N [default: 3]
#   --jobs N           how many train at a time (default: one a core, of one thread each; on GPUs one)
#   --preset NAME      tiny or base: COMPARE_… in recipes/presets/NAME.sh [env: PRESET] [default: tiny]
#   --quickstart DIR   take the speeches that quickstart.sh has prepared there
#   --downloads PATH   keeps what is fetched (default: DIR/downloads)
#   --tiny-slice       a few hundred sentences and toy models: shows that it runs, the numbers mean nothing
#
# A masked language model (encoder) and a translation model (encoder and decoder) are trained with p = 0.2 and with p = 0,
# same seeds and updates, and pruned to every depth without fine-tuning (even:N; of a translation model the decoder with
# the encoder whole, then the encoder with the decoder whole). Held-out loss of all of them: of valid for the language
# model, of test for translation, there with BLEU too. Killed? Run it again: what is finished is skipped, training resumes.
# Each job has its log in DIR/logs. Ends with the curves in DIR.

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
OUT=${OUT:-$ROOT/compare}
DOWNLOADS=${DOWNLOADS:-$OUT/downloads}
SPEECHES=$OUT/data/speeches VERSES=$OUT/data/verses
if [[ -n $QUICKSTART ]]; then
    SPEECHES=$QUICKSTART/data/speeches
    need_file "$SPEECHES/done"
fi

LIMIT_SPEECHES=() LIMIT_VERSES=()
if has --tiny-slice; then
    slice
    export NMT_SHAPE="$NMT_SHAPE --encoder-layers 1"
    LIMIT_SPEECHES=(--limit 400 --valid 0.1 --vocab-size 300)
    LIMIT_VERSES=(--limit 400 --limit-valid 16 --vocab-size 300 --max-tokens-per-sentence 150)
fi
preset "$PRESET"

software 4 report matplotlib scipy sacrebleu
gpus
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
if [[ $GPUS -gt 0 ]]; then
    JOBS=${JOBS:-1}
else
    CORES=$(env -u OMP_NUM_THREADS nproc) # which takes that variable for the number of cores
    JOBS=${JOBS:-$(((CORES + OMP_NUM_THREADS - 1) / OMP_NUM_THREADS))}
fi

step "data: speeches, Bible verses"
if [[ -z $QUICKSTART ]]; then
    recipe data/speeches.sh --out "$SPEECHES" --downloads "$DOWNLOADS" --lowercase "${LIMIT_SPEECHES[@]}"
fi
recipe data/verses.sh --out "$VERSES" --downloads "$DOWNLOADS" --limit-test "$COMPARE_SENTENCES" "${LIMIT_VERSES[@]}"

# ---------------------------------------------------------------- one job: a training and the scores of its children

# tell TEXT: a line for the person who watches, out of a job whose output is in its log.
tell() { printf '    %6s  %s: %s\n' "$(elapsed)" "$WHAT" "$1" >&3; }

# job TASK P SEED: train, then score every depth. Finished parts are skipped.
job() {
    local task=$1 p=$2 seed=$3 model
    WHAT="$task, p = $p, seed $seed"
    NAME=$task-p$p-seed$seed SUFFIX=.json
    if [[ $task == masked-lm ]]; then SUFFIX=/evaluate.json; fi
    model=$OUT/trained/$NAME
    tell "training"
    train_"${task//-/_}" "$p" "$seed" "$model"
    tell "trained; pruning and scoring"
    score_depths "$task" "$p" "$seed" "$model/checkpoint_last.pt"
    touch "$OUT/logs/$NAME.done"
    tell "done"
}

# Only the last checkpoint is scored: every training has the same number of updates.
train_masked_lm() {
    PRETRAIN_LAYERDROP=$1 PRETRAIN_UPDATES=$COMPARE_PRETRAIN_UPDATES recipe pretrain.sh --data "$SPEECHES" --out "$3" --seed "$2"
}

train_translation() {
    NMT_ENCODER_LAYERDROP=$1 NMT_DECODER_LAYERDROP=$1 NMT_UPDATES=$COMPARE_NMT_UPDATES recipe train_nmt.sh --data "$VERSES" \
        --out "$3" --seed "$2" --keep-interval-updates-pattern -1
}

# score_depths TASK P SEED PARENT: every depth of the encoder, then of the decoder, up to all of its layers; of a side with
# one layer there is nothing to compare.
score_depths() {
    local sides=(encoder decoder) described layers i depth
    described=$(shape layers "$4")
    mapfile -t layers <<<"$described"
    for i in 0 1; do
        for ((depth = 1; layers[i] > 1 && depth <= layers[i]; depth++)); do
            once "$(result "${sides[i]}" "$depth")" "$4" -- score_child "$@" "${sides[i]}" "$depth" "${layers[i]}"
        done
    done
}

# score_child TASK P SEED PARENT SIDE DEPTH LAYERS: the child lives as long as its scoring.
score_child() {
    local child=$OUT/children/$NAME-$5-$6 model=$4 point
    if [[ $6 -lt $7 ]]; then
        recipe prune.sh --from "$4" "--$5-layers" "even:$6" --out "$child"
        model=$child/child.pt
    fi
    point=$(printf '{"task": "%s", "train": "p = %s", "seed": %d, "kept": %d, "side": "%s"}' "$1" "$2" "$3" "$6" "$5")
    score_"${1//-/_}" "$model" "$(result "$5" "$6")" "p = $2, $5 $6" "$3" "$point"
    rm -rf -- "$child"
}

result() { printf '%s/evaluated/%s-%s-%d%s' "$OUT" "$NAME" "$1" "$2" "$SUFFIX"; }

score_translation() {
    recipe evaluate_nmt.sh --model "$1" --data "$VERSES" --split test --out "$2" --name "$3" --seed "$4" --point "$5"
}

# The masks are drawn with the same seed for all models.
score_masked_lm() {
    run layerdrop evaluate "$SPEECHES" --path "$1" --subset valid --seed 1 --name "$3" --train-seed "$4" --point "$5" \
        --out "$(dirname -- "$2")"
}

# ---------------------------------------------------------------- all jobs

step "train, prune to every depth, score: $JOBS at a time"
mkdir -p -- "$OUT/logs"
# Each job is a process group of its own, so that nothing of it is left when this recipe is stopped.
stop_jobs() {
    local pid
    for pid in $(jobs -p); do kill -- "-$pid" 2>/dev/null || true; done
}
trap stop_jobs EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
set -m
exec 3>&1
NAMES=()
for TASK in translation masked-lm; do # the longer ones first
    for ((S = 1; S <= SEEDS; S++)); do
        for P in "$COMPARE_LAYERDROP" 0; do
            NAME=$TASK-p$P-seed$S
            NAMES+=("$NAME")
            rm -f -- "$OUT/logs/$NAME.done"
            while [[ $(jobs -pr | wc -l) -ge $JOBS ]]; do wait -n || true; done
            job "$TASK" "$P" "$S" >"$OUT/logs/$NAME.log" 2>&1 &
        done
    done
done
wait
set +m
FAILED=()
for NAME in "${NAMES[@]}"; do
    [[ -f $OUT/logs/$NAME.done ]] || FAILED+=("$NAME: $(last_line "$OUT/logs/$NAME.log") (all of it: $OUT/logs/$NAME.log)")
done
[[ ${#FAILED[@]} -eq 0 ]] || die "${#FAILED[@]} of ${#NAMES[@]} jobs failed, the first being ${FAILED[0]}"

step "curves"
run layerdrop depth-curve --results "$OUT/evaluated" --out "$OUT"
printf '\nDone in %s. Read %s\n' "$(elapsed)" "$OUT"
