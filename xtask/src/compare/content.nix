# Outputs that are addressed by their content, known before or not.
{ build, script, floating, ... }:

let
  fixed = attributes: build ({
    outputHashMode = "flat";
    outputHashAlgo = "sha256";
    args = [ "-euc" "echo content > $out" ];
  } // attributes);
  sha256 = builtins.hashString "sha256" "content\n";

  input = builtins.toFile "input" "input";

  base = floating {
    name = "floating-base";
    args = [ "-euc" "mkdir $out; echo base > $out/file" ];
  };
in
{
  fixed-flat = fixed {
    name = "fixed-flat";
    outputHash = sha256;
  };
  fixed-sri = fixed {
    name = "fixed-sri";
    outputHash = builtins.convertHash {
      hash = sha256;
      hashAlgo = "sha256";
      toHashFormat = "sri";
    };
  };
  fixed-md5 = fixed {
    name = "fixed-md5";
    outputHashAlgo = "md5";
    outputHash = builtins.hashString "md5" "content\n";
  };
  fixed-sha1 = fixed {
    name = "fixed-sha1";
    outputHashAlgo = "sha1";
    outputHash = builtins.hashString "sha1" "content\n";
  };
  fixed-sha512 = fixed {
    name = "fixed-sha512";
    outputHashAlgo = "sha512";
    outputHash = builtins.hashString "sha512" "content\n";
  };
  fixed-recursive-mismatch = fixed {
    name = "fixed-recursive-mismatch";
    outputHashMode = "recursive";
    outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    args = [ "-euc" "mkdir $out; echo x > $out/x" ];
  };
  fixed-mismatch = fixed {
    name = "fixed-mismatch";
    outputHash = sha256;
    args = [ "-euc" "echo other > $out" ];
  };
  fixed-directory = fixed {
    name = "fixed-directory";
    outputHash = sha256;
    args = [ "-euc" "mkdir $out" ];
  };
  fixed-executable = fixed {
    name = "fixed-executable";
    outputHash = sha256;
    args = [ "-euc" "echo content > $out; chmod 755 $out" ];
  };
  fixed-reference = fixed {
    name = "fixed-reference";
    outputHash = builtins.hashString "sha256" "${builtins.unsafeDiscardStringContext input}\n";
    inherit input;
    args = [ "-euc" "echo $input > $out" ];
  };
  fixed-environment = fixed {
    name = "fixed-environment";
    outputHash = sha256;
    impureEnvVars = [ "COMPARED" "NOT_SET" ];
    COMPARED = "by the derivation";
    args = [ "-euc" ''
      env | sort | grep -v -e ^_ -e ^PWD
      ls /etc; cat /etc/nsswitch.conf
      echo content > $out
    '' ];
  };

  floating = base;
  floating-self-reference = floating {
    name = "floating-self-reference";
    args = [ "-euc" "mkdir $out; echo $out > $out/self; ln -s $out $out/link" ];
  };
  floating-flat = floating {
    name = "floating-flat";
    outputHashMode = "flat";
    args = [ "-euc" "echo flat > $out" ];
  };
  floating-outputs = floating {
    name = "floating-outputs";
    outputs = [ "out" "dev" ];
    inherit base;
    args = [ "-euc" "mkdir $out $dev; echo $base > $out/base; echo $out $dev > $dev/both" ];
  };
  floating-user = build {
    name = "floating-user";
    inherit base;
    args = [ "-euc" "cat $base/file > $out; echo $base >> $out; env | sort | grep -v ^_ >> $out" ];
  };
}
