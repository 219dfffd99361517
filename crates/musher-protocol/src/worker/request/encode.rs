//! Writes requests, and refuses those that a version has no words for.

use super::{OutputId, Realisation, Request};
use crate::wire::Encoder;
use crate::worker::version::{Dialect, Version};
use crate::worker::{Feature, derived_path, path_info};

/// A request that the two peers' common version cannot express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer cannot be asked for {what}: it speaks version {version}, which lacks {lacks}")]
pub struct Unsupported {
    /// What was to be asked for.
    pub what: String,
    /// The common version.
    pub version: Version,
    /// What would be needed.
    pub lacks: String,
}

impl Unsupported {
    /// Advice for the user.
    pub fn help(&self) -> Option<String> {
        Some("a newer Nix on the other side would do".to_owned())
    }
}

impl Request {
    /// Whether the dialect has words for all of it.
    pub fn check(&self, dialect: &Dialect) -> Result<(), Unsupported> {
        let unsupported = |what: &str, lacks: String| Unsupported {
            what: what.to_owned(),
            version: dialect.version,
            lacks,
        };
        let op = self.op();
        let name = format!("`{op:?}`");
        if let Some(minor) = op.since()
            && !dialect.has(minor)
        {
            return Err(unsupported(&name, format!("it (since 1.{minor})")));
        }
        if let Some(feature) = op.feature()
            && !dialect.offers(feature)
        {
            let lacks = format!("the feature `{}`", feature.name());
            return Err(unsupported(&name, lacks));
        }
        match self.inexpressible(dialect) {
            Some(what) => Err(unsupported(what, format!("a form for that in {name}"))),
            None => Ok(()),
        }
    }

    /// The part that the dialect has no form for, given that it has the
    /// operation.
    fn inexpressible(&self, dialect: &Dialect) -> Option<&'static str> {
        if let Self::BuildPaths { paths, .. }
        | Self::QueryMissing(paths)
        | Self::BuildPathsWithResults { paths, .. } = self
        {
            return paths
                .iter()
                .find_map(|path| derived_path::unsupported(path, dialect));
        }
        if let Self::CollectGarbage(run) = self {
            return run.unsupported(dialect);
        }
        if let Self::AddToStore { .. } = self {
            return (!dialect.has(25)).then_some("adding content in frames");
        }
        if let Self::AddNarToStore { .. } = self {
            return dialect.has(25).then_some("adding content as a bare NAR");
        }
        if let Self::RegisterDrvOutput(Realisation { id, .. }) | Self::QueryRealisation(id) = self {
            let by_path = dialect.offers(Feature::RealisationWithPath);
            return match id {
                OutputId::Hash(_) => by_path.then_some("a realisation by hash"),
                OutputId::Path(_) => (!by_path).then_some("a realisation by path"),
            };
        }
        None
    }

    /// Writes the request up to its body, or nothing if the dialect has no
    /// words for it. The count of paths of `AddMultipleToStore` belongs to the
    /// body.
    pub fn encode(&self, dialect: &Dialect, to: &mut Encoder) -> Result<(), Unsupported> {
        self.check(dialect)?;
        to.u64(self.op().number());
        self.encode_arguments(dialect, to);
        Ok(())
    }

    fn encode_arguments(&self, dialect: &Dialect, to: &mut Encoder) {
        match self {
            Self::SyncWithGc | Self::FindRoots | Self::QueryAllValidPaths | Self::OptimiseStore => {
            }
            Self::IsValidPath(path)
            | Self::QueryReferrers(path)
            | Self::EnsurePath(path)
            | Self::AddTempRoot(path)
            | Self::QueryDeriver(path)
            | Self::QuerySubstitutablePathInfo(path)
            | Self::QueryDerivationOutputs(path)
            | Self::QueryPathInfo(path)
            | Self::QueryDerivationOutputNames(path)
            | Self::QueryValidDerivers(path)
            | Self::NarFromPath(path)
            | Self::QueryDerivationOutputMap(path) => to.path(path),
            Self::AddToStore {
                name,
                method,
                references,
                repair,
            } => {
                to.string(name);
                to.string(method);
                to.paths(references);
                to.bool(*repair);
            }
            Self::AddNarToStore {
                name,
                recursive,
                algorithm,
            } => {
                to.string(name);
                // Nix calls this "fixed": it is false only for what was once
                // the default, and then the two fields after it do not count.
                to.bool(!(*recursive && algorithm == "sha256"));
                to.bool(*recursive);
                to.string(algorithm);
            }
            Self::AddTextToStore {
                name,
                text,
                references,
            } => {
                to.string(name);
                to.bytes(text.as_bytes());
                to.paths(references);
            }
            Self::BuildPaths { paths, mode } | Self::BuildPathsWithResults { paths, mode } => {
                derived_path::encode_all(paths, dialect, to);
                to.u64(*mode as u64);
            }
            Self::AddIndirectRoot(link) => to.bytes(link.as_bytes()),
            Self::SetOptions(options) => options.encode(to),
            Self::CollectGarbage(run) => run.encode(dialect, to),
            Self::QueryPathFromHashPart(hash) => to.string(hash),
            Self::QuerySubstitutablePathInfos(paths) if dialect.has(22) => {
                to.count(paths.len());
                for (path, ca) in paths {
                    to.path(path);
                    to.optional_content_address(ca.as_ref());
                }
            }
            Self::QuerySubstitutablePathInfos(paths) => to.paths(paths.keys()),
            Self::QueryValidPaths { paths, substitute } => {
                to.paths(paths);
                if dialect.has(27) {
                    to.bool(*substitute);
                }
            }
            Self::QuerySubstitutablePaths(paths) => to.paths(paths),
            Self::VerifyStore {
                check_contents,
                repair,
            } => {
                to.bool(*check_contents);
                to.bool(*repair);
            }
            Self::BuildDerivation {
                drv_path,
                derivation,
                mode,
            } => {
                to.path(drv_path);
                to.basic_derivation(derivation);
                to.u64(*mode as u64);
            }
            Self::AddSignatures { path, signatures } => {
                to.path(path);
                to.strings(signatures);
            }
            Self::AddToStoreNar {
                info,
                repair,
                dont_check_sigs,
            } => {
                path_info::encode(info, to);
                to.bool(*repair);
                to.bool(*dont_check_sigs);
            }
            Self::QueryMissing(paths) => derived_path::encode_all(paths, dialect, to),
            Self::RegisterDrvOutput(realisation) => encode_realisation(realisation, dialect, to),
            Self::QueryRealisation(id) => encode_output_id(id, to),
            // The count is the first thing in the body.
            Self::AddMultipleToStore {
                repair,
                dont_check_sigs,
                count: _,
            } => {
                to.bool(*repair);
                to.bool(*dont_check_sigs);
            }
            Self::AddBuildLog { drv_path } => to.string(&drv_path.to_basename()),
            Self::AddPermRoot { path, link } => {
                to.path(path);
                to.bytes(link.as_bytes());
            }
            Self::SubmitOutput { path, output } => {
                derived_path::encode_single(path, to);
                to.string(output);
            }
            Self::AddToStoreScanning { name, method } => {
                to.string(name);
                to.string(method);
            }
        }
    }
}

fn encode_output_id(id: &OutputId, to: &mut Encoder) {
    match id {
        OutputId::Hash(id) => to.drv_hash_output(id),
        OutputId::Path(id) => {
            to.path(id.drv_path());
            to.string(id.output_name());
        }
    }
}

fn encode_realisation(realisation: &Realisation, dialect: &Dialect, to: &mut Encoder) {
    let output = realisation.output();
    match &realisation.id {
        OutputId::Path(_) => {
            encode_output_id(&realisation.id, to);
            to.built_output(&output);
        }
        OutputId::Hash(id) if dialect.has(31) => to.realisation_json(&id.output, &output),
        OutputId::Hash(_) => {
            encode_output_id(&realisation.id, to);
            to.string(&realisation.path.to_basename());
        }
    }
}
