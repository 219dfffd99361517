# What the keys of Musher's coordinators may do on this machine, and nothing else:
# start the worker, and install a program of a given content.
# `musher machine add` wrote this; `musher machine remove` removes it.

refuse() {
    printf 'musher: %s\n' "$1" >&2
    exit "$2"
}

# Words apart by blanks; no character means anything.
set -f
IFS=' '
[ $# -gt 0 ] || set -- ${SSH_ORIGINAL_COMMAND-}
unset IFS

check_hash() {
    case $1 in
        *[!0-9a-f]*) refuse "\`$1\` is no content hash" 64 ;;
    esac
    [ ${#1} -eq 64 ] || refuse "\`$1\` is no content hash" 64
}

# The SHA-256 of a file, which is a program of ours: where the machine has no
# tool for it, that is asked itself.
sum() {
    if command -v sha256sum > /dev/null 2>&1; then sha256sum < "$1"
    elif command -v shasum > /dev/null 2>&1; then shasum -a 256 < "$1"
    elif command -v openssl > /dev/null 2>&1; then openssl dgst -r -sha256 < "$1"
    elif busybox sha256sum < /dev/null > /dev/null 2>&1; then busybox sha256sum < "$1"
    else "$1" content-hash < "$1"
    fi | cut -d ' ' -f 1
}

# With no hash, the program that was installed last.
start_worker() {
    hash=$1
    [ -n "$hash" ] || hash=$(cat "$files/current" 2> /dev/null)
    check_hash "$hash"
    program=$files/$hash/musher
    [ -x "$program" ] || refuse "$hash is not installed" 66
    touch "$files/$hash" 2> /dev/null
    # Options are words without blanks.
    exec "$program" --state "$state" --run "$state/run" worker --stdio $options
}

# The newest few stay: a worker may still run from one of them.
forget_old() {
    number=0
    for program in $(ls -t "$files" 2> /dev/null); do
        case $program in
            *[!0-9a-f]*) continue ;;
        esac
        number=$((number + 1))
        if [ ${#program} -eq 64 ] && [ $number -gt 4 ]; then
            rm -rf "${files:?}/$program"
        fi
    done
}

install_program() {
    hash=$1 size=$2 machine=$(uname -m)
    [ "${3:-$machine}" = "$machine" ] || refuse "this machine is of architecture \`$machine\`" 69
    check_hash "$hash"
    case $size in
        '' | *[!0-9]*) refuse "\`$size\` is no size" 64 ;;
    esac
    umask 077
    new=$files/new.$$
    trap 'rm -rf "$new"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir -p "$new" || refuse "cannot make \`$new\`" 74
    cat > "$new/musher" || refuse "cannot write \`$new/musher\`" 74
    found=$(wc -c < "$new/musher" | tr -d ' ')
    [ "$found" = "$size" ] || refuse "$found of $size bytes came" 65
    chmod 700 "$new/musher"
    found=$(sum "$new/musher")
    [ "$found" = "$hash" ] || refuse "what came has the hash \`$found\`, not \`$hash\`" 65
    sync "$new/musher" 2> /dev/null || sync
    printf '%s\n' "$hash" > "$new/current"
    mkdir -p "$files/$hash" &&
        mv -f "$new/musher" "$files/$hash/musher" &&
        mv -f "$new/current" "$files/current" ||
        refuse "cannot put the program into \`$files/$hash\`" 74
    touch "$files/$hash"
    forget_old
    printf 'installed %s\n' "$hash"
}

case $#:${1-} in
    1:worker | 2:worker) start_worker "${2-}" ;;
    3:install | 4:install) install_program "$2" "$3" "${4-}" ;;
    0:) refuse 'this key is for the worker alone' 64 ;;
    *) refuse "this key is for the worker alone: it knows \`worker\` and \`install\`, not \`$*\`" 64 ;;
esac
