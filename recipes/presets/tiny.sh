# shellcheck disable=SC2034
# For 2 CPU cores: 6 layers x 128, minutes. Any of these can be set in the environment instead.

: "${LOG_INTERVAL:=100}" "${NUM_WORKERS:=0}"    # batches are small: another process would only take time from the two
: "${VOCAB_SIZE:=6000}"                         # SentencePiece pieces

: "${PRETRAIN_ARCH:=layerdrop_roberta_tiny}"    # 6 layers, width 128, FFN 512, 4 heads
: "${PRETRAIN_SHAPE:=}"                         # other sizes than the architecture's: --encoder-layers 4 …
: "${PRETRAIN_LAYERDROP:=0.2}"                  # 0.5 where more than half of the layers will go
: "${PRETRAIN_TOKENS:=64}"                      # tokens per sample; also the longest input later
: "${PRETRAIN_BATCH:=32}" "${PRETRAIN_BATCH_PER_GPU:=32}" # samples per update, over all GPUs, and in a pass of one
: "${PRETRAIN_UPDATES:=1400}" "${PRETRAIN_WARMUP:=150}"
: "${PRETRAIN_SAVE_UPDATES:=300}"               # validate and save this often
: "${PRETRAIN_LR:=1e-3}" "${PRETRAIN_PRECISION:=}"
: "${PRETRAIN_FROM_LR:=2e-4}"                   # of pretrain.sh --from: what the model knows is to stay
: "${PRETRAIN_DROPOUT:=0.0}"                    # hardly more than one pass over the text: nothing to regularise

: "${PRUNE_LAYERS:=every-other:0.5}"

: "${FINETUNE_BATCH:=32}" "${FINETUNE_EPOCHS:=2}" "${FINETUNE_LR:=5e-4}" "${FINETUNE_PRECISION:=}"
: "${FINETUNE_DROPOUT:=0.1}" "${FINETUNE_LAYERDROP:=0.0}"

: "${NMT_VOCAB_SIZE:=4000}"                     # SentencePiece pieces, of both languages together
: "${NMT_MAX_TOKENS:=40}"                       # pieces; longer sentences are left out
: "${NMT_LIMIT_TEST:=400}"                      # sentences of the test split that translate.sh prepares; 0: all
: "${NMT_ARCH:=layerdrop_transformer_tiny}"     # 6 + 3 layers, width 128, FFN 512, 4 heads
: "${NMT_SHAPE:=}"                              # likewise: --encoder-layers 4 --decoder-layers 2 …
: "${NMT_ENCODER_LAYERDROP:=0.2}" "${NMT_DECODER_LAYERDROP:=0.2}"
: "${NMT_BATCH:=512}" "${NMT_BATCH_PER_GPU:=512}" # tokens per update: more updates learn more in minutes
: "${NMT_UPDATES:=4500}" "${NMT_WARMUP:=200}"
: "${NMT_SAVE_UPDATES:=450}"                    # validate and save this often
: "${NMT_LR:=1.5e-3}" "${NMT_PRECISION:=}"
: "${NMT_SCHEDULE:=polynomial_decay}"           # to 0 with the last update; or inverse_sqrt
: "${NMT_DROPOUT:=0.1}" "${NMT_WEIGHT_DECAY:=0.0}" "${NMT_CLIP:=1.0}" "${NMT_LABEL_SMOOTHING:=0.1}"
: "${NMT_BEAM:=4}"

# What translate.sh cuts out of its parent: NAME=ENCODER-SPEC+DECODER-SPEC, the last one is also fine-tuned.
: "${NMT_CHILDREN:=decoder-2=all+even:2 decoder-1=all+even:1 encoder-3=even:3+all both-3-2=even:3+even:2 both-3-1=even:3+even:1}"
: "${NMT_FINETUNE_UPDATES:=1000}" "${NMT_FINETUNE_WARMUP:=100}" "${NMT_FINETUNE_LR:=7e-4}" "${NMT_FINETUNE_LAYERDROP:=0.0}"

# compare_layerdrop.sh: one thread trains a masked language model in 3 minutes and a translation model in 6.
: "${COMPARE_PRETRAIN_UPDATES:=400}" "${COMPARE_NMT_UPDATES:=2200}"
: "${COMPARE_LAYERDROP:=0.2}"                   # against 0
: "${COMPARE_SENTENCES:=200}"                   # of test, translated by every model
