# What is measured. Trivial derivations, so that what is seen is the cost of
# getting them to builders and back; `nonce` makes them new each time.
{ nonce, system }:

let
  build = name: script: derivation {
    inherit name system nonce;
    builder = "/bin/sh";
    PATH = "/usr/bin:/bin";
    args = [ "-euc" script ];
  };

  independent = count: script:
    builtins.genList (number: build "independent-${toString number}" script) count;

  link = before: number: build "link-${toString number}" "echo ${before} > $out";
in
{
  # 100 derivations that need nothing of each other.
  many = independent 100 "echo $name > $out";

  # 30 derivations, each needing the one before.
  chain = builtins.foldl' link "" (builtins.genList (number: number) 30);

  # 200 derivations that are ready at once and take a while.
  ready = independent 200 "sleep 0.5; echo $name > $out";

  # One derivation, to have every way warm before it is measured.
  warm = independent 16 "sleep 0.2; echo $name > $out";

  # 4 GiB that no compression makes smaller.
  big = build "big" "head -c 4294967296 /dev/urandom > $out";
}
