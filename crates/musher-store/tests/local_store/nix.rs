//! Stock Nix opens what we write, and we open what it writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use musher_store::local::{LocalOptions, LocalStore};
use nix_derivation::StorePath;

use crate::support::{Sample, Scratch, scratch_dir};

/// Runs a program of Nix's, and gives what it wrote to its standard output.
/// None where Nix is not installed.
pub(crate) fn nix(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command
        .args(args)
        .env("NIX_CONFIG", "experimental-features = nix-command");
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skipped(program);
            return None;
        }
        output => output.expect("a process"),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    Some(String::from_utf8(output.stdout).expect("text"))
}

/// Says that a check was not made.
#[expect(clippy::print_stderr, reason = "a skipped check has to be seen")]
pub(crate) fn skipped(program: &str) {
    eprintln!("skipped: `{program}` is not installed");
}

/// Has Nix verify the store below `root`.
pub(crate) fn verify(root: &Path) {
    let root = root.display().to_string();
    nix(
        "nix-store",
        &["--store", &root, "--verify", "--check-contents"],
    );
}

#[test]
fn nix_verifies_what_we_wrote() {
    let scratch = Scratch::new();
    let lib = Sample::tree("lib", 20);
    let app = Sample::file("app", "uses lib", &[&lib.info.path]);
    scratch.import(&lib);
    scratch.import(&app);
    verify(scratch.root());
    let root = scratch.root().display().to_string();
    let path = scratch.store.store_dir().render_path(&app.info.path);
    let Some(references) = nix(
        "nix-store",
        &["--store", &root, "-q", "--references", &path],
    ) else {
        return;
    };
    let lib = scratch.store.store_dir().render_path(&lib.info.path);
    assert_eq!(references.trim(), lib);
}

#[test]
fn we_read_what_nix_wrote() {
    let dir = scratch_dir();
    let root = dir.path().display().to_string();
    let file = dir.path().join("text");
    std::fs::write(&file, "some text").expect("a file");
    let file = file.display().to_string();
    let Some(added) = nix("nix-store", &["--store", &root, "--add", &file]) else {
        return;
    };
    let store = LocalStore::open(LocalOptions::below(dir.path())).expect("Nix's store");
    let paths = store.all_valid_paths().expect("its paths");
    let rendered: Vec<String> = paths
        .iter()
        .map(|path| store.store_dir().render_path(path))
        .collect();
    assert_eq!(rendered, [added.trim()]);
    agrees(&store, dir.path());
}

/// Nix says the same of every path as `store` does.
pub(crate) fn agrees(store: &LocalStore, root: &Path) {
    let root = root.display().to_string();
    let Some(said) = nix("nix", &["path-info", "--json", "--all", "--store", &root]) else {
        return;
    };
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    // A list up to 2.18, then an object by path.
    let said: BTreeMap<&str, &serde_json::Value> = match said.as_array() {
        Some(infos) => infos
            .iter()
            .map(|info| (info["path"].as_str().expect("a path"), info))
            .collect(),
        None => {
            let by_path = said.as_object().expect("an object");
            by_path.iter().map(|(path, info)| (&**path, info)).collect()
        }
    };
    let store_dir = store.store_dir();
    let paths = store.all_valid_paths().expect("the paths");
    assert_eq!(said.len(), paths.len());
    let paths: Vec<StorePath> = paths.into_iter().collect();
    for info in store.path_infos(&paths).expect("infos") {
        let nix = said[&*store_dir.render_path(&info.path)];
        let ours = serde_json::json!({
            "narHash": nix_derivation::NixHash::Sha256(info.nar_hash.0).to_sri_string(),
            "narSize": info.nar_size,
            "references": info.references.iter().map(|path| store_dir.render_path(path)).collect::<Vec<_>>(),
            "deriver": info.deriver.as_ref().map(|path| store_dir.render_path(path)),
            "signatures": info.signatures,
            "ca": info.ca.as_ref().map(nix_derivation::CAHash::to_nix_string),
            "registrationTime": info.registration_time,
        });
        for (field, value) in ours.as_object().expect("an object") {
            let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            match nix.get(field) {
                Some(said) => assert_eq!(said, value, "{field} of {}", info.path),
                None => assert!(empty, "{field} of {}", info.path),
            }
        }
    }
}
