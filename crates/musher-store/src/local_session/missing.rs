//! What has to be done before something is there: a walk from what is wanted to
//! what is valid, level by level. Builds nothing.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::{BuildMode, BuildResult, BuildStatus, BuiltOutput};
use musher_protocol::worker::{Missing, RemoteError, Response};
use nix_derivation::{DerivedPath, SingleDerivedPath, StorePath};

use super::answer::{Answer, failed};
use super::derivations;
use super::questions::cannot_be_had;
use super::rooted::Rooted;

/// Which outputs of a derivation are wanted; all where none is named.
type Names = BTreeSet<String>;

/// `QueryMissing`
pub(super) fn missing(store: &Rooted, wanted: &[DerivedPath]) -> Result<Missing, RemoteError> {
    let mut walk = Walk::default();
    for path in wanted {
        match path {
            DerivedPath::Opaque(path) => walk.paths.push(path.clone()),
            DerivedPath::Built { drv_path, outputs } => {
                walk.derive(store, drv_path, outputs.iter().cloned().collect())?;
            }
        }
    }
    let paths: BTreeSet<_> = walk.paths.drain(..).collect();
    let valid = store.store.valid_paths(&paths).map_err(failed)?;
    let unknown = paths.difference(&valid).cloned();
    walk.missing.unknown.extend(unknown);
    while !walk.edge.is_empty() {
        walk.step(store)?;
    }
    Ok(walk.missing)
}

#[derive(Default)]
struct Walk {
    missing: Missing,
    /// Paths that are wanted as they are.
    paths: Vec<StorePath>,
    /// What the next step looks at.
    edge: BTreeMap<StorePath, BTreeSet<Names>>,
    seen: BTreeSet<(StorePath, Names)>,
}

impl Walk {
    /// `outputs` of what `drv_path` comes to are wanted.
    fn derive(
        &mut self,
        store: &Rooted,
        drv_path: &SingleDerivedPath,
        outputs: Names,
    ) -> Result<(), RemoteError> {
        match drv_path {
            SingleDerivedPath::Opaque(path) => self.want(path.clone(), outputs),
            SingleDerivedPath::Built { drv_path, output } => {
                // A derivation that a derivation makes: it has to be made
                // first, and what it needs is known then.
                match resolve(store, drv_path, output)? {
                    Some(path) => self.want(path, outputs),
                    None => self.derive(store, drv_path, [output.clone()].into())?,
                }
            }
        }
        Ok(())
    }

    fn want(&mut self, drv_path: StorePath, outputs: Names) {
        let what = (drv_path, outputs);
        if self.seen.insert(what.clone()) {
            self.edge.entry(what.0).or_default().insert(what.1);
        }
    }

    /// Looks at all derivations that were reached, and goes on to the inputs of
    /// those that have to be built.
    fn step(&mut self, store: &Rooted) -> Result<(), RemoteError> {
        let edge = std::mem::take(&mut self.edge);
        let derivations: BTreeSet<_> = edge.keys().cloned().collect();
        let valid = store.store.valid_paths(&derivations).map_err(failed)?;
        let mut reached = Vec::new();
        for (drv_path, wants) in edge {
            if !valid.contains(&drv_path) {
                self.missing.unknown.insert(drv_path);
                continue;
            }
            let derivation = derivations::read(store, &drv_path)?;
            let outputs = derivations::outputs(store, &drv_path, &derivation)?;
            reached.push((drv_path, derivation, outputs, wants));
        }
        let outputs = reached
            .iter()
            .flat_map(|(_, _, outputs, _)| outputs.values());
        let outputs = outputs.flatten().cloned().collect();
        let valid = store.store.valid_paths(&outputs).map_err(failed)?;
        for (drv_path, derivation, outputs, wants) in reached {
            let is_there = |wanted: &Names| {
                outputs
                    .iter()
                    .filter(|(name, _)| wanted.is_empty() || wanted.contains(*name))
                    .all(|(_, path)| path.as_ref().is_some_and(|path| valid.contains(path)))
            };
            if !wants.iter().all(is_there) && self.missing.will_build.insert(drv_path) {
                for (input, needed) in derivation.input_derivations() {
                    self.want(input.clone(), needed.outputs().clone());
                }
            }
        }
        Ok(())
    }
}

/// The path of one output, if it is known and valid.
fn resolve(
    store: &Rooted,
    drv_path: &SingleDerivedPath,
    output: &str,
) -> Result<Option<StorePath>, RemoteError> {
    let drv_path = match drv_path {
        SingleDerivedPath::Opaque(path) => path.clone(),
        SingleDerivedPath::Built { drv_path, output } => match resolve(store, drv_path, output)? {
            Some(path) => path,
            None => return Ok(None),
        },
    };
    if !store.store.is_valid(&drv_path).map_err(failed)? {
        return Ok(None);
    }
    let derivation = derivations::read(store, &drv_path)?;
    let outputs = derivations::outputs(store, &drv_path, &derivation)?;
    let Some(path) = outputs.get(output).cloned().flatten() else {
        return Ok(None);
    };
    let valid = store.store.is_valid(&path).map_err(failed)?;
    Ok(valid.then_some(path))
}

/// `BuildPaths`: what is there needs no building, and the rest is not built
/// here.
pub(super) fn build(store: &Rooted, wanted: &[DerivedPath], mode: BuildMode) -> Answer {
    keep(store, wanted)?;
    refuse(store, wanted, mode)?;
    Ok(Response::Unit)
}

/// `BuildPathsWithResults`, of the same.
pub(super) fn build_with_results(
    store: &Rooted,
    wanted: &[DerivedPath],
    mode: BuildMode,
) -> Answer {
    keep(store, wanted)?;
    let mut results = Vec::with_capacity(wanted.len());
    for path in wanted {
        let result = match refuse(store, std::slice::from_ref(path), mode) {
            Ok(()) => there(store, path)?,
            Err(error) => BuildResult::new(BuildStatus::MiscFailure, error.message),
        };
        results.push((path.clone(), result));
    }
    Ok(Response::KeyedBuildResults(results))
}

/// Keeps what is asked for, so that what is found valid stays so.
fn keep(store: &Rooted, wanted: &[DerivedPath]) -> Result<(), RemoteError> {
    let bases = wanted.iter().map(DerivedPath::base);
    store.keep(bases).map_err(failed)
}

/// An error if anything is left to be done.
fn refuse(store: &Rooted, wanted: &[DerivedPath], mode: BuildMode) -> Result<(), RemoteError> {
    let missing = missing(store, wanted)?;
    let built = wanted.iter().find_map(|path| match path {
        DerivedPath::Built { drv_path, .. } if mode != BuildMode::Normal => Some(drv_path.base()),
        DerivedPath::Built { .. } | DerivedPath::Opaque(_) => None,
    });
    if let Some(path) = missing.unknown.first() {
        Err(cannot_be_had(&store.dir().render_path(path)))
    } else if let Some(drv_path) = missing.will_build.first().or(built) {
        Err(no_builder(store, drv_path))
    } else {
        Ok(())
    }
}

/// The result for something that is there.
fn there(store: &Rooted, wanted: &DerivedPath) -> Result<BuildResult, RemoteError> {
    let mut result = BuildResult::new(BuildStatus::AlreadyValid, "");
    let DerivedPath::Built { drv_path, outputs } = wanted else {
        return Ok(result);
    };
    let drv_path = match drv_path {
        SingleDerivedPath::Opaque(path) => Some(path.clone()),
        SingleDerivedPath::Built { drv_path, output } => resolve(store, drv_path, output)?,
    };
    let Some(drv_path) = drv_path else {
        return Ok(result);
    };
    let derivation = derivations::read(store, &drv_path)?;
    let known = derivations::outputs(store, &drv_path, &derivation)?;
    let wanted = |name: &String| outputs.is_empty() || outputs.contains(name);
    let known = known.into_iter().filter(|(name, _)| wanted(name));
    let built = known.filter_map(|(name, path)| Some((name, built(path?))));
    result.built_outputs = built.collect();
    Ok(result)
}

fn built(path: StorePath) -> BuiltOutput {
    BuiltOutput {
        drv_hash: None,
        path,
        signatures: BTreeSet::new(),
        dependent_realisations: BTreeMap::new(),
    }
}

/// Nobody builds here.
pub(super) fn no_builder(store: &Rooted, drv_path: &StorePath) -> RemoteError {
    let shown = store.dir().render_path(drv_path);
    RemoteError::new(format!(
        "cannot build `{shown}`: the store itself builds nothing"
    ))
}
