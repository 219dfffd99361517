# What derivations say their outputs may be.
{ build, script, ... }:

let
  input = script "checked-input" "echo input > $out";
  through = build {
    name = "checked-through";
    inherit input;
    args = [ "-euc" "echo $input > $out" ];
  };
  check = name: attributes: build ({
    inherit name input through;
    args = [ "-euc" "echo $through > $out" ];
  } // attributes);
  structured = name: attributes: build ({
    inherit name;
    __structuredAttrs = true;
    args = [ "-euc" ''
      PATH=/usr/bin:/bin
      out=$(sed -n "s/.*\"outputs\":{[^}]*\"out\":\"\([^\"]*\)\".*/\1/p" $NIX_ATTRS_JSON_FILE)
      echo ${through} > $out
    '' ];
  } // attributes);
in
{
  allowed-references = check "allowed-references" { allowedReferences = [ through ]; };
  allowed-references-not = check "allowed-references-not" { allowedReferences = [ "out" input ]; };
  allowed-requisites = check "allowed-requisites" { allowedRequisites = [ through input ]; };
  allowed-requisites-not = check "allowed-requisites-not" { allowedRequisites = [ through ]; };
  disallowed-references = check "disallowed-references" { disallowedReferences = [ input ]; };
  disallowed-references-not = check "disallowed-references-not" {
    disallowedReferences = [ through ];
  };
  disallowed-requisites-not = check "disallowed-requisites-not" {
    disallowedRequisites = [ input ];
  };
  max-size-not = structured "max-size-not" { outputChecks.out.maxSize = 10; };
  max-closure-size-not = structured "max-closure-size-not" {
    outputChecks.out.maxClosureSize = 400;
  };
  output-checks = structured "output-checks" {
    outputChecks.out = {
      maxSize = 1000;
      maxClosureSize = 10000;
      allowedReferences = [ through ];
    };
  };
  output-checks-not = structured "output-checks-not" {
    outputChecks.out.disallowedReferences = [ through ];
  };
  discarded-references = structured "discarded-references" {
    unsafeDiscardReferences.out = true;
  };
}
