//! Where signatures are needed, only what is vouched for gets in.

use std::sync::Arc;

use musher_store::local::{ImportChecks, Imported, LocalError, Signatures};
use nix_derivation::{CAHash, NixHash, StorePath};
use nix_narinfo::TrustedPublicKey;

use crate::nix::nix;
use crate::support::{Sample, Scratch};

fn strict(keys: &[&str]) -> ImportChecks {
    let keys: Vec<_> = keys
        .iter()
        .map(|key| TrustedPublicKey::parse(key).expect("a key"))
        .collect();
    ImportChecks {
        signatures: Signatures::Required(Arc::from(keys)),
        repair: false,
    }
}

/// A path whose name says nothing of its contents.
fn input_addressed(text: &str) -> Sample {
    let mut sample = Sample::file("built", text, &[]);
    sample.info.path = StorePath::from_parts([9; 20], "built").expect("a path");
    sample.info.ca = None;
    sample
}

#[test]
fn content_addresses_need_no_signature() {
    let scratch = Scratch::new();
    let sample = Sample::file("text", "some text", &[]);
    let import = |sample: &Sample| {
        let nar = &mut &sample.nar[..];
        scratch.store.import(&sample.info, nar, strict(&[]))
    };
    assert_eq!(import(&sample).expect("an answer"), Imported::Added);
    let built = input_addressed("anything");
    assert!(matches!(import(&built), Err(LocalError::Unsigned { .. })));

    let mut claim = built;
    claim.info.ca = Some(CAHash::Nar(NixHash::Sha256(claim.info.nar_hash.0)));
    let error = import(&claim).expect_err("a false claim");
    assert!(matches!(error, LocalError::Unsigned { .. }), "{error}");
    let nar = &mut &claim.nar[..];
    let trusting = scratch
        .store
        .import(&claim.info, nar, ImportChecks::default());
    assert!(matches!(trusting, Err(LocalError::FalseClaim { .. })));
}

#[test]
fn contents_must_have_the_address_they_claim() {
    let scratch = Scratch::new();
    let mut sample = Sample::file("text", "some text", &[]);
    let other = nix_derivation::hash_bytes(nix_derivation::HashAlgorithm::Sha256, b"other text");
    let ca = CAHash::Flat(other);
    let store_dir = scratch.store.store_dir();
    sample.info.path = store_dir
        .build_ca_path("text", &ca, [], false)
        .expect("a path");
    sample.info.ca = Some(ca);
    let nar = &mut &sample.nar[..];
    let error = scratch
        .store
        .import(&sample.info, nar, ImportChecks::default());
    assert!(matches!(error, Err(LocalError::OtherHash { .. })));
    assert!(
        !scratch
            .store
            .is_valid(&sample.info.path)
            .expect("an answer")
    );
}

#[test]
fn a_trusted_key_vouches_for_a_path() {
    let source = Scratch::new();
    let mut sample = input_addressed("built by somebody");
    let nar = &mut &sample.nar[..];
    source
        .store
        .import(&sample.info, nar, ImportChecks::default())
        .expect("an import");
    let [secret, public] =
        ["secret", "public"].map(|name| source.root().join(name).display().to_string());
    let root = source.root().display().to_string();
    let generate = "--generate-binary-cache-key";
    let args = ["--store", &root, generate, "cache-1", &secret, &public];
    if nix("nix-store", &args).is_none() {
        return;
    }
    let path = source.store.store_dir().render_path(&sample.info.path);
    nix(
        "nix",
        &[
            "store",
            "sign",
            "--store",
            &root,
            "--key-file",
            &secret,
            &path,
        ],
    );
    let signed = source
        .store
        .path_info(&sample.info.path)
        .expect("an answer")
        .expect("an info");
    assert_eq!(signed.signatures.len(), 1);
    sample.info.signatures = signed.signatures;

    let key = std::fs::read_to_string(public).expect("a key");
    // The same name, another key.
    let other = "cache-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
    let target = Scratch::new();
    let import = |sample: &Sample, key: &str| {
        let nar = &mut &sample.nar[..];
        target.store.import(&sample.info, nar, strict(&[key]))
    };
    let refused = import(&sample, other);
    assert!(matches!(refused, Err(LocalError::Unsigned { .. })));
    let mut forged = sample.clone();
    forged
        .info
        .references
        .insert(StorePath::from_parts([1; 20], "more").expect("a path"));
    assert!(matches!(
        import(&forged, &key),
        Err(LocalError::Unsigned { .. })
    ));
    assert_eq!(import(&sample, &key).expect("an answer"), Imported::Added);
}
