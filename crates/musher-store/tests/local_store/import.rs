//! Paths are imported whole, or not at all.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use musher_store::local::{ImportChecks, Imported, LocalError};

use crate::support::{Sample, Scratch};

#[test]
fn a_path_comes_out_as_it_went_in() {
    let scratch = Scratch::new();
    let sample = Sample::tree("tree", 300);
    scratch.import(&sample);
    let path = &sample.info.path;
    let found = scratch
        .store
        .path_info(path)
        .expect("an answer")
        .expect("an info");
    assert!(found.registration_time > 0);
    let expected = musher_protocol::types::PathInfo {
        registration_time: found.registration_time,
        ..sample.info.clone()
    };
    assert_eq!(found, expected);
    let mut nar = Vec::new();
    let mut reader = scratch.store.read_nar(path).expect("a reader");
    reader.read_to_end(&mut nar).expect("a NAR");
    assert!(nar == sample.nar);
    let again = scratch
        .store
        .import(&sample.info, &mut std::io::empty(), ImportChecks::default());
    assert_eq!(again.expect("an answer"), Imported::WasValid);
}

#[test]
fn metadata_is_canonical() {
    let scratch = Scratch::new();
    let sample = Sample::tree("tree", 1);
    scratch.import(&sample);
    let place = scratch.store.real_path(&sample.info.path);
    let mode = |inside: &str| {
        let found = fs::symlink_metadata(place.join(inside)).expect("a file");
        assert_eq!((found.mtime(), found.mtime_nsec()), (1, 0), "{inside}");
        found.mode() & 0o7777
    };
    assert_eq!(mode(""), 0o555);
    assert_eq!(mode("bin"), 0o555);
    assert_eq!(mode("bin/run"), 0o555);
    assert_eq!(mode("files/00000000"), 0o444);
    mode("bin/walk");
}

#[test]
fn what_is_not_what_it_claims_leaves_nothing() {
    let scratch = Scratch::new();
    let sample = Sample::tree("tree", 3);
    let import = |sample: &Sample| {
        let checks = ImportChecks::default();
        scratch
            .store
            .import(&sample.info, &mut &sample.nar[..], checks)
    };

    let mut other = sample.clone();
    other.info.nar_hash.0[0] ^= 1;
    assert!(matches!(import(&other), Err(LocalError::OtherHash { .. })));
    let mut longer = sample.clone();
    longer.info.nar_size += 1;
    assert!(matches!(import(&longer), Err(LocalError::OtherSize { .. })));
    let mut short = sample.clone();
    short.nar.truncate(sample.nar.len() / 2);
    assert!(matches!(import(&short), Err(LocalError::Unpack { .. })));
    let missing = Sample::file("lib", "a library", &[]);
    let app = Sample::file("app", "a program", &[&missing.info.path]);
    assert!(matches!(import(&app), Err(LocalError::NoReference { .. })));

    assert!(
        !scratch
            .store
            .is_valid(&sample.info.path)
            .expect("an answer")
    );
    let left: Vec<_> = fs::read_dir(scratch.store.real_store_dir())
        .expect("the store")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name != ".links")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
