#!/usr/bin/env bash
# Fine-tune a translation model, or train what pruning left of it a little longer: one fairseq-train command.
#
#   bash recipes/finetune_nmt.sh --data DIR --from CHECKPOINT [--encoder-layers SPEC] [--decoder-layers SPEC] --out DIR
#                                [FAIRSEQ-TRAIN OPTIONS]
#
#   --data DIR      translation data with the dictionaries of the model (required)
#   --from PATH     a trained or pruned model: shape and weights come from it (required)
#   --encoder-layers, --decoder-layers SPEC   prune it first: every-other:P, even:N, first:N, last:N, outer:N (N layers
#                   stay), keep:0,2,4; a side that is not named stays whole
#   --src-lang, --tgt-lang LANG   the language pair (default: what the data is named after)
#   --out PATH      where the checkpoints go [default: finetuned]; checkpoint_best.pt is chosen on the valid split
#   --preset NAME   tiny (2 cores), base, iwslt or wmt (GPUs): recipes/presets/NAME.sh [default: tiny]
#   --seed SEED     [default: 1]
#   --*             other options go to fairseq-train unchanged and win over the preset's
#
# Variables of the preset can also be set in the environment: NMT_FINETUNE_LR=1e-4 bash recipes/finetune_nmt.sh …
# Run it again after a kill and it resumes; run it again when finished and it does nothing. Afterwards
#   TransformerModel.from_pretrained(DIR, checkpoint_file="checkpoint_best.pt").translate("…")
# works with no more arguments, if the data has a sentencepiece.bpe.model.

source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
languages "$DATA" train
preset "$PRESET"
need_software
same_dictionary "$FROM" "$OUT" "$DATA/dict.$SRC_LANG.txt" "$DATA/dict.$TGT_LANG.txt"
training_options "$DATA"

train "$DATA" "$OUT" \
    --task pruning_translation --arch layerdrop_transformer --prune-from "$FROM" \
    ${ENCODER_LAYERS:+--prune-encoder-layers "$ENCODER_LAYERS"} ${DECODER_LAYERS:+--prune-decoder-layers "$DECODER_LAYERS"} \
    --encoder-layerdrop "$NMT_FINETUNE_LAYERDROP" --decoder-layerdrop "$NMT_FINETUNE_LAYERDROP" \
    "${OPTIONS[@]}" --lr-scheduler polynomial_decay --lr "$NMT_FINETUNE_LR" --warmup-updates "$NMT_FINETUNE_WARMUP" \
    --max-update "$NMT_FINETUNE_UPDATES" --total-num-update "$NMT_FINETUNE_UPDATES" \
    --save-interval-updates "$NMT_SAVE_UPDATES" --keep-interval-updates 1 --no-epoch-checkpoints \
    --seed "$SEED" "${OTHERS[@]}"
keep_beside "$DATA" "$OUT"
say "fine-tuned: $OUT/checkpoint_best.pt"
