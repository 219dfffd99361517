# Puts the shim, which the function `shim` prints, into the directory `files`.

refuse() {
    printf 'refused %s\n' "$1"
    exit 0
}
umask 077
mkdir -p "$files" || refuse "cannot make \`$files\`"
new=$files/shim.$$
trap 'rm -f "$new"' EXIT
if ! shim > "$new"; then refuse "cannot write \`$new\`"; fi
mv -f "$new" "$files/shim" || refuse "cannot write \`$files/shim\`"
printf 'written\n'
