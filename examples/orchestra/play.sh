# What every derivation of this example runs. A build sees nothing but this
# shell, so all that is used here is built into it: no cat, no sleep, no date.
set -eu

phase() {
  echo "@nix { \"action\": \"setPhase\", \"phase\": \"$1\" }" >&2
}

# Some work, so that there is something to see.
practise() {
  i=0
  while [ "$i" -lt "$effort" ]; do i=$((i + 1)); done
}

phase rehearsal
for bar in 1 2 3 4 5 6 7 8; do
  practise
  echo "$name: bar $bar of 8" >&2
done

phase performance
{
  echo "$name"
  for part in $parts; do
    while IFS= read -r line; do echo "  $line"; done < "$part"
  done
} > "$out"
