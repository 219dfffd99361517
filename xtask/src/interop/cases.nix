# What the interop matrix builds. Each good case ends in a derivation whose
# output holds a file `result` with the words of `said`, and whose log has them.
{ nonce, system }:

let
  build = attributes: derivation ({
    inherit system nonce;
    builder = "/bin/sh";
    PATH = "/usr/bin:/bin";
  } // attributes);

  said = case: "built ${case} ${nonce}";

  # Checks something of the derivations before it, then says that all is well.
  conclude = case: check: build {
    name = "${case}-concluded";
    args = [ "-euc" ''
      fail() { echo "check failed: $1"; exit 1; }
      ${check}
      mkdir $out
      echo '${said case}' | tee $out/result
    '' ];
  };

  text = name: content: build {
    inherit name;
    args = [ "-euc" "echo '${content}' > $out" ];
  };

  floating = {
    __contentAddressed = true;
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
  };
in
{
  input-addressed =
    let
      first = text "first" "one ${nonce}";
      second = build {
        name = "second";
        args = [ "-euc" "mkdir $out; cat ${first} > $out/text; ln -s ${first} $out/first" ];
      };
    in
    conclude "input-addressed" ''
      grep -qx 'one ${nonce}' ${second}/text || fail content
      grep -qx 'one ${nonce}' ${second}/first || fail reference
    '';

  fixed-output =
    let
      content = "fixed ${nonce}\n";
      flat = build {
        name = "flat";
        args = [ "-euc" "echo 'fixed ${nonce}' > $out" ];
        outputHashMode = "flat";
        outputHashAlgo = "sha256";
        outputHash = builtins.hashString "sha256" content;
      };
    in
    conclude "fixed-output" "grep -qx 'fixed ${nonce}' ${flat} || fail content";

  # References between outputs along and against the order of their names.
  multiple-outputs =
    let
      forward = build {
        name = "forward";
        outputs = [ "out" "dev" "lib" ];
        args = [ "-euc" ''
          mkdir $out $dev $lib
          echo 'lib ${nonce}' > $lib/text
          ln -s $lib $dev/lib
          ln -s $dev $out/dev
        '' ];
      };
      backward = build {
        name = "backward";
        outputs = [ "a" "b" ];
        args = [ "-euc" ''
          mkdir $a $b
          echo 'a ${nonce}' > $a/text
          ln -s $a $b/a
        '' ];
      };
    in
    conclude "multiple-outputs" ''
      grep -qx 'lib ${nonce}' ${forward.out}/dev/lib/text || fail forward
      grep -qx 'lib ${nonce}' ${forward.lib}/text || fail lib
      grep -qx 'a ${nonce}' ${backward.b}/a/text || fail backward
    '';

  structured-attributes =
    let
      structured = build {
        name = "structured";
        builder = "/bin/bash";
        __structuredAttrs = true;
        words = [ "one" "two three" nonce ];
        nested.flag = true;
        args = [ "-euc" ''
          # Not by NIX_ATTRS_SH_FILE: 2.8 names a place outside its sandbox there.
          . ./.attrs.sh
          printf '%s\n' "''${words[@]}" > "''${outputs[out]}"
        '' ];
      };
    in
    conclude "structured-attributes" ''
      test "$(cat ${structured})" = "$(printf 'one\ntwo three\n${nonce}')" || fail words
    '';

  floating =
    let
      first = build ({
        name = "floating-first";
        args = [ "-euc" "echo 'floating ${nonce}' > $out" ];
      } // floating);
      second = build ({
        name = "floating-second";
        outputs = [ "out" "extra" ];
        args = [ "-euc" "mkdir $out; cat ${first} > $out/text; ln -s ${first} $extra" ];
      } // floating);
    in
    conclude "floating" ''
      grep -qx 'floating ${nonce}' ${second}/text || fail content
      grep -qx 'floating ${nonce}' ${second.extra} || fail extra
    '';

  # By root, whose Nix opens the store itself, and by the newer command.
  rooted = conclude "rooted" "";
  attributed = conclude "attributed" "";

  failing = build {
    name = "failing";
    args = [ "-uc" ''
      echo 'first line of ${nonce}'
      echo 'last line of ${nonce}' >&2
      exit 3
    '' ];
  };
}
