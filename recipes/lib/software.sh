# fairseq, this plugin and the GPUs; common.sh reads it.

# need_software: fairseq and this plugin, from the active environment or from the .venv that quickstart.sh made.
need_software() {
    local program
    for program in fairseq-train layerdrop; do
        command -v "$program" >/dev/null || PATH=$ROOT/.venv/bin:$PATH
        command -v "$program" >/dev/null ||
            die "$program not found: activate your virtual environment, or pip install '${ROOT}[fairseq]'"
    done
    PYTHON=$(dirname -- "$(command -v layerdrop)")/python
    [[ -x $PYTHON ]] || PYTHON=python3
}

# user_dir: sets LAYERDROP_USER_DIR, the folder for --user-dir; recipes started from a recipe need not ask again.
user_dir() {
    [[ -n ${LAYERDROP_USER_DIR:-} ]] || LAYERDROP_USER_DIR=$(layerdrop path) || die "layerdrop path failed"
    export LAYERDROP_USER_DIR
}

# gpus: how many this run may use. Importing torch takes seconds, so machines without a driver skip the question.
gpus() {
    if [[ -z ${GPUS:-} ]]; then
        GPUS=0
        if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
            GPUS=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count())')
        fi
    fi
}

# device: sets DEVICE to what fairseq's commands that evaluate need on this machine.
device() {
    user_dir
    gpus
    DEVICE=(--user-dir "$LAYERDROP_USER_DIR")
    if [[ $GPUS -eq 0 ]]; then DEVICE+=(--cpu); fi
}
