#!/usr/bin/env bash
# Prune layers, heads, FFN units and embedding rows of a trained model: one layerdrop command. No training happens;
# fine-tune the child afterwards.
#
#   bash recipes/prune.sh --from CHECKPOINT [--encoder-layers SPEC] [--decoder-layers SPEC] --out DIR
#   bash recipes/prune.sh --from CHECKPOINT [--heads FILE:RATE] [--ffn FILE:RATE] --out DIR
#   bash recipes/prune.sh --from CHECKPOINT --plan FILE --out DIR
#   bash recipes/prune.sh --from CHECKPOINT --budget flops:0.5 --budget-scores FILE --budget-data DATA --out DIR
#   bash recipes/prune.sh --from CHECKPOINT --vocab FILE --out DIR
#
#   --from CKPT     the parent (required)
#   --encoder-layers, --layers SPEC   every-other:P, even:N, first:N, last:N, outer:N (N layers stay),
#                   keep:0,2,4 or another rule of `layerdrop prune` (default: the preset's, every-other:0.5, unless something else is named)
#   --decoder-layers SPEC   the same for the decoder of a translation model; a side that is not named stays whole
#   --heads, --ffn FILE:RATE   the share of them that goes by the scores in FILE (layerdrop importance makes it)
#   --plan FILE     a plan.json instead of a SPEC
#   --budget METRIC:SHARE   what the child may cost, see `layerdrop prune --help`
#   --vocab FILE    text: embedding rows that it does not use go; the dictionary and tokenizer in --out are the child's
#   --out PATH      gets child.pt, with the tokenizer and dictionary beside it [default: pruned]
#   --preset NAME   tiny, base or large: recipes/presets/NAME.sh [default: tiny]
#   --*             other options go to `layerdrop prune` unchanged
#
# Run it again when finished and it does nothing.

source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
options "$@"
excludes --plan --layers --encoder-layers --decoder-layers --budget
preset "$PRESET"
need_software

ENCODER_LAYERS=${ENCODER_LAYERS:-$LAYERS}
given --encoder-layers --decoder-layers --heads --ffn --plan --vocab --budget
[[ ${#GIVEN[@]} -gt 0 ]] || GIVEN=(--encoder-layers "$PRUNE_LAYERS")
HASHES=() FILES=("$PLAN" "$VOCAB" "${HEADS%:*}" "${FFN%:*}")
for SPEC in "${GIVEN[@]}"; do # a rule by scores names a file
    if [[ $SPEC =~ ^(scores|loss|contribution):(.+): ]]; then FILES+=("${BASH_REMATCH[2]}"); fi
done
for NAME in "${FILES[@]}"; do
    if [[ -n $NAME ]]; then need_file "$NAME" && HASHES+=(--sha256 "$(sha256 "$NAME")"); fi
done
SETTINGS=$(settings "$FROM" "$(sha256 "$FROM")" "${GIVEN[@]}" "${HASHES[@]}" "${OTHERS[@]}")
if ! already "$OUT" "$SETTINGS"; then
    build_in "$OUT"
    run layerdrop prune "$FROM" "$PARTIAL/child.pt" "${GIVEN[@]}" "${OTHERS[@]}"
    [[ -f $PARTIAL/child.pt ]] || exit 0 # --dry-run
    # with a pruned vocabulary they are there, and are not the parent's
    compgen -G "$PARTIAL/dict.*txt" >/dev/null || keep_beside "$(dirname -- "$FROM")" "$PARTIAL"
    finished "$SETTINGS"
fi
say "pruned: $OUT/child.pt"
