# shellcheck shell=bash
# What the translation recipes share: the languages of a data folder, and its dictionaries; source common.sh first.

# languages DATA SPLIT: sets SRC_LANG and TGT_LANG, where they are empty, from the names of the split's files
# (SPLIT.SRC-TGT.SRC.idx); stops when DATA has no such split, pair or dictionary.
languages() {
    local data=$1 split=$2 file pair found=() known=()
    for file in "$data/$split".*-*.*.idx; do
        pair=${file##*/"$split".}
        pair=${pair%%.*}
        [[ -f $file && $file == *."${pair%-*}".idx ]] || continue
        known+=("$pair")
        if [[ $pair == "${SRC_LANG:-${pair%-*}}-${TGT_LANG:-${pair#*-}}" ]]; then found+=("$pair"); fi
    done
    [[ ${#known[@]} -gt 0 ]] || die "$data: no translation data of the split '$split' ($split.SRC-TGT.SRC.idx)"
    [[ ${#found[@]} -gt 0 ]] ||
        die "$data: no language pair ${SRC_LANG:-any}-${TGT_LANG:-any} in '$split', which has ${known[*]}"
    [[ ${#found[@]} -eq 1 ]] || die "$data has ${found[*]}: choose with --src-lang and --tgt-lang" 2
    SRC_LANG=${found[0]%-*} TGT_LANG=${found[0]#*-}
    need_file "$data/dict.$SRC_LANG.txt"
    need_file "$data/dict.$TGT_LANG.txt"
}

# joined DATA: whether both languages have one dictionary, so that one table of embeddings serves all.
joined() { cmp -s -- "$1/dict.$SRC_LANG.txt" "$1/dict.$TGT_LANG.txt"; }

# pieces DATA: how its words were cut, as fairseq's --remove-bpe calls it.
pieces() { if [[ -f $1/sentencepiece.bpe.model ]]; then echo sentencepiece; else echo subword_nmt; fi; }

# training_options DATA: sets OPTIONS to what training and fine-tuning have in common, and MACHINE so that a batch is
# NMT_BATCH tokens on any number of GPUs: what one pass leaves is accumulated.
training_options() {
    local workers per_gpu
    gpus
    workers=$((GPUS > 1 ? GPUS : 1))
    per_gpu=$((NMT_BATCH / workers))
    per_gpu=$((per_gpu < NMT_BATCH_PER_GPU ? per_gpu : NMT_BATCH_PER_GPU))
    OPTIONS=(--source-lang "$SRC_LANG" --target-lang "$TGT_LANG"
        --criterion label_smoothed_cross_entropy --label-smoothing "$NMT_LABEL_SMOOTHING"
        --dropout "$NMT_DROPOUT" --weight-decay "$NMT_WEIGHT_DECAY"
        --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm "$NMT_CLIP"
        --required-batch-size-multiple 1 --num-workers "$NUM_WORKERS"
        --log-format simple --log-interval "$LOG_INTERVAL")
    if [[ -f $1/sentencepiece.bpe.model ]]; then OPTIONS+=(--bpe sentencepiece); fi
    MACHINE=(--max-tokens "$per_gpu" --update-freq $((NMT_BATCH / (per_gpu * workers))))
    if [[ $GPUS -gt 0 && -n $NMT_PRECISION ]]; then MACHINE+=("$NMT_PRECISION"); fi
}
