//! What tests stand on: values by name, a home store in memory, machines that
//! do what the test says, and a team of them around a real core.

mod graph;
mod home_store;
mod machine;
mod nix_daemon;
mod nix_store;
mod team;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use musher_protocol::types::{BasicDerivation, BasicOutput, BuildMode, NarHash, PathInfo};
use musher_scheduler::LeaseId;
use nix_derivation::{CAHash, NixHash, StoreDir, StorePath, nixbase32};
use sha2::{Digest, Sha256};

pub(crate) use graph::{add_graph, derivation_text};
pub(crate) use home_store::HomeStore;
pub(crate) use machine::{FakeMachine, Try};
pub(crate) use nix_daemon::{NixDaemon, Script};
pub(crate) use nix_store::NixStore;
pub(crate) use team::{Team, ended, soon, waits};

use crate::attempt::Order;
use crate::build::{BuildSpec, Closure, Limits};
use crate::core::CoreHandle;
use crate::held_inputs::HeldInputs;
use crate::home::{Home, Place};
use crate::sources::Sources;

/// The path that a test calls `name`. Paths are in the order of their names.
pub(crate) fn path(name: &str) -> StorePath {
    let mut digest = [0; 20];
    // Nix writes a digest from its end.
    for (place, byte) in digest.iter_mut().rev().zip(name.bytes()) {
        *place = byte;
    }
    StorePath::from_parts(digest, name).expect("a valid name")
}

/// The absolute path that a test calls `name`.
pub(crate) fn absolute(name: &str) -> String {
    StoreDir::default().render_path(&path(name))
}

/// What there is to know of `name`, whose NAR is [`nar`] of its name.
pub(crate) fn info(name: &str, references: &[&str]) -> PathInfo {
    PathInfo {
        path: path(name),
        deriver: None,
        nar_hash: NarHash(Sha256::digest(nar(name)).into()),
        nar_size: nar(name).len() as u64,
        references: references.iter().map(|name| path(name)).collect(),
        registration_time: 0,
        ultimate: false,
        signatures: BTreeSet::new(),
        ca: None,
    }
}

/// The same, whose NAR mentions what it refers to; with that NAR.
pub(crate) fn mentioning(name: &str, references: &[&str]) -> (PathInfo, Vec<u8>) {
    let mut content = name.to_owned();
    for reference in references {
        content.push_str(&nixbase32::encode(path(reference).digest()));
    }
    let nar = nar(&content);
    let info = PathInfo {
        nar_hash: NarHash(Sha256::digest(&nar).into()),
        nar_size: nar.len() as u64,
        ..info(name, references)
    };
    (info, nar)
}

/// The NAR of a file that holds `content`.
pub(crate) fn nar(content: &str) -> Vec<u8> {
    let words = [
        "nix-archive-1",
        "(",
        "type",
        "regular",
        "contents",
        content,
        ")",
    ];
    let mut nar = Vec::new();
    for word in words {
        nar.extend_from_slice(&(word.len() as u64).to_le_bytes());
        nar.extend_from_slice(word.as_bytes());
        nar.resize(nar.len().next_multiple_of(8), 0);
    }
    nar
}

/// A build of `NAME.drv` with the output `NAME`, which reads `inputs`.
pub(crate) fn spec(name: &str, inputs: &[&str]) -> BuildSpec {
    let output = BasicOutput {
        path: Some(path(name)),
        hash_algo: String::new(),
        hash: String::new(),
    };
    BuildSpec {
        drv_path: path(&format!("{name}.drv")),
        derivation: BasicDerivation {
            outputs: BTreeMap::from([("out".to_owned(), output)]),
            input_sources: inputs.iter().map(|name| path(name)).collect(),
            system: "x86_64-linux".to_owned(),
            builder: "/bin/sh".to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
        },
        mode: BuildMode::Normal,
        limits: Limits::default(),
        held: HeldInputs::default(),
        nar_ahead: true,
        keep_failed: false,
    }
}

/// An order to build `spec` on a machine of which nothing is known, with the
/// home store's `inputs`.
pub(crate) fn order(spec: BuildSpec, inputs: Vec<PathInfo>) -> Order {
    let home = HomeStore::new(inputs.clone());
    let home = Arc::new(Home::new(Arc::new(home), Place::Elsewhere));
    Order {
        lease: LeaseId(1),
        slots: 1,
        spec: Arc::new(spec),
        sources: Sources::new(home, HeldInputs::default(), CoreHandle::to_nobody()),
        closure: Arc::new(Closure(inputs)),
        known: Arc::default(),
    }
}

/// As [`info`], of a path that has its address by its content.
pub(crate) fn by_content(name: &str, references: &[&str]) -> PathInfo {
    let info = info(name, references);
    PathInfo {
        ca: Some(CAHash::Nar(NixHash::Sha256(info.nar_hash.0))),
        ..info
    }
}

/// The same, where its content address puts it.
pub(crate) fn floating(name: &str, references: &[&str]) -> PathInfo {
    let info = by_content(name, references);
    let ca = info.ca.as_ref().expect("one");
    let path = StoreDir::default().build_ca_path(name, ca, &info.references, false);
    PathInfo {
        path: path.expect("a path"),
        ..info
    }
}

/// An order to build `app.drv` from `app.c` and from `lib`, an output of
/// `lib.drv`.
pub(crate) fn order_of_app() -> Order {
    let home = vec![
        by_content("app.c", &[]),
        by_content("lib.drv", &[]),
        by_content("app.drv", &["app.c", "lib.drv"]),
        info("lib", &[]),
    ];
    let inputs = vec![by_content("app.c", &[]), info("lib", &[])];
    let mut order = order(spec("app", &["app.c", "lib"]), home);
    order.closure = Closure(inputs).into();
    order
}
