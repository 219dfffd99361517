# Puts the shim, which the function `shim` prints, into the directory `files`,
# and says what of ours was there before; `hash` is the program that is wanted.

refuse() {
    printf 'refused %s\n' "$1"
    exit 0
}
umask 077
[ ! -f "$files/shim" ] || printf 'had files\n'
[ ! -d "$state" ] || printf 'had state\n'
mkdir -p "$files" || refuse "cannot make \`$files\`"
new=$files/shim.$$
trap 'rm -f "$new"' EXIT
if ! shim > "$new"; then refuse "cannot write \`$new\`"; fi
if [ -f "$files/shim" ] && [ "$(cksum < "$files/shim")" = "$(cksum < "$new")" ]; then
    printf 'had shim\n'
else
    mv -f "$new" "$files/shim" || refuse "cannot write \`$files/shim\`"
fi
[ ! -x "$files/$hash/musher" ] || printf 'had program\n'
printf 'written\n'
