//! What a server answers. Knows neither its bytes nor the log before it.

mod decode;
mod encode;

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::{DerivedPath, StorePath};

use crate::types::{BuildResult, BuiltOutput, PathInfo, Text};

/// The answer to one request; see [`Request`](super::Request) for which one
/// has which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// It is done.
    Unit,
    /// Yes or no.
    Bool(bool),
    /// The path that was added.
    Path(StorePath),
    /// The path, if there is one.
    OptionalPath(Option<StorePath>),
    /// Some paths.
    Paths(BTreeSet<StorePath>),
    /// Names of outputs.
    Names(BTreeSet<String>),
    /// Paths of outputs by name; none where it is not known yet.
    OutputMap(BTreeMap<String, Option<StorePath>>),
    /// What is known of the path, if it is valid.
    PathInfo(Option<PathInfo>),
    /// What is known of the path that was added.
    Added(PathInfo),
    /// What keeps paths alive, and which.
    Roots(Vec<Root>),
    /// What the garbage collector did.
    Garbage {
        /// The paths found or deleted.
        paths: BTreeSet<Text>,
        /// Bytes freed.
        bytes_freed: u64,
    },
    /// Where the path could come from, if it can be substituted.
    SubstitutablePath(Option<Substitutable>),
    /// Those paths that can be substituted.
    SubstitutablePaths(BTreeMap<StorePath, Substitutable>),
    /// How the build ended.
    BuildResult(BuildResult),
    /// How each of what was asked for ended.
    KeyedBuildResults(Vec<(DerivedPath, BuildResult)>),
    /// What would have to be done.
    Missing(Missing),
    /// Which path the output has, if that is known.
    Realisation(Option<BuiltOutput>),
    /// The link that was made.
    Link(Text),
    /// The NAR follows, in chunks.
    Nar,
}

/// A link that keeps a path alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The link, or what stands for it.
    pub link: Text,
    /// The path it keeps.
    pub target: StorePath,
}

/// What a substituter says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substitutable {
    /// The derivation that made it, where known.
    pub deriver: Option<StorePath>,
    /// The paths it refers to.
    pub references: BTreeSet<StorePath>,
    /// Bytes to download, or 0 where unknown.
    pub download_size: u64,
    /// Bytes of its NAR, or 0 where unknown.
    pub nar_size: u64,
}

/// What has to be done to have something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    /// Derivations to build.
    pub will_build: BTreeSet<StorePath>,
    /// Paths to substitute.
    pub will_substitute: BTreeSet<StorePath>,
    /// Paths that can be had in no way.
    pub unknown: BTreeSet<StorePath>,
    /// Bytes to download.
    pub download_size: u64,
    /// Bytes of all NARs to substitute.
    pub nar_size: u64,
}
