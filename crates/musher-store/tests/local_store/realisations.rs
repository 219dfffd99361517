//! Realisations are found under either name.

use std::collections::BTreeSet;

use musher_store::local::{LocalError, RealisationKey, StoredRealisation};
use nix_derivation::StorePath;

use crate::nix::verify;
use crate::support::{Sample, Scratch};

#[test]
fn a_realisation_is_found_by_hash_and_by_path() {
    let scratch = Scratch::new();
    let out = Sample::file("out", "an output", &[]);
    let other = Sample::file("out", "another output", &[]);
    scratch.import(&out);
    scratch.import(&other);
    let hash = RealisationKey::Hash(format!("sha256:{}", "0".repeat(64)));
    let drv = StorePath::from_parts([3; 20], "out.drv").expect("a path");
    let path = RealisationKey::Path(drv);
    let realisation = |sample: &Sample, signature: &str| StoredRealisation {
        keys: BTreeSet::from([hash.clone(), path.clone()]),
        output: "out".to_owned(),
        path: sample.info.path.clone(),
        signatures: BTreeSet::from([signature.to_owned()]),
    };
    let store = &scratch.store;
    store
        .register_realisation(&realisation(&out, "a:1"))
        .expect("a realisation");
    store
        .register_realisation(&realisation(&out, "b:2"))
        .expect("a signature more");
    for key in [&hash, &path] {
        let found = store
            .realisation(key, "out")
            .expect("an answer")
            .expect("a realisation");
        assert_eq!(found.path, out.info.path);
        let signatures: Vec<_> = found.signatures.iter().map(String::as_str).collect();
        assert_eq!(signatures, ["a:1", "b:2"]);
        assert_eq!(store.realisation(key, "dev").expect("an answer"), None);
    }
    let error = store
        .register_realisation(&realisation(&other, "a:1"))
        .expect_err("two paths");
    assert!(
        matches!(error, LocalError::OtherRealisation { .. }),
        "{error}"
    );
    verify(scratch.root());

    // One that is gone is no reason against another.
    scratch.collect(&out);
    for key in [&hash, &path] {
        assert_eq!(store.realisation(key, "out").expect("an answer"), None);
    }
    store
        .register_realisation(&realisation(&other, "a:1"))
        .expect("a realisation");
    verify(scratch.root());
}
