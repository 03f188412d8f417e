# shellcheck shell=bash disable=SC2034
# Fine-tuning of a pre-trained model of BERT's kind on 2 CPU cores. Any of these can be set in the environment instead.

: "${LOG_INTERVAL:=50}" "${NUM_WORKERS:=0}"

: "${PRUNE_LAYERS:=every-other:0.5}"

: "${FINETUNE_BATCH:=32}" "${FINETUNE_EPOCHS:=2}" "${FINETUNE_LR:=1e-4}" "${FINETUNE_PRECISION:=}"
: "${FINETUNE_DROPOUT:=0.1}" "${FINETUNE_LAYERDROP:=0.0}"

# four_layer_bert.sh
: "${BERT_DEPTHS:=6 4 3 2}"                     # layers of the children; those below the model's own
: "${BERT_CHILD_EPOCHS:=3}"                     # of children; the parent's are FINETUNE_EPOCHS
: "${BERT_IMPORTED_LR:=2e-4}"                   # of children cut out of the model before its fine-tuning
: "${BERT_LAYERDROP:=0.3}"                      # of the parent that is to be cut without training its children
: "${BERT_DISTILL_WEIGHT:=0.7}" "${BERT_DISTILL_TEMPERATURE:=2}"
