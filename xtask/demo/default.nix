# `reckon`, a small calculator: one derivation an object file, and one that
# links them. Compiled by the gcc of the machine that builds, which its
# nix.conf lets into the sandbox.
{ system }:

let
  inherit (builtins) attrNames filter map match path readDir;

  sourcesIn = directory:
    map (name: { inherit name; file = path { path = directory + "/${name}"; inherit name; }; })
      (filter (name: match ".*\\.c" name != null) (attrNames (readDir directory)));

  sources = sourcesIn ./reckon ++ sourcesIn ./reckon/functions;

  header = path { path = ./reckon/reckon.h; name = "reckon.h"; };

  build = name: script: derivation {
    inherit name system;
    builder = "/bin/sh";
    PATH = "/usr/bin:/bin";
    args = [ "-euc" script ];
  };

  compile = source: build "${source.name}.o" ''
    echo "compiling ${source.name}"
    cp ${header} reckon.h
    gcc -std=c11 -O2 -Wall -Werror -I. -c ${source.file} -o $out
  '';
in
build "reckon" ''
  echo "linking ${toString (builtins.length sources)} object files"
  mkdir -p $out/bin
  gcc ${toString (map compile sources)} -o $out/bin/reckon
''
