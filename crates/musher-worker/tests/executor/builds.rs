//! What builds see, and what becomes of what they make.

use std::collections::BTreeSet;

use nix_derivation::store_path::hash_placeholder;
use nix_derivation::{
    CAHash, ContentAddressMethod, HashAlgorithm, InputDerivation, Output, StructuredAttrs,
    hash_bytes,
};

use crate::scene::{Scene, everybody, script, simple};

#[test]
fn a_build_makes_its_output_and_its_log() {
    for who in everybody() {
        let mut scene = Scene::new(who);
        let build = simple(
            "hello",
            "echo one; echo two >&2
             echo '@nix {\"action\":\"setPhase\",\"phase\":\"install\"}' >&$NIX_LOG_FD
             test -t 1 && echo terminal
             printf 'built %s\n' $name > $out",
        );
        scene.add(&build);
        let came = scene.build();
        assert_eq!(came.status, "Built", "{who:?}: {came:?}");
        assert_eq!(came.log, ["one", "two", "@phase install", "terminal"]);
        assert!(came.sandboxed);
        let out = &came.outputs["out"];
        let expected = build.resolved_outputs()["out"].path.clone();
        assert_eq!(
            Some(out.path.clone()),
            expected.map(|p| p.to_absolute_path())
        );
        assert_eq!(scene.read(&out.path), "built \n");
        assert!(out.references.is_empty());
        scene.assert_empty();

        let again = scene.build();
        assert_eq!(again.status, "AlreadyValid");
        assert_eq!(again.outputs, came.outputs);
        assert!(again.log.is_empty());

        scene.order.mode = "check".into();
        assert_eq!(scene.build().status, "Built");
    }
}

#[test]
fn outputs_refer_to_each_other_and_to_inputs() {
    for who in everybody() {
        let mut scene = Scene::new(who);
        let lib = script(
            "lib",
            "mkdir $out $dev; echo $out > $dev/lib; echo lib > $out/lib",
        )
        .input_addressed_output("out")
        .input_addressed_output("dev")
        .build()
        .expect("a derivation");
        let outputs = lib.resolved_outputs();
        let dev = outputs["dev"].path.clone().expect("a path");
        let out = outputs["out"].path.clone().expect("a path");
        let user = script(
            "user",
            "cd /nix/store; for path in *; do echo $path; done; cat $lib/lib > $out",
        )
        .environment("lib", dev.to_absolute_path())
        .input_derivation(lib.drv_path(), InputDerivation::new(["dev"]))
        .input_addressed_output("out")
        .build_with_input_hashes(|_| [0; 32])
        .expect("a derivation");
        scene.add(&lib);
        scene.add(&user);
        let came = scene.build_all();
        assert_eq!(came[0].status, "Built", "{who:?}: {came:?}");
        let references =
            |came: &crate::messages::Came, output: &str| came.outputs[output].references.clone();
        let out = out.to_absolute_path();
        assert_eq!(references(&came[0], "dev"), BTreeSet::from([out.clone()]));
        assert!(references(&came[0], "out").is_empty());
        assert_eq!(came[1].status, "Built", "{who:?}: {came:?}");
        assert_eq!(references(&came[1], "out"), BTreeSet::from([out.clone()]));
        // Nothing of the store is seen but the closure of the inputs.
        let mut seen = vec![dev.to_basename(), out.replace("/nix/store/", "")];
        seen.sort();
        assert_eq!(came[1].log, seen);
    }
}

#[test]
fn structured_attributes_and_graphs_come_as_files() {
    for who in everybody() {
        let mut scene = Scene::new(who);
        scene.order.texts = [("text".to_owned(), "hello".to_owned())].into();
        let text = nix_derivation::store_path::build_text_path("text", b"hello", []);
        let text = text.expect("a path");
        let json = format!(
            r#"{{"name":"structured","list":["a","b"],
                "exportReferencesGraph":{{"graph":["{text}"]}}}}"#
        );
        let attributes = StructuredAttrs::from_json_bytes(json).expect("attributes");
        // There is no `PATH`, and bash's `.` is not needed to read a file.
        let structured = script(
            "structured",
            "/bin/cat $NIX_ATTRS_SH_FILE
             out=$(while read -r a b o; do
                 case $a$b in declare-A) o=${o#*]=?}; echo ${o%???};; esac
             done < $NIX_ATTRS_SH_FILE)
             /bin/cat $NIX_ATTRS_JSON_FILE > $out",
        )
        .structured_attrs(attributes)
        .input_source(text.clone())
        .input_addressed_output("out")
        .build()
        .expect("a derivation");
        let plain = script("plain", "cat graph > $out; cat $largePath")
            .environment("exportReferencesGraph", format!("graph {text}"))
            .environment("passAsFile", "large")
            .environment("large", "large text")
            .input_source(text.clone())
            .input_addressed_output("out")
            .build()
            .expect("a derivation");
        scene.add(&plain);
        let came = scene.build();
        assert_eq!(came.status, "Built", "{who:?}: {came:?}");
        assert_eq!(came.log, ["large text"]);
        assert_eq!(
            scene.read(&came.outputs["out"].path),
            format!("{text}\n\n0\n")
        );

        scene.order.derivations.clear();
        scene.add(&structured);
        let came = scene.build();
        assert_eq!(came.status, "Built", "{who:?}: {came:?}");
        let out = &came.outputs["out"];
        let shell = [
            "declare -a list=('a' 'b' )".to_owned(),
            "declare name='structured'".to_owned(),
            format!("declare -A outputs=(['out']='{}' )", out.path),
        ];
        assert_eq!(came.log, shell);
        let json: serde_json::Value = serde_json::from_str(&scene.read(&out.path)).expect("JSON");
        assert_eq!(json["outputs"]["out"], out.path.as_str());
        assert_eq!(json["graph"][0]["path"], text.to_absolute_path());
        assert_eq!(
            json["exportReferencesGraph"]["graph"][0],
            text.to_absolute_path()
        );
    }
}

#[test]
fn content_addressed_outputs_find_their_paths() {
    for who in everybody() {
        let mut scene = Scene::new(who);
        scene.order.features = ["ca-derivations".to_owned()].into();
        let floating = script("floating", "mkdir $out; echo $out > $out/self")
            .environment("out", hash_placeholder("out"))
            .output(
                "out",
                Output::Floating {
                    method: ContentAddressMethod::Nar,
                    hash_algorithm: HashAlgorithm::Sha256,
                },
            )
            .build()
            .expect("a derivation");
        scene.add(&floating);
        let came = scene.build();
        assert_eq!(came.status, "Built", "{who:?}: {came:?}");
        let out = &came.outputs["out"];
        assert!(out.ca.is_some());
        assert_eq!(out.references, BTreeSet::from([out.path.clone()]));
        assert_eq!(
            scene.read(&format!("{}/self", out.path)).trim_end(),
            out.path
        );
        assert_eq!(scene.build().status, "AlreadyValid");
    }
}

#[test]
fn fixed_outputs_are_held_to_their_hash() {
    for who in everybody() {
        let mut scene = Scene::new(who);
        let fixed = |name: &str, text: &str| {
            let hash = hash_bytes(HashAlgorithm::Sha256, b"right\n");
            script(name, text)
                .environment("impureEnvVars", "IMPURE")
                .output(
                    "out",
                    Output::Fixed {
                        ca: CAHash::Flat(hash),
                    },
                )
                .build()
                .expect("a derivation")
        };
        scene.add(&fixed(
            "right",
            "echo $IMPURE $NIX_OUTPUT_CHECKED; echo right > $out",
        ));
        scene.add(&fixed("wrong", "echo wrong > $out"));
        let came = scene.build_all();
        assert_eq!(came[0].status, "Built", "{who:?}: {came:?}");
        assert_eq!(came[0].log, ["of the worker 1"]);
        assert_eq!(came[1].status, "OutputRejected");
        let hash = hash_bytes(HashAlgorithm::Sha256, b"wrong\n").to_sri_string();
        assert!(came[1].error.contains(&hash), "{}", came[1].error);
    }
}
