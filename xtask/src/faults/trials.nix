# What is built while things go wrong; `nonce` makes it new each time.
{ nonce, system, source ? null }:

let
  inherit (builtins) concatMap foldl' genList toString;

  build = name: script: derivation {
    inherit name system nonce;
    builder = "/bin/sh";
    PATH = "/usr/bin:/bin";
    args = [ "-euc" script ];
  };

  chain = name: script:
    foldl' (before: number: build "${name}-${toString number}" (script before)) "/dev/null"
      (genList (number: number) 6);

  numbered = count: make: genList (number: make (toString number)) count;
in
{
  # Enough to keep four builders of two slots busy for some seconds.
  steady = numbered 48 (number: build "steady-${number}" "sleep 0.5; echo ${number} > $out");

  # As many that fail as that succeed, side by side.
  mixed = concatMap (pair: pair) (numbered 100 (number: [
    (build "good-${number}" "echo ${number} > $out")
    (build "bad-${number}" "echo 'told by bad-${number}'; exit 1")
  ]));

  # Each needs the one before and the first, so that inputs are always at stake.
  needy =
    let
      first = build "first" "echo first > $out";
      next = before: number:
        build "needy-${number}" "sleep 0.2; cat ${before} ${first} > $out";
    in
    foldl' next first (numbered 20 (number: number));

  # Each needs the one before, and is of a package of its own.
  chain = chain "link" (before: "sleep 0.2; cat ${before} > $out");

  # The fourth fails.
  broken = chain "broken" (before:
    "sleep 0.2; echo told by $name; case $name in *-3) exit 1;; esac; cat ${before} > $out");

  # The third takes too long.
  endless = chain "endless" (before:
    "sleep 0.2; case $name in *-2) sleep 600;; esac; cat ${before} > $out");

  # `fetched` can be had from elsewhere, and `needed` cannot.
  forked = rec {
    base = build "base" "echo base > $out";
    fetched = build "fetched" ": ${base}; sleep 0.1; echo fetched > $out";
    needed = build "needed" "sleep 0.1; cat ${base} > $out";
  };

  long = build "long" "echo started; sleep 600; echo done > $out";

  # What it needs takes a while to send.
  laden = build "laden" "echo ${source} > $out";
}
