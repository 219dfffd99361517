# Gives `authorized_keys` the text that the function `keys` prints, if it still
# has the check sum `seen`; with an empty text the file goes. Whoever reads it
# sees the old file or the new.

refuse() {
    printf 'refused %s\n' "$1"
    exit 0
}
umask 077
dir=$HOME/.ssh
[ -d "$dir" ] || mkdir "$dir" || refuse "cannot make \`$dir\`"
file=$dir/authorized_keys
# Some keep it elsewhere and link to it.
if [ -L "$file" ]; then file=$(readlink -f "$file"); fi
new=$file.musher.$$
trap 'rm -f "$new"' EXIT
found='no file'
if [ -f "$file" ]; then
    found=$(cksum < "$file")
    # For its owner and mode.
    cp -p "$file" "$new" || refuse "cannot copy \`$file\`"
fi
[ "$found" = "$seen" ] || refuse changed
if ! keys > "$new"; then refuse "cannot write \`$new\`"; fi
if [ -s "$new" ]; then
    sync "$new" 2> /dev/null
    mv -f "$new" "$file" || refuse "cannot replace \`$file\`"
    # Where SELinux rules, sshd reads only what is labelled for it.
    if command -v restorecon > /dev/null 2>&1; then restorecon -R "$dir" 2> /dev/null; fi
else
    rm -f "$file" || refuse "cannot remove \`$file\`"
    rmdir "$dir" 2> /dev/null
fi
printf 'written\n'
