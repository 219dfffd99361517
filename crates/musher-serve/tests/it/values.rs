//! Derivations, paths and results to test with.

use std::collections::{BTreeMap, BTreeSet};

use musher_api::coordinator as api;
use musher_protocol::types::{
    BasicDerivation, BasicOutput, BuildMode, BuildResult, BuildStatus, NarHash, PathInfo,
};
use musher_protocol::worker::Request;
use nix_derivation::{StoreDir, StorePath};
use sha2::{Digest as _, Sha256};

pub(crate) fn path(name: &str) -> StorePath {
    let digest: [u8; 32] = Sha256::digest(name).into();
    let mut short = [0; 20];
    short.copy_from_slice(&digest[..20]);
    StorePath::from_parts(short, name).expect("a valid name")
}

/// A derivation with one input-addressed output.
pub(crate) fn derivation(name: &str) -> BasicDerivation {
    let output = BasicOutput {
        path: Some(path(name)),
        hash_algo: String::new(),
        hash: String::new(),
    };
    BasicDerivation {
        outputs: [("out".to_owned(), output)].into(),
        input_sources: BTreeSet::new(),
        system: "x86_64-linux".to_owned(),
        builder: "/bin/sh".to_owned(),
        args: vec!["-c".to_owned(), "true".to_owned()],
        env: BTreeMap::new(),
    }
}

pub(crate) fn build(name: &str) -> Request {
    Request::BuildDerivation {
        drv_path: path(&format!("{name}.drv")),
        derivation: derivation(name),
        mode: BuildMode::Normal,
    }
}

/// The NAR of a file.
pub(crate) fn nar(content: &[u8]) -> Vec<u8> {
    let mut nar = Vec::new();
    let words: [&[u8]; 7] = [
        b"nix-archive-1",
        b"(",
        b"type",
        b"regular",
        b"contents",
        content,
        b")",
    ];
    for word in words {
        nar.extend((word.len() as u64).to_le_bytes());
        nar.extend(word);
        nar.resize(nar.len().next_multiple_of(8), 0);
    }
    nar
}

pub(crate) fn info(name: &str, nar: &[u8]) -> PathInfo {
    PathInfo {
        path: path(name),
        deriver: None,
        nar_hash: NarHash(Sha256::digest(nar).into()),
        nar_size: nar.len() as u64,
        references: BTreeSet::new(),
        registration_time: 0,
        ultimate: false,
        signatures: BTreeSet::new(),
        ca: None,
    }
}

/// The end of a build that made `info` on `machine`.
pub(crate) fn built(machine: &str, info: &PathInfo) -> api::Ended {
    let result = BuildResult::new(BuildStatus::Built, "");
    let infos = [("out".to_owned(), info.clone())].into();
    api::Ended::from_value(&StoreDir::default(), machine, &result, &infos)
}

pub(crate) fn failed(status: BuildStatus, error: &str) -> api::Ended {
    let result = BuildResult::new(status, error);
    api::Ended::from_value(&StoreDir::default(), "big", &result, &BTreeMap::new())
}
