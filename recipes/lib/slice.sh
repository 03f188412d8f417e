# shellcheck disable=SC2034
# Toy models that train for a few updates: what --tiny-slice puts in the environment, before a preset. The numbers
# that come out mean nothing.

: "${PRETRAIN_SHAPE:=--encoder-layers 2 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64 --encoder-attention-heads 2}"
: "${PRETRAIN_TOKENS:=64}" "${PRETRAIN_UPDATES:=8}" "${PRETRAIN_WARMUP:=2}" "${PRETRAIN_SAVE_UPDATES:=4}"
: "${FINETUNE_EPOCHS:=1}"
: "${NMT_SHAPE:=$PRETRAIN_SHAPE ${PRETRAIN_SHAPE//--encoder-/--decoder-}}"
: "${NMT_UPDATES:=8}" "${NMT_WARMUP:=2}" "${NMT_SAVE_UPDATES:=2}" "${NMT_BEAM:=2}" "${NMT_CHILDREN:=both-1-1=even:1+even:1}"
: "${NMT_FINETUNE_UPDATES:=4}" "${NMT_FINETUNE_WARMUP:=1}"
: "${COMPARE_PRETRAIN_UPDATES:=8}" "${COMPARE_NMT_UPDATES:=8}" "${COMPARE_SENTENCES:=8}"
: "${LOG_INTERVAL:=2}"
