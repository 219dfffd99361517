# Removes what Musher put here: the directory that the variable `state` names,
# if it is set, and what is ours in the directory `files`, or only the program of
# `hash`, if it is set. What else somebody keeps there stays.

refuse() {
    printf 'refused %s\n' "$1"
    exit 0
}
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
# The processes that run a program of ours.
workers() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe" 2> /dev/null) in
            "$files"/*/musher | "$files"/*/musher\ *) printf '%s\n' "${process#/proc/}" ;;
        esac
    done
}
# They hold the store: they are asked to end, and then made to.
end_workers() {
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
[ -n "$hash" ] || rm -f "$files/shim"
if [ -n "$state" ]; then
    end_workers
    clear_and_say "$state"
    # Ours too, unless somebody keeps something else there.
    case ${state%/*} in
        */musher) rmdir "${state%/*}" 2> /dev/null ;;
    esac
fi
if [ -n "$hash" ]; then
    clear_and_say "$files/$hash"
    rm -f "$files/current"
else
    clear_files
fi
printf 'done\n'
