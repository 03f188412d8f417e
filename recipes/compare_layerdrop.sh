#!/usr/bin/env bash
# Does training with LayerDrop make a model that can be pruned without fine-tuning? The claim of Fan et al. 2019 at the size
# of the tiny preset: 12 trainings on 2 CPU cores, 55 minutes.
#
#   bash recipes/compare_layerdrop.sh [--out DIR] [--seeds N] [--jobs N] [--preset tiny|long|base]
#
#   --out PATH         everything lands here (default: compare/ in the checkout)
#   --seeds N          trainings of each kind, with the seeds 1 to N [default: 3]
#   --jobs N           how many train at a time (default: one a core, of one thread each; on GPUs one)
#   --preset NAME      tiny, long (40 minutes a training) or base: COMPARE_… in recipes/presets/NAME.sh [env: PRESET] [default: tiny]
#   --quickstart DIR   take the speeches that quickstart.sh has prepared there
#   --downloads PATH   keeps what is fetched (default: DIR/downloads)
#   --tiny-slice       a few hundred sentences and toy models: shows that it runs, the numbers mean nothing
#
# A masked language model (encoder) and a translation model (encoder and decoder) are trained with p = 0.2 and with p = 0,
# same seeds and updates, and pruned to every depth without fine-tuning (even:N; of a translation model the decoder with
# the encoder whole, then the encoder with the decoder whole). Held-out loss of all of them: of valid for the language
# model, of test for translation, there with BLEU too. Killed? Run it again: what is finished is skipped, training resumes.
# Each job has its log in DIR/logs. Ends with the curves in DIR.

source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
OUT=${OUT:-$ROOT/compare}
DOWNLOADS=${DOWNLOADS:-$OUT/downloads}
SPEECHES=$OUT/data/speeches HELP=$OUT/data/en-de
if [[ -n $QUICKSTART ]]; then
    SPEECHES=$QUICKSTART/data/speeches
    need_file "$SPEECHES/done"
fi

LIMIT_SPEECHES=() LIMIT_HELP=()
if has --tiny-slice; then
    slice
    export NMT_SHAPE="$NMT_SHAPE --encoder-layers 1"
    LIMIT_SPEECHES=(--limit 400 --valid 0.1 --vocab-size 300)
    LIMIT_HELP=(--limit 400 --limit-valid 16 --vocab-size 300 --max-tokens-per-sentence 150)
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

step "data: speeches, LibreOffice's help"
if [[ -z $QUICKSTART ]]; then
    recipe data/speeches.sh --out "$SPEECHES" --downloads "$DOWNLOADS" --lowercase "${LIMIT_SPEECHES[@]}"
fi
recipe data/libreoffice.sh --out "$HELP" --downloads "$DOWNLOADS" --limit-test "$COMPARE_SENTENCES" "${LIMIT_HELP[@]}"

step "train, prune to every depth, score: $JOBS at a time"
NAMES=()
for TASK in translation masked-lm; do # the longer ones first
    for ((S = 1; S <= SEEDS; S++)); do
        NAMES+=("$TASK-p$COMPARE_LAYERDROP-seed$S" "$TASK-p0-seed$S")
    done
done
export OUT SPEECHES HELP PRESET
"$PYTHON" "$RECIPES/lib/jobs.py" "$JOBS" "$OUT/logs" "${NAMES[@]}" -- bash "$RECIPES/lib/compare_job.sh"

step "curves"
run layerdrop depth-curve --results "$OUT/evaluated" --out "$OUT"
printf '\nDone in %s. Read %s\n' "$(elapsed)" "$OUT"
