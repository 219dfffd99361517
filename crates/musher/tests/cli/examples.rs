//! The examples are made here, from the files beside them; run this test with
//! `UPDATE_EXPECT=1` after a change of those.

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use nix_archive::nar::{CaseHack, hash_path};
use nix_derivation::{
    CAHash, Derivation, DerivationBuilder, InputDerivation, InputDerivationHash, NixHash, StoreDir,
    StorePath, json,
};
use serde_json::{Map, Value, json};

/// What an instrument practises: a second or so in all.
const EFFORT: &str = "100000";

/// The players, each with those it needs.
const PLAYERS: &[(&str, &[&str])] = &[
    ("violin", &[]),
    ("viola", &[]),
    ("cello", &[]),
    ("flute", &[]),
    ("oboe", &[]),
    ("strings", &["violin", "viola", "cello"]),
    ("woodwinds", &["flute", "oboe"]),
    ("concert", &["strings", "woodwinds"]),
];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// The store path that a file beside the examples has as a source.
fn source(store_dir: &StoreDir, file: &str) -> StorePath {
    let hash = hash_path(&examples().join(file), CaseHack::native()).expect("a file");
    let ca = CAHash::Nar(NixHash::Sha256(hash.sha256));
    let name = file.rsplit('/').next().expect("a name");
    let path = store_dir.build_ca_path(name, &ca, [], false);
    path.expect("a store path")
}

/// A derivation, what it is as an input, and the path of its output.
struct Player {
    name: &'static str,
    derivation: Derivation,
    hash: InputDerivationHash,
    out: StorePath,
}

fn orchestra(system: &str) -> String {
    let store_dir = StoreDir::default();
    let script = source(&store_dir, "orchestra/play.sh");
    let score = source(&store_dir, "orchestra/score.txt");
    let mut players: Vec<Player> = Vec::new();
    for (name, needs) in PLAYERS {
        let needed: Vec<&Player> = (players.iter())
            .filter(|player| needs.contains(&player.name))
            .collect();
        let parts: Vec<String> = match needed.is_empty() {
            true => vec![store_dir.render_path(&score)],
            false => (needed.iter())
                .map(|player| store_dir.render_path(&player.out))
                .collect(),
        };
        let mut builder = DerivationBuilder::new(*name, system, "/bin/sh")
            .input_addressed_output("out")
            .argument(store_dir.render_path(&script))
            .input_source(script.clone())
            .environment("name", *name)
            .environment("effort", EFFORT)
            .environment("parts", parts.join(" "));
        if needed.is_empty() {
            builder = builder.input_source(score.clone());
        }
        let mut hashes = Vec::new();
        for player in &needed {
            let path = player.derivation.drv_path().expect("a path");
            hashes.push((path.clone(), player.hash));
            builder = builder.input_derivation(path, InputDerivation::new(["out"]));
        }
        let hash = |path: &StorePath| {
            let known = hashes.iter().find(|(known, _)| known == path);
            known.expect("an input").1
        };
        let built = builder.build_with_input_hashes(hash);
        let derivation = built.expect("a derivation").into_derivation();
        let own = derivation.hash_input_derivation_modulo(hash);
        let outputs = derivation.resolved_outputs().expect("outputs");
        players.push(Player {
            name,
            hash: own.expect("a hash"),
            out: outputs["out"].path.clone().expect("a path"),
            derivation,
        });
    }
    let derivations: Map<String, Value> = (players.iter())
        .map(|player| {
            let path = player.derivation.drv_path().expect("a path");
            let value = json::to_value(&player.derivation).expect("JSON");
            (path.to_basename(), value)
        })
        .collect();
    let document = json!({
        "version": 4,
        "derivations": derivations,
        "sources": {
            script.to_basename(): "orchestra/play.sh",
            score.to_basename(): "orchestra/score.txt",
        },
    });
    let text = serde_json::to_string_pretty(&document).expect("JSON");
    text + "\n"
}

#[test]
fn the_orchestra_is_as_its_files_are() {
    expect_file!["../../../../examples/orchestra.json"].assert_eq(&orchestra("x86_64-linux"));
    expect_file!["../../../../examples/orchestra-aarch64.json"]
        .assert_eq(&orchestra("aarch64-linux"));
}
