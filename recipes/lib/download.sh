# shellcheck shell=bash
# Files from the package index, whole and checked or not at all; source common.sh first.

# fetch DIR FILE SHA256 PIP-ARGUMENT...: FILE in DIR, from the package index, with that checksum or not at all.
fetch() {
    local dir=$1 file=$2 sum=$3 partial=$1/.partial-$2 log
    shift 3
    if [[ -f $dir/$file ]] && [[ $(sha256 "$dir/$file") == "$sum" ]]; then
        say "[have] $dir/$file"
        return
    fi
    rm -rf -- "$partial"
    mkdir -p -- "$partial"
    log=$(mktemp)
    say "+ $(quoted "$PYTHON" -m pip download --no-deps --dest "$dir" "$@")"
    if ! "$PYTHON" -m pip --disable-pip-version-check download --quiet --no-deps --dest "$partial" "$@" >"$log" 2>&1; then
        local why
        why=$(grep '^ERROR' "$log" | tail -n 1 || true)
        rm -rf -- "$partial" "$log"
        die "could not download $file; is the network (or the package index) there? ${why#ERROR: }"
    fi
    rm -f -- "$log"
    if [[ ! -f $partial/$file ]] || [[ $(sha256 "$partial/$file") != "$sum" ]]; then
        rm -rf -- "$partial"
        die "$file: the checksum of the download is not $sum; nothing was kept"
    fi
    mv -- "$partial/$file" "$dir/$file"
    rm -rf -- "$partial"
}
