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

  long = build "long" "echo started; sleep 600; echo done > $out";

  # What it needs takes a while to send.
  laden = build "laden" "echo ${source} > $out";
}
