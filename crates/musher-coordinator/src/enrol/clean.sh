# Removes what Musher put here: the directory that the variable `state` names,
# if it is set, and what is ours in the directory `files`. With `back` only the
# `program` goes from there, if it is set, and the shim and the word on what was
# installed last are again as the functions `was_…` print them, if they were there.
# The workers that run the programs `whose` end. What else somebody keeps stays.

refuse() {
    printf 'refused %s\n' "$1"
    exit 0
}
umask 077
# Stores are read-only; a directory must be writable for what is in it to go.
clear() {
    [ -d "$1" ] || return 0
    chmod -R u+rwX "$1" 2> /dev/null
    rm -rf "$1" 2> /dev/null
    [ ! -e "$1" ] || refuse "cannot remove \`$1\`"
}
clear_and_say() {
    [ -d "$1" ] || return 0
    clear "$1"
    printf 'removed %s\n' "$1"
}
# The shim, the programs by their hashes, and what an interrupted session left.
clear_files() {
    [ -d "$files" ] || return 0
    for program in "$files"/*; do
        name=${program##*/}
        case $name in
            *[!0-9a-f]*) continue ;;
        esac
        [ ${#name} -ne 64 ] || clear "$program"
    done
    for new in "$files"/new.*; do
        clear "$new"
    done
    rm -f "$files/current" "$files/shim" "$files"/shim.*
    if rmdir "$files" 2> /dev/null; then
        printf 'removed %s\n' "$files"
    else
        printf 'left %s\n' "$files"
    fi
}
# A file as it was before, or none.
put_back() {
    file=$files/$1
    if [ -z "$2" ]; then
        rm -f "$file"
    elif [ ! -f "$file" ] || [ "$("was_$1" | cksum)" != "$(cksum < "$file")" ]; then
        new=$file.$$
        if ! "was_$1" > "$new"; then refuse "cannot write \`$new\`"; fi
        mv -f "$new" "$file" || refuse "cannot write \`$file\`"
        printf 'restored %s\n' "$file"
    fi
}
# Whether a Nix has come to use the store since.
nix_moved_in() {
    [ -e "$nix/var/nix/daemon-socket" ] && return 0
    for profile in "$nix"/var/nix/profiles/*; do
        case $profile in
            */per-user | */\*) ;;
            *) return 0 ;;
        esac
    done
    return 1
}
# The processes that run a program of ours.
workers() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe" 2> /dev/null) in
            "$files"/$whose/musher | "$files"/$whose/musher\ *) printf '%s\n' "${process#/proc/}" ;;
        esac
    done
}
# They hold the store: they are asked to end, and then made to.
end_workers() {
    [ -n "$whose" ] || return 0
    found=$(workers)
    [ -n "$found" ] || return 0
    kill $found 2> /dev/null
    for look in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
        found=$(workers)
        [ -n "$found" ] || return 0
        sleep 0.5 2> /dev/null || sleep 1
    done
    kill -KILL $found 2> /dev/null
}
case $files in
    /*/*) ;;
    *) refuse "\`$files\` is no directory of ours" ;;
esac
# Without it nobody starts another worker meanwhile.
[ -n "$back" ] || rm -f "$files/shim"
end_workers
if [ -n "$state" ]; then
    clear_and_say "$state"
    # The store of a worker without a sandbox, which says that it is one's.
    if [ -n "$nix" ] && [ -e "$nix/var/nix/musher/store-id" ] && ! nix_moved_in; then
        clear_and_say "$nix/store"
        clear_and_say "$nix/var/nix"
        rmdir "$nix/var" "$nix" 2> /dev/null
    fi
    # Ours too, unless somebody keeps something else there.
    case ${state%/*} in
        */musher) rmdir "${state%/*}" 2> /dev/null ;;
    esac
fi
if [ -n "$back" ]; then
    [ -z "$program" ] || clear_and_say "$files/$program"
    put_back current "$had_current"
    put_back shim "$had_shim"
else
    clear_files
fi
printf 'done\n'
