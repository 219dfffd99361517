# What becomes of what a build makes.
{ build, script, ... }:

let
  lib = build {
    name = "lib";
    outputs = [ "out" "dev" "doc" ];
    args = [ "-euc" ''
      mkdir $out $dev $doc
      echo $out > $dev/lib
      echo $dev $doc > $doc/both
      echo nothing > $out/nothing
    '' ];
  };
in
{
  multiple-outputs = lib;

  user-of-outputs = build {
    name = "user-of-outputs";
    inherit (lib) dev;
    args = [ "-euc" "cp -r $dev $out; ls /nix/store >> $out/lib" ];
  };

  self-reference = script "self-reference" "mkdir $out; ln -s $out/x $out/y; echo $out > $out/self";

  shapes = script "shapes" ''
    mkdir -p $out/empty $out/closed/inner $out/a/b/c
    echo x > $out/file; chmod 4 $out/file
    echo x > $out/program; chmod 711 $out/program
    echo x > $out/closed/inner/file; chmod 0 $out/closed/inner/file
    ln $out/file $out/hard
    ln -s nowhere $out/broken
    ln -s ../../.. $out/up
    ln -s /etc/passwd $out/absolute
    : > $out/nothing
    touch -d 1999-12-31 $out/old
    echo x > "$out/with space"
    echo x > "$out/grüße"
    echo x > "$out/-dash"
    head -c 1000003 /dev/zero > $out/zeros
    chmod 0 $out/closed/inner; chmod 0 $out/closed
  '';

  many-files = script "many-files" ''
    mkdir $out; for n in $(seq 500); do echo $n > $out/$n; done
  '';

  link-output = script "link-output" "ln -s /nowhere $out";

  program-output = script "program-output" "echo x > $out; chmod 755 $out";

  hidden-reference = build {
    name = "hidden-reference";
    inherit lib;
    args = [ "-euc" ''
      mkdir $out
      printf 'x%s' $lib | tail -c +14 | head -c 33 > $out/hash-part
      printf '%s' $lib | gzip -9 > $out/compressed
      ln -s $lib $out/link
    '' ];
  };

  reference-across-blocks = build {
    name = "reference-across-blocks";
    inherit lib;
    args = [ "-euc" "{ head -c 65520 /dev/zero; echo $lib; head -c 32761 /dev/zero; echo $out; } > $out" ];
  };

  leftovers = script "leftovers" ''
    echo x > $out; (sleep 100 & ) ; mkdir closed; touch closed/x; chmod 0 closed
    echo x > /nix/store/00000000000000000000000000000000-stray
  '';

  source-input = script "source-input" ''
    cp -r ${./cases.nix} $out; cat ${builtins.toFile "text" "text of ours"} >> $out || true
  '';
}
