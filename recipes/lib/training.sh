# shellcheck shell=bash
# fairseq-train that resumes, and what belongs beside its checkpoints; source common.sh first.

# shape_options CHECKPOINT: what makes fairseq-train build a model of the same shape, one word a line.
shape_options() {
    local described
    described=$(layerdrop inspect "$1" --json) || return
    "$PYTHON" "$RECIPES/lib/shape_options.py" <<<"$described"
}

# examples DATA SPLIT: how many a binarized split holds (read from the header of its index).
examples() {
    [[ -f $1/input0/$2.idx ]] || die "$1/input0/$2.idx: no such file (prepare it with recipes/data/prepare_nlu.sh)"
    od -An -t u8 -j 18 -N 8 -- "$1/input0/$2.idx" | tr -d ' '
}

# layers CHECKPOINT: how many its encoder and its decoder have, 0 for one that is not there, such as "6 3".
layers() {
    local described
    described=$(layerdrop inspect "$1" --json) || return
    "$PYTHON" -c 'import json, sys
shape = json.load(sys.stdin)
print(*((shape[side] or {"layers": 0})["layers"] for side in ("encoder", "decoder")))' <<<"$described"
}

# first_checkpoint DIR: of the checkpoints that a training left after its intervals, the one with the fewest updates.
first_checkpoint() {
    find "$1" -maxdepth 1 -name 'checkpoint_*_*.pt' | sed -E 's/.*_([0-9]+)\.pt$/\1 &/' | sort -n | head -n 1 | cut -d ' ' -f 2-
}

# keep_beside DATA DIR: the tokenizer and dictionaries that from_pretrained(DIR) looks for.
keep_beside() {
    local file to
    for file in "$1"/{,input0/,label/}dict.txt "$1"/dict.*.txt "$1"/sentencepiece.bpe.model; do
        [[ -f $file ]] || continue
        to=$2/${file#"$1"/}
        mkdir -p -- "$(dirname -- "$to")"
        cp -- "$file" "$to.partial"
        mv -- "$to.partial" "$to"
    done
}

# same_dictionary CHECKPOINT DATA-DICT: stop when the checkpoint is known to use another dictionary.
same_dictionary() {
    local beside
    beside=$(dirname -- "$1")/$(basename -- "$2")
    [[ -f $beside && -f $2 ]] || return 0
    cmp -s -- "$beside" "$2" ||
        die "$2 is not the dictionary of $1 ($beside): prepare the data with the tokenizer of its training"
}

# repair DIR: a kill in the middle of fairseq's copy leaves checkpoint_best or _last cut short. The newest file is what
# it was copied from, and whole.
repair() {
    local dir=$1 file files newest missing=()
    rm -f -- "$dir"/*.pt.tmp "$dir"/*.pt.partial
    mapfile -t files < <(find "$dir" -maxdepth 1 -name 'checkpoint*.pt' -type f)
    if [[ ${#files[@]} -eq 0 ]]; then return; fi
    if ! layerdrop check "${files[@]}" >/dev/null 2>&1; then
        for file in "${files[@]}"; do
            layerdrop check "$file" >/dev/null 2>&1 && continue
            say "[repair] $file was cut short by a kill"
            rm -f -- "$file"
            [[ $file != */checkpoint_best.pt ]] || missing+=("$file")
        done
    fi
    [[ -e $dir/checkpoint_last.pt ]] || missing+=("$dir/checkpoint_last.pt")
    newest=$(find "$dir" -maxdepth 1 -name 'checkpoint*.pt' -type f -printf '%T@ %p\n' | sort -rn | head -n 1 | cut -d ' ' -f 2-)
    if [[ -z $newest ]]; then return; fi
    for file in "${missing[@]}"; do
        say "[repair] $file taken from $newest"
        cp -- "$newest" "$file.partial"
        mv -- "$file.partial" "$file"
    done
}

# progress: the lines of fairseq's log that a person wants to watch.
progress() {
    sed -u -n -E \
        -e 's/, (ppl|wpb|bsz|gnorm|clip|loss_scale|train_wall|gb_free|nll_loss|ups)=[^,]*//g' \
        -e 's/ *\| (nll_loss|ppl|wpb|bsz|wps|train_wall|gb_free|wall) [^|]*//g' \
        -e 's/^.* \| INFO \| (train_inner|valid) \| /    /p' \
        -e 's/^.* \| WARNING \| layerdrop_plugin\S* \| /    /p'
}

# What depends on the machine: options that share a batch of BATCH (sentences or tokens per update) among its GPUs.
MACHINE=() BATCH=''

# train DATA SAVE-DIR OPTION...: fairseq-train into SAVE-DIR on every GPU there is (or the CPU), with MACHINE's options too.
# Finished before with the same options and BATCH: skipped. Killed before: resumed. Other options: refused.
train() {
    local folder=$1 dir=$2 fresh='' status=0 log=$2/train.log
    shift 2
    local options=("$folder" "$@" --save-dir "$dir")
    local words
    words=$(settings "${options[@]}" "--batch of an update:" "$BATCH")
    if already "$dir" "$words"; then return; fi

    gpus
    user_dir
    local launch=(fairseq-train) device=()
    case $GPUS in
        0) device=(--cpu) ;;
        1) ;;
        *)
            # fairseq sends the checkpoint's configuration to the other ranks in a form that torch >= 2.6 refuses;
            # so each rank reads the file itself.
            launch=(torchrun --standalone --nproc_per_node "$GPUS" -m fairseq_cli.train)
            device=(--load-checkpoint-on-all-dp-ranks)
            ;;
    esac
    device+=("${MACHINE[@]}")

    [[ -d $dir ]] || fresh=yes
    mkdir -p -- "$dir"
    exec 9>"$dir/.lock"
    flock -n 9 || die "another run is still training into $dir" 2
    repair "$dir"
    printf '%s\n' "$words" >"$dir/settings.txt"
    # Killed between fairseq's last word and our mark: a second start would train one update too many.
    if [[ -f $dir/checkpoint_last.pt ]] && tail -n 5 -- "$log" 2>/dev/null | grep -q 'done training in'; then
        touch "$dir/done"
        exec 9>&-
        return
    fi

    say "+ $(quoted "${launch[@]}" "$folder" --user-dir "$LAYERDROP_USER_DIR" "${device[@]}" "${options[@]:1}")"
    "${launch[@]}" "$folder" --user-dir "$LAYERDROP_USER_DIR" "${device[@]}" "${options[@]:1}" 2>&1 | tee -a -- "$log" | progress || status=$?
    if [[ $status -ne 0 ]]; then
        local why
        why=$(last_line "$log")
        if grep -q '^Traceback' "$log"; then
            awk '/^Traceback/ { text = "" } { text = text $0 "\n" } END { printf "%s", text }' "$log" >&2
        fi
        if ! compgen -G "$dir/checkpoint*.pt" >/dev/null; then
            rm -f -- "$dir/settings.txt" "$log" "$dir/.lock"
            [[ -z $fresh ]] || rm -rf -- "$dir"
        fi
        die "fairseq-train failed: $why"
    fi
    touch "$dir/done"
    exec 9>&-
}
