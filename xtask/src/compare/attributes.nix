# Attributes that Nix itself acts on before the build program starts.
{ build, script, ... }:

let
  leaf = script "leaf" "echo leaf > $out";
  twig = build {
    name = "twig";
    inherit leaf;
    args = [ "-euc" "echo $leaf > $out" ];
  };
  dump = "cat $NIX_ATTRS_JSON_FILE $NIX_ATTRS_SH_FILE; env | sort | grep -v ^_";
  # The output's path is not in the environment.
  structured = attributes: build ({
    __structuredAttrs = true;
    args = [ "-euc" ''
      PATH=/usr/bin:/bin
      ${dump}
      out=$(sed -n "s/.*\"outputs\":{[^}]*\"out\":\"\([^\"]*\)\".*/\1/p" $NIX_ATTRS_JSON_FILE)
      ${attributes.text or ""}
      cat $NIX_ATTRS_JSON_FILE $NIX_ATTRS_SH_FILE > $out
    '' ];
  } // attributes);
in
{
  pass-as-file = build {
    name = "pass-as-file";
    passAsFile = [ "large" "odd.name" "empty" "absent" ];
    large = builtins.concatStringsSep "\n" (builtins.genList toString 3000);
    "odd.name" = "odd";
    empty = "";
    args = [ "-euc" ''
      ls -A | sort > $out
      for file in .attr-*; do stat -c '%n %A %u %g %s' $file >> $out; done
      env | sort | grep Path >> $out
      cat "$largePath" >> $out
    '' ];
  };

  structured-attributes = structured {
    name = "structured-attributes";
    string = "text with 'quotes' and \"more\" \\ $x";
    lines = "one\ntwo";
    integer = 17;
    negative = -3;
    float = 1.5;
    whole = 2.0;
    tiny = 1.0e-7;
    huge = 1.0e+30;
    yes = true;
    no = false;
    nothing = null;
    list = [ "a" 1 true null ];
    nested = [ [ "x" ] ];
    set = { key = "value"; "odd key" = "x"; number = 3; };
    deep = { a.b.c = "d"; };
    "not a variable" = "x";
    unicode = "grüße";
    empty-list = [ ];
    empty_list = [ ];
    empty_set = { };
    inherit leaf;
  };

  structured-large-integers = structured {
    name = "structured-large-integers";
    small = 2147483647;
    large = 4294967299;
  };

  structured-outputs = structured {
    name = "structured-outputs";
    outputs = [ "out" "dev" "man" ];
    holder = builtins.placeholder "dev";
    text = ''
      for o in dev man; do
        p=$(sed -n "s/.*\"outputs\":{[^}]*\"$o\":\"\([^\"]*\)\".*/\1/p" $NIX_ATTRS_JSON_FILE)
        echo $o > $p
      done
    '';
  };

  structured-graph = structured {
    name = "structured-graph";
    exportReferencesGraph.graph = [ twig ];
    exportReferencesGraph.other = [ [ leaf ] leaf ];
    exportReferencesGraph.one = leaf;
  };

  graph = build {
    name = "graph";
    exportReferencesGraph = [ "one" leaf "two" twig ];
    args = [ "-euc" "stat -c '%n %A %u %g' one two > $out; cat one two >> $out" ];
  };

  graph-of-derivation = build {
    name = "graph-of-derivation";
    exportReferencesGraph = [ "graph" twig.drvPath ];
    args = [ "-euc" "cat graph > $out" ];
  };

  graph-of-stranger = build {
    name = "graph-of-stranger";
    exportReferencesGraph = [ "graph" (builtins.unsafeDiscardStringContext "${leaf}") ];
    args = [ "-euc" "cat graph > $out" ];
  };

  graph-odd = build {
    name = "graph-odd";
    exportReferencesGraph = [ "graph" ];
    args = [ "-euc" "echo > $out" ];
  };

  placeholders = build {
    name = "placeholders";
    outputs = [ "out" "dev" ];
    both = "${builtins.placeholder "out"}:${builtins.placeholder "dev"}";
    args = [ "-euc" "echo $both $0 > $out; echo $out > $dev" (builtins.placeholder "dev") ];
  };

  needs-feature = build {
    name = "needs-feature";
    requiredSystemFeatures = [ "big-parallel" ];
    args = [ "-euc" "echo > $out" ];
  };
}
