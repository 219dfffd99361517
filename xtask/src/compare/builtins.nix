# Build programs that Nix has built in.
{ build, script, ... }:

let
  builtin = name: attributes: derivation ({
    inherit name;
    system = "builtin";
    builder = "builtin:${name}";
  } // attributes);
  file = builtins.toFile "file" "fetched\n";
  sha256 = builtins.hashString "sha256" "fetched\n";
  archive = script "archive" ''
    mkdir channel; echo x > channel/file; ln -s file channel/link
    mkdir channel/bin; echo '#!/bin/sh' > channel/bin/run; chmod 755 channel/bin/run
    tar --sort=name --mtime=@1 --owner=0 --group=0 -cJf $out channel
  '';
  tree = name: text: script "tree-${name}" "mkdir $out; cd $out; ${text}";
  one = tree "one" "mkdir -p bin share/doc; echo 1 > bin/one; echo 1 > share/doc/one; echo 1 > both";
  two = tree "two" "mkdir -p bin; echo 2 > bin/two; echo 2 > both; ln -s bin alias";
  far = build {
    name = "tree-far";
    inherit two;
    args = [ "-euc" "mkdir -p $out/nix-support $out/bin; echo 3 > $out/bin/three; echo $two > $out/nix-support/propagated-user-env-packages" ];
  };
  env = name: derivations: builtin "buildenv" {
    inherit name;
    manifest = "${builtins.toFile "manifest" "manifest"}";
    derivations = builtins.concatLists derivations;
  };
in
{
  builtin-fetchurl = builtin "fetchurl" {
    url = "file://${file}";
    outputHash = sha256;
    outputHashAlgo = "sha256";
    outputHashMode = "flat";
  };
  builtin-fetchurl-mismatch = builtin "fetchurl" {
    name = "fetchurl-mismatch";
    url = "file://${file}";
    outputHash = builtins.hashString "sha256" "other";
    outputHashAlgo = "sha256";
    outputHashMode = "flat";
  };
  builtin-fetchurl-executable = builtin "fetchurl" {
    name = "fetchurl-executable";
    url = "file://${file}";
    executable = true;
    outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    outputHashMode = "recursive";
  };
  builtin-fetchurl-missing = builtin "fetchurl" {
    name = "fetchurl-missing";
    url = "file:///no/such/file";
    outputHash = sha256;
    outputHashAlgo = "sha256";
    outputHashMode = "flat";
  };
  builtin-unpack-channel = builtin "unpack-channel" {
    channelName = "channel";
    src = archive;
  };
  builtin-buildenv = env "buildenv" [ [ "true" 5 1 one ] [ "true" 6 1 two ] ];
  builtin-buildenv-propagated = env "buildenv-propagated" [ [ "true" 5 1 far ] ];
  builtin-buildenv-conflict = env "buildenv-conflict" [ [ "true" 5 1 one ] [ "true" 5 1 two ] ];
  builtin-unknown = builtin "no-such-thing" { name = "unknown"; };
}
