# For recipes that run other recipes in a row; common.sh reads it.

STEP=0 STEPS=0

# software STEPS EXTRAS MODULE...: the first of the STEPS that there will be: what `use_environment` installs, and where it is.
software() {
    STEPS=$1
    step "software"
    use_environment "${@:2}"
    need_software
    user_dir
}

# step TITLE: the headline of the next step, with the time since the start.
step() {
    STEP=$((STEP + 1))
    printf '\n[%d/%d] %s   (%s)\n' "$STEP" "$STEPS" "$1" "$(elapsed)"
}

elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

# recipe SCRIPT ARGUMENT...: another recipe, with the same preset.
recipe() { bash "$RECIPES/$1" "${@:2}" --preset "$PRESET"; }

# slice: toy models for the recipes that are run, whatever the preset says.
slice() {
    set -a
    # shellcheck source=/dev/null
    source "$RECIPES/lib/slice.sh"
    set +a
}

# models NAME=CHECKPOINT...: sets MODELS to the options that name them, and CHECKPOINTS to their files.
models() {
    CHECKPOINTS=("${@#*=}")
    MODELS=(--path "${CHECKPOINTS[@]}" --name "${@%%=*}")
}

# evaluate_models DIR DATA SPLIT SEED [OPTION...]: layerdrop evaluate of the `models` whose training had that SEED, unless
# DIR has it of the same files.
evaluate_models() {
    once "$1/evaluate.json" "${CHECKPOINTS[@]}" "$2/input0/$3.bin" -- \
        run layerdrop evaluate "$2" "${MODELS[@]}" --subset "$3" --train-seed "$4" --out "$1" "${@:5}"
}

# evaluate_translations DIR DATA SEED: evaluate_nmt.sh of each of the `models` on the test split: DIR/0.json, DIR/1.json, ….
evaluate_translations() {
    local i names=("${MODELS[@]: -${#CHECKPOINTS[@]}}")
    for i in "${!names[@]}"; do
        recipe evaluate_nmt.sh --model "${CHECKPOINTS[i]}" --data "$2" --split test --name "${names[i]}" --seed "$3" \
            --out "$1/$i.json"
    done
}

# time_models FILE DATA [OPTION...]: layerdrop latency of the `models` on the test split, unless FILE is of the same ones.
time_models() {
    once "$1" "${CHECKPOINTS[@]}" -- run layerdrop latency "$2" "${MODELS[@]}" --subset test --out "$1" "${@:3}"
}
