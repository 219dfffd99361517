# What is built by stock Nix and by Musher's executor, to be compared. A case
# called `facts-…` says in its log what it found, a line `name: value` each, and
# is compared name by name; of the others the whole log is.
{ system ? builtins.currentSystem }:

let
  build = attributes: derivation ({
    inherit system;
    builder = "/bin/sh";
    PATH = "/usr/bin:/bin";
  } // attributes);

  script = name: text: build {
    inherit name;
    args = [ "-euc" text ];
  };

  floating = attributes: build ({
    __contentAddressed = true;
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
  } // attributes);

  tools = { inherit build script floating system; };
in
import ./environment.nix tools
// import ./facts.nix tools
// import ./attributes.nix tools
// import ./outputs.nix tools
// import ./content.nix tools
// import ./checks.nix tools
// import ./builtins.nix tools
// import ./failures.nix tools
