//! What a client asks for. Knows neither its bytes nor its answer.

mod decode;
mod encode;

use std::collections::{BTreeMap, BTreeSet};

use nix_derivation::{CAHash, DerivedPath, SingleDerivedPath, StorePath};

use super::garbage::GarbageRun;
use super::op::Op;
use super::options::Options;
use super::realisation::{OutputId, Realisation};
use super::version::Dialect;
use crate::types::{BasicDerivation, BuildMode, PathInfo, Text};

pub use encode::Unsupported;

/// One request, without the body that some have. Those that are answered with
/// [`Response::Unit`](super::Response::Unit) are not said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Is the path valid? `Bool`.
    IsValidPath(StorePath),
    /// What refers to the path? `Paths`.
    QueryReferrers(StorePath),
    /// Add content by its address, from 1.25. Its body is a file's content or
    /// a NAR, as the method has it. `Added`.
    AddToStore {
        /// The name of the path to be.
        name: String,
        /// `text:sha256`, `fixed:sha256`, `fixed:r:sha256`, …
        method: String,
        /// What the content refers to.
        references: BTreeSet<StorePath>,
        /// Whether to replace what is there.
        repair: bool,
    },
    /// Add content by its address, before 1.25. Its body is always a NAR, of a
    /// single file where the method is not recursive. `Path`.
    AddNarToStore {
        /// The name of the path to be.
        name: String,
        /// Whether the NAR is hashed, or the single file in it.
        recursive: bool,
        /// The hash algorithm.
        algorithm: String,
    },
    /// Add a text, by its address. `Path`.
    AddTextToStore {
        /// The name of the path to be.
        name: String,
        /// The content.
        text: Text,
        /// What the content refers to.
        references: BTreeSet<StorePath>,
    },
    /// Build or substitute all of these.
    BuildPaths {
        /// What is wanted.
        paths: Vec<DerivedPath>,
        /// What to do about outputs that exist.
        mode: BuildMode,
    },
    /// Make the path valid, by substitution if need be.
    EnsurePath(StorePath),
    /// Keep the path while this connection lives.
    AddTempRoot(StorePath),
    /// Keep what the symbolic link of this name points at.
    AddIndirectRoot(Text),
    /// Nothing any more.
    SyncWithGc,
    /// What is kept, and by which links? `Roots`.
    FindRoots,
    /// Which derivation made the path? `OptionalPath`.
    QueryDeriver(StorePath),
    /// Use these settings from now on.
    SetOptions(Options),
    /// Find or delete garbage. `Garbage`.
    CollectGarbage(GarbageRun),
    /// Can the path be substituted? `SubstitutablePath`.
    QuerySubstitutablePathInfo(StorePath),
    /// Which outputs does the derivation have? `Paths`.
    QueryDerivationOutputs(StorePath),
    /// Which paths are valid? `Paths`.
    QueryAllValidPaths,
    /// What is known of the path? `PathInfo`.
    QueryPathInfo(StorePath),
    /// How are the derivation's outputs called? `Names`.
    QueryDerivationOutputNames(StorePath),
    /// Which path has this hash part? `OptionalPath`.
    QueryPathFromHashPart(String),
    /// Which of these can be substituted? Content addresses are lost before
    /// 1.22. `SubstitutablePaths`.
    QuerySubstitutablePathInfos(BTreeMap<StorePath, Option<CAHash>>),
    /// Which of these are valid? `Paths`.
    QueryValidPaths {
        /// The paths.
        paths: BTreeSet<StorePath>,
        /// Whether to substitute those that are not; never before 1.27.
        substitute: bool,
    },
    /// Which of these can be substituted? `Paths`.
    QuerySubstitutablePaths(BTreeSet<StorePath>),
    /// Which derivations can have made the path? `Paths`.
    QueryValidDerivers(StorePath),
    /// Link identical files to each other.
    OptimiseStore,
    /// Is the store whole? `Bool`: whether there are errors left.
    VerifyStore {
        /// Whether to hash everything.
        check_contents: bool,
        /// Whether to fix what is broken.
        repair: bool,
    },
    /// Build one derivation whose inputs are there. `BuildResult`.
    BuildDerivation {
        /// Where it is, or would be.
        drv_path: StorePath,
        /// The derivation.
        derivation: BasicDerivation,
        /// What to do about outputs that exist.
        mode: BuildMode,
    },
    /// Add signatures to a path.
    AddSignatures {
        /// The path.
        path: StorePath,
        /// The signatures.
        signatures: BTreeSet<String>,
    },
    /// Send the path's content. `Nar`.
    NarFromPath(StorePath),
    /// Add a path. Its body is the NAR.
    AddToStoreNar {
        /// The path and what is known of it.
        info: PathInfo,
        /// Whether to replace what is there.
        repair: bool,
        /// Whether to do without signatures, where the server trusts.
        dont_check_sigs: bool,
    },
    /// What would have to be done for these? `Missing`.
    QueryMissing(Vec<DerivedPath>),
    /// Which paths have the derivation's outputs? From 1.22. `OutputMap`.
    QueryDerivationOutputMap(StorePath),
    /// Remember which path an output has. From 1.27.
    RegisterDrvOutput(Realisation),
    /// Which path has the output? From 1.27. `Realisation`.
    QueryRealisation(OutputId),
    /// Add paths. Its body is `count` times a path and its NAR. From 1.32.
    AddMultipleToStore {
        /// Whether to replace what is there.
        repair: bool,
        /// Whether to do without signatures, where the server trusts.
        dont_check_sigs: bool,
        /// How many paths follow.
        count: u64,
    },
    /// Keep a build's log. Its body is the log. From 1.32.
    AddBuildLog {
        /// The derivation.
        drv_path: StorePath,
    },
    /// Build or substitute all of these. From 1.34. `KeyedBuildResults`.
    BuildPathsWithResults {
        /// What is wanted.
        paths: Vec<DerivedPath>,
        /// What to do about outputs that exist.
        mode: BuildMode,
    },
    /// Keep the path, by a link. From 1.36. `Link`.
    AddPermRoot {
        /// The path.
        path: StorePath,
        /// The link to make.
        link: Text,
    },
    /// Make a path the output of the running build. Needs a feature.
    SubmitOutput {
        /// The path.
        path: SingleDerivedPath,
        /// The output's name.
        output: String,
    },
    /// Add content by its address and find out what it refers to. Its body is
    /// as that of `AddToStore`. Needs a feature. `Added`.
    AddToStoreScanning {
        /// The name of the path to be.
        name: String,
        /// As for `AddToStore`.
        method: String,
    },
}

/// How a request's body travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyForm {
    /// There is none.
    Absent,
    /// In frames.
    Framed,
    /// In frames, with paths' metadata between the NARs.
    FramedPaths {
        /// How many paths.
        count: u64,
    },
    /// As it is, being a NAR.
    Nar,
    /// In strings, each sent when the server asks.
    Pulled {
        /// Bytes in all.
        size: u64,
    },
}

impl Request {
    /// What it asks for.
    pub fn op(&self) -> Op {
        match self {
            Self::IsValidPath(_) => Op::IsValidPath,
            Self::QueryReferrers(_) => Op::QueryReferrers,
            Self::AddToStore { .. } | Self::AddNarToStore { .. } => Op::AddToStore,
            Self::AddTextToStore { .. } => Op::AddTextToStore,
            Self::BuildPaths { .. } => Op::BuildPaths,
            Self::EnsurePath(_) => Op::EnsurePath,
            Self::AddTempRoot(_) => Op::AddTempRoot,
            Self::AddIndirectRoot(_) => Op::AddIndirectRoot,
            Self::SyncWithGc => Op::SyncWithGc,
            Self::FindRoots => Op::FindRoots,
            Self::QueryDeriver(_) => Op::QueryDeriver,
            Self::SetOptions(_) => Op::SetOptions,
            Self::CollectGarbage(_) => Op::CollectGarbage,
            Self::QuerySubstitutablePathInfo(_) => Op::QuerySubstitutablePathInfo,
            Self::QueryDerivationOutputs(_) => Op::QueryDerivationOutputs,
            Self::QueryAllValidPaths => Op::QueryAllValidPaths,
            Self::QueryPathInfo(_) => Op::QueryPathInfo,
            Self::QueryDerivationOutputNames(_) => Op::QueryDerivationOutputNames,
            Self::QueryPathFromHashPart(_) => Op::QueryPathFromHashPart,
            Self::QuerySubstitutablePathInfos(_) => Op::QuerySubstitutablePathInfos,
            Self::QueryValidPaths { .. } => Op::QueryValidPaths,
            Self::QuerySubstitutablePaths(_) => Op::QuerySubstitutablePaths,
            Self::QueryValidDerivers(_) => Op::QueryValidDerivers,
            Self::OptimiseStore => Op::OptimiseStore,
            Self::VerifyStore { .. } => Op::VerifyStore,
            Self::BuildDerivation { .. } => Op::BuildDerivation,
            Self::AddSignatures { .. } => Op::AddSignatures,
            Self::NarFromPath(_) => Op::NarFromPath,
            Self::AddToStoreNar { .. } => Op::AddToStoreNar,
            Self::QueryMissing(_) => Op::QueryMissing,
            Self::QueryDerivationOutputMap(_) => Op::QueryDerivationOutputMap,
            Self::RegisterDrvOutput(_) => Op::RegisterDrvOutput,
            Self::QueryRealisation(_) => Op::QueryRealisation,
            Self::AddMultipleToStore { .. } => Op::AddMultipleToStore,
            Self::AddBuildLog { .. } => Op::AddBuildLog,
            Self::BuildPathsWithResults { .. } => Op::BuildPathsWithResults,
            Self::AddPermRoot { .. } => Op::AddPermRoot,
            Self::SubmitOutput { .. } => Op::SubmitOutput,
            Self::AddToStoreScanning { .. } => Op::AddToStoreScanning,
        }
    }

    /// Whether a body follows.
    pub fn has_body(&self) -> bool {
        let op = self.op();
        matches!(
            op,
            Op::AddToStore
                | Op::AddToStoreNar
                | Op::AddMultipleToStore
                | Op::AddBuildLog
                | Op::AddToStoreScanning
        )
    }

    /// What one has to remember of it to understand the answer.
    pub fn asked(&self) -> Asked {
        let subject = if let Self::QueryPathInfo(path) = self {
            Subject::Path(path.clone())
        } else if let Self::QueryRealisation(id) = self {
            Subject::Output(id.clone())
        } else {
            Subject::None
        };
        Asked {
            op: self.op(),
            subject,
        }
    }

    /// How the body travels.
    pub(super) fn body_form(&self, dialect: &Dialect) -> BodyForm {
        if let Self::AddMultipleToStore { count, .. } = self {
            BodyForm::FramedPaths { count: *count }
        } else if let Self::AddNarToStore { .. } = self {
            BodyForm::Nar
        } else if let Self::AddToStoreNar { info, .. } = self
            && !dialect.has(23)
        {
            BodyForm::Pulled {
                size: info.nar_size,
            }
        } else if self.has_body() {
            BodyForm::Framed
        } else {
            BodyForm::Absent
        }
    }
}

/// What one has to remember of a request to read or write its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub(super) op: Op,
    pub(super) subject: Subject,
}

impl Asked {
    /// What was asked for.
    pub fn op(&self) -> Op {
        self.op
    }
}

/// What a request was about, where its answer does not repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    None,
    Path(StorePath),
    Output(OutputId),
}
