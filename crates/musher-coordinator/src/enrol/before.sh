# Says what of ours is on this machine: in the directory `files`, where `hash` is
# the program that is wanted, and as the worker's `state`. Changes nothing. What
# follows the last line of words is the shim.

if [ -d "$files" ]; then printf 'had files\n'; fi
if [ -d "$state" ]; then printf 'had state\n'; fi
if [ -x "$files/$hash/musher" ]; then printf 'had program\n'; fi
if [ -f "$files/current" ]; then printf 'current %s\n' "$(head -n 1 "$files/current")"; fi
if [ -f "$files/shim" ]; then
    printf 'shim %s\n' "$(wc -c < "$files/shim" | tr -d ' ')"
    cat "$files/shim"
else
    printf 'no shim\n'
fi
