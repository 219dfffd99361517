//! The operations of the worker protocol, by number. Knows no arguments.

use super::Feature;

/// What a request asks for, with Nix's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u64)]
#[expect(missing_docs, reason = "the variants of `Request` say what each does")]
pub enum Op {
    IsValidPath = 1,
    QueryReferrers = 6,
    AddToStore = 7,
    AddTextToStore = 8,
    BuildPaths = 9,
    EnsurePath = 10,
    AddTempRoot = 11,
    AddIndirectRoot = 12,
    SyncWithGc = 13,
    FindRoots = 14,
    QueryDeriver = 18,
    SetOptions = 19,
    CollectGarbage = 20,
    QuerySubstitutablePathInfo = 21,
    QueryDerivationOutputs = 22,
    QueryAllValidPaths = 23,
    QueryPathInfo = 26,
    QueryDerivationOutputNames = 28,
    QueryPathFromHashPart = 29,
    QuerySubstitutablePathInfos = 30,
    QueryValidPaths = 31,
    QuerySubstitutablePaths = 32,
    QueryValidDerivers = 33,
    OptimiseStore = 34,
    VerifyStore = 35,
    BuildDerivation = 36,
    AddSignatures = 37,
    NarFromPath = 38,
    AddToStoreNar = 39,
    QueryMissing = 40,
    QueryDerivationOutputMap = 41,
    RegisterDrvOutput = 42,
    QueryRealisation = 43,
    AddMultipleToStore = 44,
    AddBuildLog = 45,
    BuildPathsWithResults = 46,
    AddPermRoot = 47,
    SubmitOutput = 1000,
    AddToStoreScanning = 1001,
}

impl Op {
    /// Every operation, in the order of its number.
    pub const ALL: [Self; 39] = [
        Self::IsValidPath,
        Self::QueryReferrers,
        Self::AddToStore,
        Self::AddTextToStore,
        Self::BuildPaths,
        Self::EnsurePath,
        Self::AddTempRoot,
        Self::AddIndirectRoot,
        Self::SyncWithGc,
        Self::FindRoots,
        Self::QueryDeriver,
        Self::SetOptions,
        Self::CollectGarbage,
        Self::QuerySubstitutablePathInfo,
        Self::QueryDerivationOutputs,
        Self::QueryAllValidPaths,
        Self::QueryPathInfo,
        Self::QueryDerivationOutputNames,
        Self::QueryPathFromHashPart,
        Self::QuerySubstitutablePathInfos,
        Self::QueryValidPaths,
        Self::QuerySubstitutablePaths,
        Self::QueryValidDerivers,
        Self::OptimiseStore,
        Self::VerifyStore,
        Self::BuildDerivation,
        Self::AddSignatures,
        Self::NarFromPath,
        Self::AddToStoreNar,
        Self::QueryMissing,
        Self::QueryDerivationOutputMap,
        Self::RegisterDrvOutput,
        Self::QueryRealisation,
        Self::AddMultipleToStore,
        Self::AddBuildLog,
        Self::BuildPathsWithResults,
        Self::AddPermRoot,
        Self::SubmitOutput,
        Self::AddToStoreScanning,
    ];

    /// Its number on the wire.
    pub fn number(self) -> u64 {
        self as u64
    }

    /// The operation of this number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.number() == number)
    }

    /// The minor version that brought it, where that is later than the oldest
    /// one spoken here.
    pub fn since(self) -> Option<u8> {
        match self {
            Self::QueryDerivationOutputMap => Some(22),
            Self::RegisterDrvOutput | Self::QueryRealisation => Some(27),
            Self::AddMultipleToStore | Self::AddBuildLog => Some(32),
            Self::BuildPathsWithResults => Some(34),
            Self::AddPermRoot => Some(36),
            Self::SubmitOutput | Self::AddToStoreScanning => Some(38),
            Self::IsValidPath
            | Self::QueryReferrers
            | Self::AddToStore
            | Self::AddTextToStore
            | Self::BuildPaths
            | Self::EnsurePath
            | Self::AddTempRoot
            | Self::AddIndirectRoot
            | Self::SyncWithGc
            | Self::FindRoots
            | Self::QueryDeriver
            | Self::SetOptions
            | Self::CollectGarbage
            | Self::QuerySubstitutablePathInfo
            | Self::QueryDerivationOutputs
            | Self::QueryAllValidPaths
            | Self::QueryPathInfo
            | Self::QueryDerivationOutputNames
            | Self::QueryPathFromHashPart
            | Self::QuerySubstitutablePathInfos
            | Self::QueryValidPaths
            | Self::QuerySubstitutablePaths
            | Self::QueryValidDerivers
            | Self::OptimiseStore
            | Self::VerifyStore
            | Self::BuildDerivation
            | Self::AddSignatures
            | Self::NarFromPath
            | Self::AddToStoreNar
            | Self::QueryMissing => None,
        }
    }

    /// The feature without which it is not there.
    pub fn feature(self) -> Option<Feature> {
        if self == Self::SubmitOutput {
            Some(Feature::SubmitOutput)
        } else if self == Self::AddToStoreScanning {
            Some(Feature::AddToStoreScanning)
        } else {
            None
        }
    }
}
