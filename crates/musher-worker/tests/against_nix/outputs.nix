# What builds leave behind, for `main.rs`: each attribute is one derivation.
# None needs anything but the host's shell; `inputs` is a directory. The shell
# itself is the last to go: Nix kills a program that has closed its output, as
# some do just before they end.
{ inputs }:
let
  build = attributes: derivation ({
    system = builtins.currentSystem;
    builder = "/bin/bash";
    PATH = "/usr/bin:/bin";
  } // attributes // {
    args = [ "-c" "set -e; umask 022; if [ -e .attrs.sh ]; then . ./.attrs.sh; for o in \${!outputs[@]}; do eval $o=\${outputs[$o]}; done; fi\n${attributes.script}\nexit 0" ];
  });
  named = name: attributes: build ({ inherit name; } // attributes);
  floating = { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
  source = builtins.path { path = inputs + "/package"; name = "package"; };
  other = builtins.path { path = inputs + "/other"; name = "other"; };
in
builtins.mapAttrs named {
  plain = { script = "echo hello > $out"; };
  link = { script = "ln -s ${source}/bin $out"; inherit source; };
  names = { script = "mkdir $out; touch \"$out/\"$'odd \\n \\xff'; touch $out/.hidden; mkdir $out/empty"; };
  modes = { script = "mkdir -p $out/d; echo x > $out/s; chmod 715 $out/s; chmod 1777 $out/d; touch $out/d/f; chmod 010 $out/d/f"; };
  links = { script = "mkdir $out; echo x > $out/a; ln $out/a $out/b; ln -s a $out/c"; };
  references = { script = "mkdir $out; echo ${source} > $out/used; echo ${other} | tr / - > $out/cut; echo $out > $out/self"; inherit source other; };
  outputs = {
    outputs = [ "out" "dev" "lib" ];
    script = "mkdir $out $lib; echo $lib $out > $out/a; ln -s $dev $out/dev; echo $dev > $lib/x; echo d > $dev";
  };

  floating = floating // { script = "mkdir $out; echo I am $out > $out/self; ln -s $out/self $out/link; echo ${source} > $out/used"; inherit source; };
  floatingOutputs = floating // {
    outputs = [ "out" "dev" "lib" ];
    script = "mkdir $out $lib $dev; echo $lib $out $lib > $out/a; ln -s $dev $out/\${dev##*/}; echo $dev > $lib/x; echo $dev > $dev/y";
  };
  # The name during the build, where it is not rewritten.
  floatingName = floating // { script = "echo $out | tr a-z A-Z > $out"; };
  floatingSha1 = floating // { outputHashAlgo = "sha1"; script = "mkdir $out; echo x > $out/x"; };
  floatingSha512 = floating // { outputHashAlgo = "sha512"; script = "echo x > $out"; };
  floatingMd5 = floating // { outputHashAlgo = "md5"; outputHashMode = "flat"; script = "echo x > $out"; };
  floatingFlat = floating // { outputHashMode = "flat"; script = "echo x > $out"; };
  floatingFlatRefers = floating // { outputHashMode = "flat"; script = "echo ${source} > $out"; inherit source; };
  floatingFlatProgram = floating // { outputHashMode = "flat"; script = "echo x > $out; chmod +x $out"; };

  fixedFlat = { outputHash = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"; outputHashAlgo = "sha256"; script = "echo hello > $out"; };
  fixedNar = { outputHash = "sha256-tx91iB7oSgy7aXtyNqq/NFPZpp+CJs6h1GDIYfDgF18="; outputHashMode = "recursive"; script = "echo hello > $out"; };
  fixedWrong = { outputHash = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"; outputHashAlgo = "sha256"; script = "echo other > $out"; };
  fixedWrongNar = { outputHash = "f572d396fae9206628714fb2ce00f72e94f2258f"; outputHashMode = "recursive"; outputHashAlgo = "sha1"; script = "mkdir $out; echo other > $out/x"; };
  fixedProgram = { outputHash = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"; outputHashAlgo = "sha256"; script = "echo hello > $out; chmod +x $out"; };
  fixedRefers = { outputHash = "f572d396fae9206628714fb2ce00f72e94f2258f"; outputHashMode = "recursive"; outputHashAlgo = "sha1"; script = "echo ${source} > $out"; inherit source; };

  missing = { script = "true"; };
  writable = { script = "echo x > $out; chmod 666 $out"; };
  pipe = { script = "mkdir $out; mkfifo $out/pipe"; };
  circle = { outputs = [ "a" "b" ]; script = "echo $b > $a; echo $a > $b"; };
  allowed = { allowedReferences = [ source "out" ]; script = "echo $out ${source} > $out"; };
  notAllowed = { allowedReferences = [ ]; script = "echo ${source} > $out"; inherit source; };
  disallowed = { disallowedReferences = [ source ]; script = "echo ${source} > $out"; };
  requisites = { allowedRequisites = [ other ]; script = "echo $out ${other} > $out"; };
  notRequisites = { disallowedRequisites = [ other ]; script = "echo ${other} > $out"; };
  structured = {
    __structuredAttrs = true;
    outputs = [ "out" "lib" ];
    outputChecks = { lib.allowedReferences = [ ]; out.disallowedReferences = [ "out" ]; out.maxSize = 1000; };
    script = "echo $lib > $out; echo x > $lib";
  };
  structuredTooLarge = {
    __structuredAttrs = true;
    outputChecks.out.maxSize = 100;
    script = "echo x > $out";
  };
  structuredClosureTooLarge = {
    __structuredAttrs = true;
    outputChecks.out.maxClosureSize = 500;
    inherit source;
    script = "echo ${source} > $out";
  };
} // builtins.mapAttrs (name: attributes: derivation ({
  inherit name;
  system = "builtin";
} // attributes)) {
  fetchFlat = { builder = "builtin:fetchurl"; url = "file://${toString inputs}/file"; outputHash = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"; outputHashAlgo = "sha256"; outputHashMode = "flat"; };
  fetchProgram = { builder = "builtin:fetchurl"; url = "file://${toString inputs}/file"; executable = true; outputHash = "sha256-tx91iB7oSgy7aXtyNqq/NFPZpp+CJs6h1GDIYfDgF18="; outputHashMode = "recursive"; };
  fetchNar = { builder = "builtin:fetchurl"; url = "file://${toString inputs}/package.nar"; unpack = true; outputHash = "f572d396fae9206628714fb2ce00f72e94f2258f"; outputHashMode = "recursive"; outputHashAlgo = "sha1"; };
  fetchNarXz = { builder = "builtin:fetchurl"; url = "file://${toString inputs}/package.nar.xz"; unpack = true; outputHash = "f572d396fae9206628714fb2ce00f72e94f2258f"; outputHashMode = "recursive"; outputHashAlgo = "sha1"; };
  fetchMissing = { builder = "builtin:fetchurl"; url = "file://${toString inputs}/nothing"; outputHashMode = "flat"; outputHash = "f572d396fae9206628714fb2ce00f72e94f2258f"; outputHashAlgo = "sha1"; };
  channelGz = { builder = "builtin:unpack-channel"; channelName = "named"; src = builtins.path { path = inputs + "/channel.tar.gz"; name = "channel.tar.gz"; }; };
  channelXz = { builder = "builtin:unpack-channel"; channelName = "named"; src = builtins.path { path = inputs + "/channel.tar.xz"; name = "channel.tar.xz"; }; };
  channelBz2 = { builder = "builtin:unpack-channel"; channelName = "named"; src = builtins.path { path = inputs + "/channel.tar.bz2"; name = "channel.tar.bz2"; }; };
  channelPlain = { builder = "builtin:unpack-channel"; channelName = "named"; src = builtins.path { path = inputs + "/channel.tar"; name = "channel"; }; };
  channelCrowded = { builder = "builtin:unpack-channel"; channelName = "named"; src = builtins.path { path = inputs + "/crowded.tar"; name = "crowded"; }; };
  environment = { builder = "builtin:buildenv"; manifest = "/dummy"; derivations = [ "true" 5 1 source "true" 4 1 other "false" 1 1 "/nowhere" ]; inherit source other; };
  conflict = { builder = "builtin:buildenv"; manifest = "/dummy"; derivations = [ "true" 5 1 source "true" 5 1 other ]; inherit source other; };
}
