#!/usr/bin/env bash
# Prune layers, heads and FFN units of a trained model: one layerdrop command. No training happens; fine-tune the child
# afterwards.
#
#   bash recipes/prune.sh --from CHECKPOINT [--encoder-layers SPEC] [--decoder-layers SPEC] --out DIR
#   bash recipes/prune.sh --from CHECKPOINT [--heads FILE:RATE] [--ffn FILE:RATE] --out DIR
#   bash recipes/prune.sh --from CHECKPOINT --plan FILE --out DIR
#
#   --from CKPT     the parent
#   --encoder-layers SPEC, or --layers SPEC   every-other:P, even:N, first:N, last:N, outer:N (N layers stay) or
#                   keep:0,2,4 (default: the preset's, every-other:0.5, unless something else is named)
#   --decoder-layers SPEC   the same for the decoder of a translation model; a side that is not named stays whole
#   --heads FILE:RATE, --ffn FILE:RATE   the share of them that goes by the scores in FILE (layerdrop importance makes it)
#   --plan FILE     a plan.json instead of a SPEC
#   --out DIR       gets child.pt, with the tokenizer and dictionary beside it (default: pruned)
#   --preset NAME   tiny (the default), base or large: recipes/presets/NAME.sh
#
# Other options go to `layerdrop prune` unchanged. Run it again when finished and it does nothing.

# shellcheck source=lib/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=lib/training.sh
source "$RECIPES/lib/training.sh"

FROM='' ENCODER='' DECODER='' PARTS=() PLAN='' OUT=pruned PRESET=tiny EXTRA=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) usage ;;
        --from) FROM=$(value "$1" "$@"); shift 2 ;;
        --layers | --encoder-layers) ENCODER=$(value "$1" "$@"); shift 2 ;;
        --decoder-layers) DECODER=$(value "$1" "$@"); shift 2 ;;
        --heads | --ffn) PARTS+=("$1" "$(value "$1" "$@")"); shift 2 ;;
        --plan) PLAN=$(value "$1" "$@"); shift 2 ;;
        --out) OUT=$(value "$1" "$@"); shift 2 ;;
        --preset) PRESET=$(value "$1" "$@"); shift 2 ;;
        --) shift; EXTRA+=("$@"); break ;;
        *) EXTRA+=("$1"); shift ;;
    esac
done
need --from "$FROM"
[[ -z $ENCODER$DECODER || -z $PLAN ]] || die "--plan excludes --layers, --encoder-layers and --decoder-layers" 2
FROM=$(absolute "$FROM") OUT=$(absolute "$OUT")
need_file "$FROM"
preset "$PRESET"
need_software

KEEP=()
if [[ -n $ENCODER || -z $DECODER && ${#PARTS[@]} -eq 0 ]]; then KEEP+=(--encoder-layers "${ENCODER:-$PRUNE_LAYERS}"); fi
if [[ -n $DECODER ]]; then KEEP+=(--decoder-layers "$DECODER"); fi
KEEP+=("${PARTS[@]}")
WHAT=("${KEEP[@]}")
for ((I = 1; I < ${#PARTS[@]}; I += 2)); do
    need_file "${PARTS[I]%:*}"
    WHAT+=("${PARTS[I - 1]}-sha256" "$(sha256 "${PARTS[I]%:*}")")
done
if [[ -n $PLAN ]]; then
    need_file "$PLAN"
    KEEP=(--plan "$PLAN" "${PARTS[@]}")
    WHAT+=(--plan "$(sha256 "$PLAN")")
fi
SETTINGS=$(settings "$FROM" "$(sha256 "$FROM")" "${WHAT[@]}" "${EXTRA[@]}")
if ! already "$OUT" "$SETTINGS"; then
    mkdir -p -- "$OUT"
    run layerdrop prune "$FROM" "$OUT/child.pt" "${KEEP[@]}" "${EXTRA[@]}" ||
        { rmdir --ignore-fail-on-non-empty -- "$OUT"; exit 1; }
    [[ -f $OUT/child.pt ]] || { rmdir -- "$OUT"; exit 0; } # --dry-run
    keep_beside "$(dirname -- "$FROM")" "$OUT"
    printf '%s\n' "$SETTINGS" >"$OUT/settings.txt"
    touch "$OUT/done"
fi
say "pruned: $OUT/child.pt"
