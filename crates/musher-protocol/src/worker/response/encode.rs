//! Writes answers.

use super::{Missing, Response, Root, Substitutable};
use crate::types::BuiltOutput;
use crate::wire::Encoder;
use crate::worker::op::Op;
use crate::worker::request::{Asked, Subject};
use crate::worker::version::Dialect;
use crate::worker::{Feature, build_result, derived_path, path_info};

impl Response {
    /// Whether it answers what was asked in this dialect.
    pub fn answers(&self, asked: &Asked, dialect: &Dialect) -> bool {
        match self {
            Self::Unit => {
                matches!(
                    asked.op,
                    Op::BuildPaths
                        | Op::EnsurePath
                        | Op::AddTempRoot
                        | Op::AddIndirectRoot
                        | Op::SyncWithGc
                        | Op::OptimiseStore
                        | Op::AddSignatures
                        | Op::AddBuildLog
                        | Op::SubmitOutput
                ) || is_silent(asked.op)
            }
            Self::Bool(_) => matches!(asked.op, Op::IsValidPath | Op::VerifyStore),
            Self::Path(_) => {
                asked.op == Op::AddTextToStore || (asked.op == Op::AddToStore && !dialect.has(25))
            }
            Self::OptionalPath(_) => {
                matches!(asked.op, Op::QueryDeriver | Op::QueryPathFromHashPart)
            }
            Self::Paths(_) => matches!(
                asked.op,
                Op::QueryReferrers
                    | Op::QueryDerivationOutputs
                    | Op::QueryAllValidPaths
                    | Op::QueryValidPaths
                    | Op::QuerySubstitutablePaths
                    | Op::QueryValidDerivers
            ),
            Self::Names(_) => asked.op == Op::QueryDerivationOutputNames,
            Self::OutputMap(_) => asked.op == Op::QueryDerivationOutputMap,
            Self::PathInfo(_) => asked.op == Op::QueryPathInfo,
            Self::Added(_) => {
                asked.op == Op::AddToStoreScanning
                    || (asked.op == Op::AddToStore && dialect.has(25))
            }
            Self::Roots(_) => asked.op == Op::FindRoots,
            Self::Garbage { .. } => asked.op == Op::CollectGarbage,
            Self::SubstitutablePath(_) => asked.op == Op::QuerySubstitutablePathInfo,
            Self::SubstitutablePaths(_) => asked.op == Op::QuerySubstitutablePathInfos,
            Self::BuildResult(_) => asked.op == Op::BuildDerivation,
            Self::KeyedBuildResults(_) => asked.op == Op::BuildPathsWithResults,
            Self::Missing(_) => asked.op == Op::QueryMissing,
            Self::Realisation(_) => asked.op == Op::QueryRealisation,
            Self::Link(_) => asked.op == Op::AddPermRoot,
            Self::Nar => asked.op == Op::NarFromPath,
        }
    }

    /// Writes the answer to what was asked.
    ///
    /// # Panics
    ///
    /// If it [answers](Self::answers) something else.
    pub fn encode(&self, asked: &Asked, dialect: &Dialect, to: &mut Encoder) {
        assert!(
            self.answers(asked, dialect),
            "bug: {self:?} is no answer to {:?}",
            asked.op
        );
        match self {
            // Where there is anything at all, it is a 1.
            Self::Unit if is_silent(asked.op) => {}
            Self::Unit => to.u64(1),
            Self::Bool(value) => to.bool(*value),
            Self::Path(path) => to.path(path),
            Self::OptionalPath(path) => to.optional_path(path.as_ref()),
            Self::Paths(paths) => to.paths(paths),
            Self::Names(names) => to.strings(names),
            Self::OutputMap(outputs) => {
                to.count(outputs.len());
                for (name, path) in outputs {
                    to.string(name);
                    to.optional_path(path.as_ref());
                }
            }
            Self::PathInfo(info) => {
                to.bool(info.is_some());
                if let Some(info) = info {
                    path_info::encode_unkeyed(info, to);
                }
            }
            Self::Added(info) => path_info::encode(info, to),
            Self::Roots(roots) => {
                to.count(roots.len());
                for Root { link, target } in roots {
                    to.bytes(link.as_bytes());
                    to.path(target);
                }
            }
            Self::Garbage { paths, bytes_freed } => {
                to.count(paths.len());
                for path in paths {
                    to.bytes(path.as_bytes());
                }
                to.u64(*bytes_freed);
                // Obsolete.
                to.u64(0);
            }
            Self::SubstitutablePath(info) => {
                to.bool(info.is_some());
                if let Some(info) = info {
                    encode_substitutable(info, to);
                }
            }
            Self::SubstitutablePaths(infos) => {
                to.count(infos.len());
                for (path, info) in infos {
                    to.path(path);
                    encode_substitutable(info, to);
                }
            }
            Self::BuildResult(result) => build_result::encode(result, dialect, to),
            Self::KeyedBuildResults(results) => {
                to.count(results.len());
                for (path, result) in results {
                    derived_path::encode(path, dialect, to);
                    build_result::encode(result, dialect, to);
                }
            }
            Self::Missing(missing) => encode_missing(missing, to),
            Self::Realisation(output) => {
                encode_realisation(output.as_ref(), &asked.subject, dialect, to);
            }
            Self::Link(link) => to.bytes(link.as_bytes()),
            Self::Nar => {}
        }
    }
}

/// Whether success is said by the end of the log alone.
pub(super) fn is_silent(op: Op) -> bool {
    matches!(
        op,
        Op::SetOptions | Op::AddToStoreNar | Op::AddMultipleToStore | Op::RegisterDrvOutput
    )
}

fn encode_substitutable(info: &Substitutable, to: &mut Encoder) {
    to.optional_path(info.deriver.as_ref());
    to.paths(&info.references);
    to.u64(info.download_size);
    to.u64(info.nar_size);
}

fn encode_missing(missing: &Missing, to: &mut Encoder) {
    to.paths(&missing.will_build);
    to.paths(&missing.will_substitute);
    to.paths(&missing.unknown);
    to.u64(missing.download_size);
    to.u64(missing.nar_size);
}

/// ```text
/// realisation = 0 | 1, path, signatures     with realisation-with-path-not-hash
///             | set of JSON                 from 1.31
///             | set of path                 before
/// ```
fn encode_realisation(
    output: Option<&BuiltOutput>,
    subject: &Subject,
    dialect: &Dialect,
    to: &mut Encoder,
) {
    to.bool(output.is_some());
    let Some(output) = output else { return };
    if dialect.offers(Feature::RealisationWithPath) {
        to.built_output(output);
    } else if !dialect.has(31) {
        to.path(&output.path);
    } else {
        let Subject::Output(id) = subject else {
            unreachable!("bug: the output asked for was forgotten")
        };
        let mut output = output.clone();
        if output.drv_hash.is_none() {
            output.drv_hash = id.drv_hash().map(str::to_owned);
        }
        to.realisation_json(id.output(), &output);
    }
}
