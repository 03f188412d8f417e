# shellcheck shell=bash
# Files of Debian's and Ubuntu's packages, without installing them and without root; source common.sh first.

# unpack_package DIR NAME FOLDER ELSE: the files of package NAME into FOLDER. The package itself is kept in DIR, and
# fetched if it is not there. ELSE says, in an error, what can be done without it.
unpack_package() {
    local dir=$1 name=$2 folder=$3 else=$4 partial=$1/.partial-$2 file log why
    command -v dpkg-deb >/dev/null || die "dpkg-deb not found, which unpacks the package $name of Debian and Ubuntu; $else"
    file=$(find "$dir" -maxdepth 1 -name "${name}_*.deb" 2>/dev/null | sort -V | tail -n 1 || true)
    if [[ -n $file ]]; then
        say "[have] $file"
    else
        command -v apt-get >/dev/null || die "apt-get not found, which fetches the package $name of Debian and Ubuntu; $else"
        rm -rf -- "$partial"
        mkdir -p -- "$partial"
        log=$(mktemp)
        say "+ (cd $(quoted "$dir") && apt-get download $name)"
        # all that apt-get says goes to the log, such as its warning that root downloads as root
        if ! (cd -- "$partial" && LC_ALL=C apt-get download "$name") >"$log" 2>&1; then
            why=$(grep '^E: ' "$log" | head -n 1 || true)
            rm -rf -- "$partial" "$log"
            die "could not download the package $name (${why#E: }); is the network there, and apt-get update done? If not, $else"
        fi
        file=$(basename -- "$partial/$name"_*.deb)
        mv -- "$partial/$file" "$dir/$file"
        rm -rf -- "$partial" "$log"
        file=$dir/$file
    fi
    say "+ $(quoted dpkg-deb -x "$file" "$folder")"
    dpkg-deb -x "$file" "$folder" 2>/dev/null || die "$file is not a whole package; delete it and run this again"
}
