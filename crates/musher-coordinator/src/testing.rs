//! What tests stand on: values by name, a home store in memory, machines that
//! do what the test says, and a team of them around a real core.

mod home_store;
mod machine;
mod nix_daemon;
mod nix_store;
mod team;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use musher_protocol::types::{BasicDerivation, BasicOutput, BuildMode, NarHash, PathInfo};
use nix_derivation::{StoreDir, StorePath};

pub(crate) use home_store::HomeStore;
pub(crate) use machine::{FakeMachine, Try};
pub(crate) use nix_daemon::{NixDaemon, Script};
pub(crate) use nix_store::NixStore;
pub(crate) use team::{Team, ended, soon, waits};

use crate::attempt::Order;
use crate::build::{BuildSpec, Closure, Limits};
use crate::home::Home;

/// The path that a test calls `name`.
pub(crate) fn path(name: &str) -> StorePath {
    StorePath::from_parts([1; 20], name).expect("a valid name")
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
        nar_hash: NarHash([0; 32]),
        nar_size: nar(name).len() as u64,
        references: references.iter().map(|name| path(name)).collect(),
        registration_time: 0,
        ultimate: false,
        signatures: BTreeSet::new(),
        ca: None,
    }
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
    }
}

/// An order to build `spec` on a machine of which nothing is known, with the
/// home store's `inputs`.
pub(crate) fn order(spec: BuildSpec, inputs: Vec<PathInfo>) -> Order {
    Order {
        spec: Arc::new(spec),
        home: Arc::new(Home::new(Arc::new(HomeStore::new(inputs.clone())))),
        closure: Arc::new(Closure(inputs)),
        known: Arc::default(),
    }
}

/// As [`info`], of a path that has its address by its content.
pub(crate) fn by_content(name: &str, references: &[&str]) -> PathInfo {
    let ca = format!("fixed:r:sha256:{}", "0".repeat(64));
    PathInfo {
        ca: Some(ca.parse().expect("a content address")),
        ..info(name, references)
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
