# shellcheck shell=bash disable=SC2034
# For 2 CPU cores: 6 layers x 128, minutes. Any of these can be set in the environment instead.

: "${VOCAB_SIZE:=6000}"                      # SentencePiece pieces

: "${PRETRAIN_ARCH:=layerdrop_roberta_tiny}" # 6 layers, width 128, FFN 512, 4 heads
: "${PRETRAIN_LAYERDROP:=0.2}"               # 0.5 where more than half of the layers will go
: "${PRETRAIN_TOKENS:=64}"                   # tokens per sample; also the longest input later
: "${PRETRAIN_BATCH:=32}"                    # samples per update, over all GPUs
: "${PRETRAIN_BATCH_PER_GPU:=32}"
: "${PRETRAIN_UPDATES:=1400}"
: "${PRETRAIN_WARMUP:=150}"
: "${PRETRAIN_LR:=1e-3}"
: "${PRETRAIN_DROPOUT:=0.0}"                 # hardly more than one pass over the text: nothing to regularise
: "${PRETRAIN_SAVE_UPDATES:=300}"            # validate and save this often
: "${PRETRAIN_PRECISION:=}"

: "${PRUNE_LAYERS:=every-other:0.5}"

: "${FINETUNE_LAYERDROP:=0.0}"
: "${FINETUNE_BATCH:=32}"
: "${FINETUNE_EPOCHS:=2}"
: "${FINETUNE_LR:=5e-4}"
: "${FINETUNE_DROPOUT:=0.1}"
: "${FINETUNE_PRECISION:=}"

: "${LOG_INTERVAL:=100}"
: "${NUM_WORKERS:=0}"                        # batches are small: another process would only take time from the two
