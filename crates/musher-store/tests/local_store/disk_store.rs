//! The same store as everybody else's kind of store.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use musher_store::local::LocalOptions;
use musher_store::{DiskStore, Store, StoreError, Substitute};

use crate::nix::verify;
use crate::support::{Sample, Scratch, scratch_dir};

#[tokio::test]
async fn paths_are_copied_from_disk_to_disk() {
    let source = Scratch::new();
    let lib = Sample::tree("lib", 100);
    let app = Sample::file("app", &"text ".repeat(100_000), &[&lib.info.path]);
    source.import(&lib);
    source.import(&app);
    let from = DiskStore::new(LocalOptions::below(source.root()));
    let dir = scratch_dir();
    let to = DiskStore::new(LocalOptions::below(dir.path()));
    let paths = [lib.info.path.clone(), app.info.path.clone()];
    let infos = from.path_infos(&paths).await.expect("infos");
    for _ in 0..2 {
        to.import(&infos, &from).await.expect("an import");
    }
    let all = paths.iter().cloned().collect();
    let valid = to
        .valid_paths(&all, Substitute::No)
        .await
        .expect("an answer");
    assert_eq!(valid, all);
    let mut nar = to.read_nar(&app.info.path).await.expect("a NAR");
    let mut bytes = Vec::new();
    while let Some(chunk) = nar.next().await {
        bytes.extend_from_slice(&chunk.expect("a chunk"));
    }
    assert!(bytes == app.nar);
    verify(dir.path());
}

#[tokio::test]
async fn a_source_that_fails_leaves_what_was_complete() {
    let source = Scratch::new();
    let first = Sample::tree("first", 3);
    let second = Sample::tree("second", 3);
    source.import(&first);
    let from = DiskStore::new(LocalOptions::below(source.root()));
    let dir = scratch_dir();
    let to = DiskStore::new(LocalOptions::below(dir.path()));
    let infos = [first.info.clone(), second.info.clone()];
    let error = to.import(&infos, &from).await.expect_err("no such path");
    assert!(matches!(error, StoreError::Local(_)), "{error}");
    let all = BTreeSet::from([first.info.path.clone(), second.info.path]);
    let valid = to
        .valid_paths(&all, Substitute::No)
        .await
        .expect("an answer");
    assert_eq!(valid, BTreeSet::from([first.info.path]));
}
