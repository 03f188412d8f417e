#!/usr/bin/env bash
# Fine-tune a classifier or a regression on sentences or sentence pairs: one fairseq-train command.
#
#   bash recipes/finetune_nlu.sh --data DIR --from CHECKPOINT [--layers SPEC] --out DIR [FAIRSEQ-TRAIN OPTIONS]
#   bash recipes/finetune_nlu.sh --data DIR --from-scratch-like CHECKPOINT --out DIR [FAIRSEQ-TRAIN OPTIONS]
#
#   --data DIR      sentence_prediction data (recipes/data/prepare_nlu.sh or reviews.sh makes it); pairs and regression
#                   targets are recognised by what is in it
#   --from CKPT     a pre-trained, pruned or fine-tuned model: shape and weights come from it
#   --layers SPEC   prune it first: every-other:P, even:N, first:N, last:N, outer:N (N layers stay), keep:0,2,4
#   --from-scratch-like CKPT   the shape of CKPT with fresh weights
#   --regression    the labels are numbers (default: when DATA has no label dictionary)
#   --out DIR       where the checkpoints go (default: finetuned); checkpoint_best.pt is chosen on the valid split
#   --preset NAME   tiny (2 cores; the default), base or large (the papers' flags, GPUs): recipes/presets/NAME.sh
#   --seed N        default: 1
#
# Other options go to fairseq-train unchanged and win over the preset's; variables of the preset can also be set in
# the environment: FINETUNE_LR=1e-4 bash recipes/finetune_nlu.sh …
# Run it again after a kill and it resumes; run it again when finished and it does nothing. Afterwards
#   RobertaModel.from_pretrained(DIR, checkpoint_file="checkpoint_best.pt")
# works with no more arguments (from scratch: after `import layerdrop_plugin`).

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=lib/training.sh
source "$RECIPES/lib/training.sh"

DATA='' FROM='' LAYERS='' LIKE='' REGRESSION='' OUT=finetuned PRESET=tiny SEED=1 EXTRA=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --data) DATA=$(value "$1" "$@"); shift 2 ;;
        --from) FROM=$(value "$1" "$@"); shift 2 ;;
        --layers) LAYERS=$(value "$1" "$@"); shift 2 ;;
        --from-scratch-like) LIKE=$(value "$1" "$@"); shift 2 ;;
        --regression) REGRESSION=yes; shift ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --preset) PRESET=$(value "$1" "$@"); shift 2 ;;
        --seed) SEED=$(value "$1" "$@"); shift 2 ;;
        --) shift; EXTRA+=("$@"); break ;;
        *) EXTRA+=("$1"); shift ;;
    esac
done
need --data "$DATA"
need '--from or --from-scratch-like' "$FROM$LIKE"
[[ -z $FROM || -z $LIKE ]] || die "--from and --from-scratch-like exclude each other" 2
[[ -z $LAYERS || -n $FROM ]] || die "--layers goes with --from" 2
DATA=$(absolute "$DATA") OUT=$(absolute "$OUT")
need_dir "$DATA"
need_file "$DATA/input0/dict.txt"
preset "$PRESET"
need_software
gpus

MODEL=$(absolute "${FROM:-$LIKE}")
# The parent may be gone when a run resumes.
if [[ -f $MODEL ]]; then
    same_dictionary "$MODEL" "$DATA/input0/dict.txt"
elif ! compgen -G "$OUT/checkpoint*.pt" >/dev/null; then
    need_file "$MODEL"
fi

# What is trained, and from what.
if [[ -n $FROM ]]; then
    SHAPE=(--task pruning_sentence_prediction --arch layerdrop_roberta --prune-from "$MODEL")
    if [[ -n $LAYERS ]]; then SHAPE+=(--prune-encoder-layers "$LAYERS"); fi
else
    [[ -f $MODEL ]] || MODEL=$OUT/checkpoint_last.pt
    WORDS=$(shape_options "$MODEL") || exit
    mapfile -t SHAPE <<<"$WORDS"
    SHAPE=(--task sentence_prediction --arch layerdrop_roberta "${SHAPE[@]}")
fi

# The labels.
[[ -f $DATA/label/dict.txt ]] || REGRESSION=yes
if [[ -n $REGRESSION ]]; then
    need_file "$DATA/label/train.label"
    TARGET=(--num-classes 1 --regression-target --best-checkpoint-metric loss)
else
    TARGET=(--num-classes "$(wc -l <"$DATA/label/dict.txt")"
        --best-checkpoint-metric accuracy --maximize-best-checkpoint-metric)
fi

# The learning rate rises over 6 % of the updates, then falls to 0 with the last.
WORKERS=$((GPUS > 1 ? GPUS : 1))
PER_GPU=$(((FINETUNE_BATCH + WORKERS - 1) / WORKERS))
BATCH=$((PER_GPU * WORKERS))
EXAMPLES=$(examples "$DATA" train)
EPOCH=$(((EXAMPLES + BATCH - 1) / BATCH))
UPDATES=$((EPOCH * FINETUNE_EPOCHS))
MACHINE=(--batch-size "$PER_GPU")
if [[ $GPUS -gt 0 && -n $FINETUNE_PRECISION ]]; then MACHINE+=("$FINETUNE_PRECISION"); fi

train "$DATA" "$OUT" \
    "${SHAPE[@]}" --criterion sentence_prediction "${TARGET[@]}" \
    --encoder-layerdrop "$FINETUNE_LAYERDROP" \
    --init-token 0 --separator-token 2 --shorten-method truncate \
    --dropout "$FINETUNE_DROPOUT" --attention-dropout "$FINETUNE_DROPOUT" --weight-decay 0.1 \
    --optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-6 --clip-norm 1.0 \
    --lr-scheduler polynomial_decay --lr "$FINETUNE_LR" \
    --total-num-update "$UPDATES" --warmup-updates $((UPDATES * 6 / 100)) --max-epoch "$FINETUNE_EPOCHS" \
    --required-batch-size-multiple 1 \
    --no-epoch-checkpoints --bpe sentencepiece --seed "$SEED" --num-workers "$NUM_WORKERS" \
    --log-format simple --log-interval "$LOG_INTERVAL" "${EXTRA[@]}"
keep_beside "$DATA" "$OUT"
say "fine-tuned: $OUT/checkpoint_best.pt"
