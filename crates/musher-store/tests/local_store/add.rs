//! Paths named by their contents get the names that Nix gives them.

use std::collections::BTreeSet;
use std::fs;

use musher_store::local::{Dump, NewPath};
use nix_derivation::{ContentAddressMethod, HashAlgorithm};

use crate::nix::{agrees, nix, verify};
use crate::support::{Scratch, scratch_dir};

#[test]
fn texts_and_trees_are_named_as_by_nix() {
    let scratch = Scratch::new();
    let nothing = BTreeSet::new();
    let dir = scratch_dir();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("deep")).expect("a directory");
    fs::write(tree.join("deep/file"), "text").expect("a file");
    let roots = scratch.store.temp_roots().expect("roots");
    let new = NewPath::tree("tree", &nothing);
    let ours = scratch.store.add_tree(&new, &tree, &roots).expect("a path");
    let ours = scratch.store.store_dir().render_path(&ours.path);
    let flat = NewPath {
        method: ContentAddressMethod::Flat,
        ..NewPath::tree("file", &nothing)
    };
    let file = tree.join("deep/file");
    let ours_flat = scratch
        .store
        .add_tree(&flat, &file, &roots)
        .expect("a path");
    let ours_flat = scratch.store.store_dir().render_path(&ours_flat.path);
    verify(scratch.root());

    let other = scratch_dir();
    let other = other.path().display().to_string();
    let (tree, file) = (tree.display().to_string(), file.display().to_string());
    let args = ["--store", &*other];
    let Some(nixs) = nix("nix-store", &[&args[..], &["--add", &tree]].concat()) else {
        return;
    };
    assert_eq!(ours, nixs.trim());
    let flat = ["--add-fixed", "sha256", &file];
    let nixs = nix("nix-store", &[&args[..], &flat].concat()).expect("Nix");
    assert_eq!(ours_flat, nixs.trim());
    agrees(&scratch.store, scratch.root());
}

#[test]
fn what_is_added_is_kept_and_added_once() {
    let scratch = Scratch::new();
    let nothing = BTreeSet::new();
    let roots = scratch.store.temp_roots().expect("roots");
    let add = || {
        scratch
            .store
            .add_text("text", b"some text", &nothing, &roots)
    };
    let first = add().expect("a path");
    assert_eq!(first.path, add().expect("a path").path);
    scratch.collect_all();
    assert!(scratch.store.is_valid(&first.path).expect("an answer"));

    let sha1 = NewPath {
        algorithm: HashAlgorithm::Sha1,
        ..NewPath::tree("text", &nothing)
    };
    let mut nar = Vec::new();
    scratch
        .store
        .write_nar(&first.path, &mut nar)
        .expect("a NAR");
    let added = scratch
        .store
        .add_ca(&sha1, Dump::Nar, &mut &nar[..], &roots);
    let added = added.expect("a path");
    assert_eq!(added.nar_hash, first.nar_hash);
    verify(scratch.root());
}

#[test]
fn derivations_know_their_outputs() {
    let scratch = Scratch::new();
    let drv = nix_derivation::DerivationBuilder::new("thing", "x86_64-linux", "/bin/sh")
        .input_addressed_output("out")
        .input_addressed_output("dev")
        .build()
        .expect("a derivation");
    let roots = scratch.store.temp_roots().expect("roots");
    let text = drv.to_aterm_bytes();
    let info = scratch
        .store
        .add_text("thing.drv", &text, &BTreeSet::new(), &roots);
    let info = info.expect("a path");
    assert_eq!(info.path, drv.drv_path());
    let outputs = scratch
        .store
        .derivation_outputs(&info.path)
        .expect("outputs");
    let expected = drv.resolved_outputs();
    for (name, output) in &expected {
        assert_eq!(outputs.get(name), output.path.as_ref(), "{name}");
    }
    assert_eq!(outputs.len(), expected.len());
    let derivers = scratch
        .store
        .valid_derivers(&outputs["dev"])
        .expect("derivers");
    assert_eq!(derivers, BTreeSet::from([info.path]));
}
