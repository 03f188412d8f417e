# fairseq-train that resumes, and what belongs beside its checkpoints; common.sh reads it.

# shape options|layers CHECKPOINT: what lib/shape.py says of it.
shape() {
    local described
    described=$(layerdrop inspect "$2" --json) || return
    "$PYTHON" "$RECIPES/lib/shape.py" "$1" <<<"$described"
}

# keep_beside DATA DIR: the tokenizer and dictionaries that from_pretrained(DIR) looks for.
keep_beside() {
    local file to partial
    for file in "$1"/{,input0/,label/}dict.txt "$1"/dict.*.txt "$1"/sentencepiece.bpe.model "$1"/{tokenizer,special_tokens_map}.json; do
        [[ -f $file ]] || continue
        to=$2/${file#"$1"/}
        mkdir -p -- "$(dirname -- "$to")"
        partial=$(mktemp -- "$to.XXXXXXXX.partial")
        cp -- "$file" "$partial"
        chmod "$(printf %o $((0666 & ~$(umask))))" -- "$partial"
        mv -- "$partial" "$to"
    done
}

# keep_origin FROM DIR: what `layerdrop import-hf` left beside the checkpoint in FROM, for `layerdrop export-hf`.
keep_origin() {
    local partial
    if [[ ! -d $1/huggingface || -e $2/huggingface ]]; then return; fi
    partial=$(mktemp -d -- "$2/.huggingface.XXXXXXXX.partial")
    cp -- "$1"/huggingface/* "$partial"
    chmod "$(printf %o $((0777 & ~$(umask))))" -- "$partial"
    mv -T -- "$partial" "$2/huggingface"
}

# same_dictionary CHECKPOINT OUT DATA-DICT...: stop when the checkpoint is known to use another dictionary, or is not there.
# It may be gone when a training into OUT resumes.
same_dictionary() {
    local dictionary beside
    if compgen -G "$2/checkpoint*.pt" >/dev/null && [[ ! -f $1 ]]; then return; fi
    need_file "$1"
    for dictionary in "${@:3}"; do
        beside=$(dirname -- "$1")/$(basename -- "$dictionary")
        [[ ! -f $beside || ! -f $dictionary ]] || cmp -s -- "$beside" "$dictionary" ||
            die "$dictionary is not the dictionary of $1 ($beside): prepare the data with the tokenizer of its training"
    done
}

# share OPTION BATCH LIMIT PRECISION: how `train` shares the BATCH of an update among the GPUs: what OPTION gives each in a
# pass is at most LIMIT. PRECISION is an option for GPUs, or empty. None of it is a setting but BATCH.
share() { SHARE=("$@"); }

# train DATA SAVE-DIR OPTION...: fairseq-train into SAVE-DIR on every GPU there is (or the CPU).
# Finished before with the same options and batch: skipped. Killed before: resumed. Other options: refused.
train() {
    local dir=$2 log=$2/train.log command=(fairseq-train) device=() machine made start status=0
    made=$(settings "$1" "${@:3}" --save-dir "$dir" "--batch of an update:" "${SHARE[1]}")
    if already "$dir" "$made"; then return; fi

    user_dir
    gpus
    if [[ $GPUS -eq 0 ]]; then
        device=(--cpu)
    elif [[ $GPUS -gt 1 ]]; then
        # fairseq sends the checkpoint's configuration to the other ranks in a form that torch >= 2.6 refuses;
        # so each rank reads the file itself.
        command=(torchrun --standalone --nproc_per_node "$GPUS" -m fairseq_cli.train)
        device=(--load-checkpoint-on-all-dp-ranks)
    fi
    if [[ $GPUS -gt 0 && -n ${SHARE[3]} ]]; then device+=("${SHARE[3]}"); fi
    words machine lib/batches.py "${SHARE[@]:1:2}" $((GPUS > 1 ? GPUS : 1))
    command+=("$1" --user-dir "$LAYERDROP_USER_DIR" "${device[@]}" "${SHARE[0]}" "${machine[0]}" --update-freq "${machine[1]}"
        "${@:3}" --save-dir "$dir")

    mkdir -p -- "$dir"
    exec 9>"$dir/.lock"
    flock -n 9 || die "another run is still training into $dir" 2
    "$PYTHON" "$RECIPES/lib/training_checkpoints.py" repair "$dir" || exit
    printf '%s\n' "$made" >"$dir/settings.txt"
    # Killed between fairseq's last word and our mark: a second start would train one update too many.
    if [[ ! -f $dir/checkpoint_last.pt ]] || ! tail -n 5 -- "$log" 2>/dev/null | grep -q 'done training in'; then
        say "+ $(quoted "${command[@]}")"
        [[ ! -f $dir/checkpoint_last.pt ]] || skipped "$dir"
        start=$EPOCHREALTIME
        "$PYTHON" "$RECIPES/lib/training_log.py" run "$log" "${command[@]}" || status=$?
        note_time "$start" "$(quoted "${command[@]}")"
        [[ $status -eq 0 ]] || die "fairseq-train failed: $("$PYTHON" "$RECIPES/lib/training_log.py" failed "$dir")"
    fi
    touch "$dir/done"
    exec 9>&-
}
