# What the clients of the store entrance build.
{ nonce, system }:

let
  build = attributes: derivation ({
    inherit system nonce;
    builder = "/bin/sh";
    PATH = "/usr/bin:/bin";
  } // attributes);

  step = name: before: build {
    inherit name;
    args = [ "-euc" ''
      echo "log of ${name} ${nonce}"
      echo "${name}" > $out
      for path in ${toString before}; do cat $path >> $out; done
    '' ];
  };
in
rec {
  bottom = step "bottom" [ ];
  middle = step "middle" [ bottom ];
  # Refers to nothing: all below it is needed for the build alone.
  top = step "top" [ middle ];

  # One that keeps what it was made from.
  keeper = build {
    name = "keeper";
    args = [ "-euc" "mkdir $out; ln -s ${middle} $out/middle" ];
  };

  failing = build {
    name = "failing";
    args = [ "-euc" "echo 'first line of ${nonce}'; exit 3" ];
  };
  behind = step "behind" [ failing ];

  random = build {
    name = "random";
    args = [ "-euc" "cat /proc/sys/kernel/random/uuid > $out" ];
  };

  floating = build {
    name = "floating";
    args = [ "-euc" "echo floating > $out" ];
    __contentAddressed = true;
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
  };

  # Is known only once something else was built.
  imported = step "imported-${builtins.replaceStrings [ "\n" ] [ "" ] (builtins.readFile (step "name" [ ]))}" [ ];

  dropped = step "dropped" [ ];
}
