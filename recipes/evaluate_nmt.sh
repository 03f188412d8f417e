#!/usr/bin/env bash
# Evaluate a translation model: one fairseq-generate command for BLEU and chrF, one fairseq-validate command for the loss,
# and a result file made from what they print.
#
#   bash recipes/evaluate_nmt.sh --model CHECKPOINT --data DIR [--split test] --out result.json [--name NAME]
#                                [FAIRSEQ-GENERATE OPTIONS]
#
#   --model CKPT    a trained, pruned or fine-tuned model (required)
#   --data DIR      translation data; BLEU is of its text (SPLIT.TGT), or of the tokens put together where it has none
#                   (required)
#   --split NAME    test, valid or train [default: test]
#   --out PATH      the result as JSON; what fairseq printed lies beside it [default: result.json]
#   --references FILE   other references, a sentence a line
#   --name NAME     the model's name in reports (default: the folder of CKPT)
#   --seed SEED     the seed of its training, for reports [default: 1]
#   --point JSON    where the result belongs in `layerdrop depth-curve`
#   --preset NAME   tiny, base, iwslt or wmt: the width of the beam [default: tiny]
#   --*             other options go to fairseq-generate unchanged
#
# Every sentence is translated and counted. Run it again for the same model and data and it does nothing.

source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
SRC_LANG='' TGT_LANG=''
languages "$DATA" "$SPLIT"
preset "$PRESET"
need_software

BATCHES=(--max-tokens 4096 --required-batch-size-multiple 1 --num-workers "$NUM_WORKERS")

# evaluate OPTION...: the result, with these options of fairseq-generate and with the SCORE's.
evaluate() {
    local log=${OUT%.json}.log generated=${OUT%.json}.generated.txt command
    device
    command=(fairseq-generate "$DATA" "${DEVICE[@]}" "${@:1:$#-${#SCORE[@]}}")
    run_logged "$generated" "${command[@]}"
    run_logged "$log" fairseq-validate "$DATA" "${DEVICE[@]}" --path "$MODEL" --valid-subset "$SPLIT" --task translation \
        --criterion label_smoothed_cross_entropy --label-smoothing "$NMT_LABEL_SMOOTHING" "${BATCHES[@]}" --log-format json
    timed layerdrop score "${SCORE[@]}" --path "$MODEL" --generated "$generated" --log "$log" \
        --command "$(quoted "${command[@]}")" --out "$OUT"
}

NAME=${NAME:-$(basename -- "$(dirname -- "$MODEL")")}
given --name --seed --references --point
SCORE=("$DATA" --subset "$SPLIT" "${GIVEN[@]}")
PIECES=subword_nmt
if [[ -f $DATA/sentencepiece.bpe.model ]]; then PIECES=sentencepiece; fi
# A model that pruning has harmed may repeat itself for ever: a translation is at most a fifth and 10 tokens longer.
once "$OUT" "$MODEL" "$DATA/$SPLIT.$SRC_LANG-$TGT_LANG".*.bin ${REFERENCES:+"$REFERENCES"} -- evaluate \
    --path "$MODEL" --gen-subset "$SPLIT" --beam "$NMT_BEAM" --max-len-a 1.2 --max-len-b 10 --remove-bpe "$PIECES" \
    "${BATCHES[@]}" "${OTHERS[@]}" "${SCORE[@]}"
