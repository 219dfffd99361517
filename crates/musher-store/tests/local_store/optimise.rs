//! Equal files are shared, and nothing else changes.

use std::fs;
use std::os::unix::fs::MetadataExt;

use musher_store::local::VerifyOptions;

use crate::nix::{nix, verify};
use crate::support::{Sample, Scratch};

#[test]
fn equal_files_become_one() {
    let scratch = Scratch::new();
    let text = "the same text";
    // The name makes them two paths.
    let samples = [Sample::file("a", text, &[]), Sample::file("b", text, &[])];
    let tree = Sample::tree("tree", 4);
    for sample in samples.iter().chain([&tree]) {
        scratch.import(sample);
    }
    let report = scratch.store.optimise(&mut |_, _| {}).expect("a report");
    assert_eq!((report.linked, report.saved), (1, text.len() as u64));
    let inode = |sample: &Sample| {
        let place = scratch.store.real_path(&sample.info.path);
        fs::metadata(place).expect("a file").ino()
    };
    assert_eq!(inode(&samples[0]), inode(&samples[1]));
    let again = scratch.store.optimise(&mut |_, _| {}).expect("a report");
    assert_eq!(again.linked, 0);
    verify(scratch.root());
    let options = VerifyOptions {
        contents: true,
        forget: false,
    };
    let report = scratch
        .store
        .verify(options, &mut |_| {})
        .expect("a report");
    assert!(report.damages.is_empty(), "{:?}", report.damages);

    // What Nix shares is where we look for it.
    let root = scratch.root().display().to_string();
    nix("nix-store", &["--store", &root, "--optimise"]);
    let linked = scratch
        .store
        .optimise(&mut |_, _| {})
        .expect("a report")
        .linked;
    assert_eq!(linked, 0);
    scratch.collect_all();
    let links = scratch.store.real_store_dir().join(".links");
    assert_eq!(fs::read_dir(links).expect("links").count(), 0);
}
