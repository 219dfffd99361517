//! The course of it: look at every output, settle their paths one after the
//! other, check them, and only then put them in place and register them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use musher_protocol::types::{BuildMode, BuiltOutput, PathInfo};
use musher_store::local::{Canonicaliser, LocalStore, RealisationKey, StoredRealisation, Wait};
use nix_archive::nar::{self, CaseHack};
use nix_derivation::StorePath;
use nix_derivation::store_path::output_path_name;

use super::check::Check;
use super::error::{OutputError, Stop};
use super::held::{Candidates, Held, Look};
use super::identity::own_drv_hash;
use super::kind::OutputKind;
use super::order::referenced_first;
use super::place::{move_tree, replace_tree};
use super::remove::remove_tree;
use super::rewrite::Rewrites;
use super::scratch::derivation_name;
use super::settle::{Settling, Wanted};
use super::{Finished, Rejection, ScratchOutput, Verdict};

/// Makes store paths of the outputs of `finished`. What still lies where the
/// build left it is the caller's to remove. Blocks, for as long as it takes to
/// read all outputs a few times.
pub fn register_outputs(
    store: &LocalStore,
    finished: &Finished<'_>,
) -> Result<Verdict, OutputError> {
    let registering = Registering::new(store, finished)?;
    match registering.run() {
        Ok(outputs) => Ok(Verdict::Accepted(outputs)),
        Err(Stop::Rejected(rejection)) => Ok(Verdict::Rejected(rejection)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

struct Registering<'a> {
    store: &'a LocalStore,
    finished: &'a Finished<'a>,
    /// The derivation, absolute.
    drv: String,
    kinds: BTreeMap<String, OutputKind>,
    /// What the outputs' paths are called.
    names: BTreeMap<String, String>,
}

/// An output before its path is settled.
enum Left {
    /// It was valid before, and stays as it is.
    Valid(StorePath),
    /// It is new.
    New(Held),
}

/// A new output whose path is settled.
struct Settled {
    held: Held,
    info: PathInfo,
}

impl<'a> Registering<'a> {
    fn new(store: &'a LocalStore, finished: &'a Finished<'a>) -> Result<Self, OutputError> {
        let drv = store.store_dir().render_path(finished.drv_path);
        let drv_name = derivation_name(finished.drv_path);
        let mut kinds = BTreeMap::new();
        let mut names = BTreeMap::new();
        for (output, spec) in &finished.derivation.outputs {
            let name = output_path_name(drv_name, output);
            let name = name.map_err(|source| OutputError::Path {
                drv: drv.clone(),
                output: output.clone(),
                source,
            })?;
            let kind = OutputKind::of(store.store_dir(), output, &name, spec);
            let kind = kind.map_err(|source| OutputError::Kind {
                drv: drv.clone(),
                source: Box::new(source),
            })?;
            kinds.insert(output.clone(), kind);
            names.insert(output.clone(), name);
        }
        Ok(Self {
            store,
            finished,
            drv,
            kinds,
            names,
        })
    }

    fn run(&self) -> Result<BTreeMap<String, BuiltOutput>, Stop> {
        let left = self.look()?;
        let (mut new, valid) = self.settle(left)?;
        let mut paths = valid;
        for settled in &new {
            let output = settled.held.output.clone();
            paths.insert(output, settled.info.path.clone());
        }
        self.finished
            .roots
            .add_all(paths.values())
            .map_err(OutputError::store("keep the outputs"))?;
        if self.finished.mode == BuildMode::Check {
            self.compare(&new)?;
        }
        let infos: BTreeMap<String, PathInfo> = new
            .iter()
            .map(|settled| (settled.held.output.clone(), settled.info.clone()))
            .collect();
        if let Err(stop) = self.check(&infos, &paths) {
            self.keep_mismatch(&mut new, &stop)?;
            return Err(stop);
        }
        if self.finished.mode != BuildMode::Check {
            self.publish(&mut new)?;
        }
        self.built_outputs(&paths)
    }

    /// Looks at every output that is new.
    fn look(&self) -> Result<BTreeMap<String, Left>, Stop> {
        let kept = self.kept()?;
        let mut candidates = self.finished.inputs.clone();
        let scratch = self.finished.scratch.values();
        candidates.extend(scratch.map(|scratch| scratch.path.clone()));
        let candidates = Candidates::new(candidates);
        let owners = self.finished.owners;
        let mut canonicaliser = match owners {
            Some(owners) => Canonicaliser::of_builders(owners.clone()),
            None => Canonicaliser::new(),
        };
        let mut left = BTreeMap::new();
        for (output, kind) in &self.kinds {
            let known = kind.known_path().filter(|path| kept.contains(*path));
            if let Some(path) = known {
                left.insert(output.clone(), Left::Valid(path.clone()));
                continue;
            }
            let undisclosed = self.finished.rules.discards_references(output);
            let look = Look {
                drv: &self.drv,
                output,
                location: &self.scratch(output)?.location,
                owner: owners.map(|owners| *owners.start()),
                // These had the network, by which a file still open can be
                // handed to a process that lives on.
                copied_to: match kind {
                    OutputKind::Fixed { .. } | OutputKind::Impure(_) => {
                        Some(self.store.real_store_dir())
                    }
                    OutputKind::InputAddressed(_) | OutputKind::Floating(_) => None,
                },
                candidates: (!undisclosed).then_some(&candidates),
            };
            left.insert(output.clone(), Left::New(look.look(&mut canonicaliser)?));
        }
        Ok(left)
    }

    /// The outputs that stay as they are.
    fn kept(&self) -> Result<BTreeSet<StorePath>, Stop> {
        let known: BTreeSet<StorePath> = self
            .kinds
            .values()
            .filter_map(|kind| kind.known_path().cloned())
            .collect();
        let valid = self.store.valid_paths(&known);
        let mut valid = valid.map_err(OutputError::store("look for the outputs"))?;
        match self.finished.mode {
            BuildMode::Normal => Ok(valid),
            BuildMode::Check if valid.len() < known.len() => {
                Err(Stop::Rejected(Rejection::NothingToCheck {
                    drv: self.drv.clone(),
                }))
            }
            BuildMode::Check => Ok(BTreeSet::new()),
            BuildMode::Repair => {
                valid.retain(|path| self.is_whole(path));
                Ok(valid)
            }
        }
    }

    /// Whether a valid path's files are what they were registered as.
    fn is_whole(&self, path: &StorePath) -> bool {
        let registered = self.store.path_info(path).ok().flatten();
        let found = nar::hash_path(&self.store.real_path(path), CaseHack::Disabled).ok();
        match (registered, found) {
            (Some(registered), Some(found)) => registered.nar_hash.0 == found.sha256,
            _ => false,
        }
    }

    /// Settles every output's path, and says which were valid before.
    fn settle(
        &self,
        mut left: BTreeMap<String, Left>,
    ) -> Result<(Vec<Settled>, BTreeMap<String, StorePath>), Stop> {
        let order = referenced_first(&self.references(&left)?);
        let order = order.map_err(|cycle| Rejection::Cycle {
            drv: self.drv.clone(),
            output: cycle.output,
            parent: cycle.parent,
        })?;
        let mut settling = Settling {
            store: self.store.real_store_dir(),
            store_dir: self.store.store_dir(),
            drv_path: self.finished.drv_path,
            drv: &self.drv,
            rewrites: Rewrites::default(),
        };
        let mut new = Vec::new();
        let mut valid = BTreeMap::new();
        for output in order {
            let scratch = &self.scratch(&output)?.path;
            match left.remove(&output) {
                Some(Left::New(mut held)) => {
                    let wanted = Wanted {
                        kind: &self.kinds[&output],
                        scratch,
                        name: &self.names[&output],
                        undisclosed: self.finished.rules.discards_references(&output),
                    };
                    let info = settling.settle(&wanted, &mut held)?;
                    new.push(Settled { held, info });
                }
                Some(Left::Valid(path)) => {
                    settling.rewrites.add(scratch, &path);
                    valid.insert(output, path);
                }
                None => {}
            }
        }
        Ok((new, valid))
    }

    /// Which outputs each of `left` refers to.
    fn references(
        &self,
        left: &BTreeMap<String, Left>,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, Stop> {
        let mut outputs = BTreeMap::new();
        for output in self.kinds.keys() {
            outputs.insert(&self.scratch(output)?.path, output);
        }
        let references = left.iter().map(|(output, left)| {
            let referenced = match left {
                Left::Valid(_) => BTreeSet::new(),
                Left::New(held) => {
                    let paths = held.references.iter();
                    let named = paths.filter_map(|path| outputs.get(path));
                    named.map(|output| (*output).clone()).collect()
                }
            };
            (output.clone(), referenced)
        });
        Ok(references.collect())
    }

    fn check(
        &self,
        infos: &BTreeMap<String, PathInfo>,
        paths: &BTreeMap<String, StorePath>,
    ) -> Result<(), Stop> {
        let check = Check {
            drv: &self.drv,
            store_dir: self.store.store_dir(),
            outputs: infos,
            paths,
            kinds: &self.kinds,
            rules: self.finished.rules,
            lookup: &|paths| {
                let infos = self.store.path_infos(paths);
                infos.map_err(OutputError::store("look at what an output refers to"))
            },
        };
        check.run()
    }

    /// Compares every new output with the one that was registered.
    fn compare(&self, new: &[Settled]) -> Result<(), Stop> {
        for settled in new {
            let before = self.before(settled)?;
            let path = before
                .as_ref()
                .map_or(&settled.info.path, |info| &info.path);
            let same = before
                .as_ref()
                .is_some_and(|before| before.nar_hash == settled.info.nar_hash);
            // A fixed output that differs is told by its hash.
            let is_fixed = matches!(
                self.kinds[&settled.held.output],
                OutputKind::Fixed { .. } | OutputKind::Impure(_)
            );
            if same || is_fixed && before.is_none() {
                if let Some(mut before) = before
                    && !before.ultimate
                {
                    before.ultimate = true;
                    let registered = self.store.register(&[before]);
                    registered.map_err(OutputError::store("register a path as our own"))?;
                }
                continue;
            }
            let real = self.store.real_path(path);
            let kept = self.finished.keep_failed.then(|| {
                let mut kept = real.clone().into_os_string();
                kept.push(".check");
                std::path::PathBuf::from(kept)
            });
            if let Some(kept) = &kept {
                remove_tree(kept).map_err(OutputError::file("remove", kept))?;
                move_tree(&settled.held.location, kept)
                    .map_err(OutputError::file("keep a differing output at", kept))?;
            }
            return Err(Stop::Rejected(Rejection::NotDeterministic {
                drv: self.drv.clone(),
                path: real.display().to_string(),
                kept: kept.map(|kept| kept.display().to_string()),
            }));
        }
        Ok(())
    }

    /// What was registered of an output before it was built again.
    fn before(&self, settled: &Settled) -> Result<Option<PathInfo>, Stop> {
        let path = match &self.kinds[&settled.held.output] {
            OutputKind::Floating(_) => {
                let key = RealisationKey::Hash(self.drv_hash()?);
                let known = self.store.realisation(&key, &settled.held.output);
                let known = known.map_err(OutputError::store("look for a realisation"))?;
                let known = known.ok_or_else(|| Rejection::NothingToCheck {
                    drv: self.drv.clone(),
                })?;
                known.path
            }
            OutputKind::InputAddressed(_) | OutputKind::Fixed { .. } | OutputKind::Impure(_) => {
                settled.info.path.clone()
            }
        };
        let info = self.store.path_info(&path);
        Ok(info.map_err(OutputError::store("look at an output"))?)
    }

    /// Puts every new output in place and registers it: content-addressed ones
    /// each under a lock of its own, as its path was not known before; the
    /// others in one transaction, their paths being locked by the caller.
    fn publish(&self, new: &mut [Settled]) -> Result<(), Stop> {
        let mut together = Vec::new();
        for settled in new {
            if settled.info.ca.is_some() {
                self.publish_addressed(settled, Wait::ForIt)?;
            } else {
                self.put_in_place(settled)?;
                together.push(settled.info.clone());
            }
        }
        if !together.is_empty() {
            let registered = self.store.register(&together);
            registered.map_err(OutputError::store("register the outputs"))?;
        }
        Ok(())
    }

    fn publish_addressed(&self, settled: &mut Settled, wait: Wait<'_>) -> Result<(), Stop> {
        let path = &settled.info.path;
        let known = self.kinds[&settled.held.output].known_path();
        let mut lock = None;
        if known != Some(path) {
            let wanted = BTreeSet::from([path.clone()]);
            let locked = self.store.lock_outputs(&wanted, wait);
            lock = locked.map_err(OutputError::store("lock an output"))?;
            if lock.is_none() {
                // Whoever has it makes the same.
                return Ok(());
            }
        }
        let is_valid = self.store.is_valid(path);
        let is_valid = is_valid.map_err(OutputError::store("look for an output"))?;
        if is_valid && self.finished.mode != BuildMode::Repair {
            settled.held.discard()?;
        } else {
            self.put_in_place(settled)?;
            let registered = self.store.register(std::slice::from_ref(&settled.info));
            registered.map_err(OutputError::store("register an output"))?;
        }
        drop(lock);
        Ok(())
    }

    /// Moves an output to its path. It is garbage there until it is registered.
    fn put_in_place(&self, settled: &mut Settled) -> Result<(), Stop> {
        let store = self.store.real_store_dir();
        let target = self.store.real_path(&settled.info.path);
        if settled.held.location == target {
            return Ok(());
        }
        let put = |from: &std::path::Path| {
            if self.finished.mode == BuildMode::Repair && target.symlink_metadata().is_ok() {
                return replace_tree(from, &target, store);
            }
            remove_tree(&target)?;
            move_tree(from, &target)
        };
        let mut done = put(&settled.held.location);
        if let Err(error) = &done
            && error.kind() == io::ErrorKind::CrossesDevices
        {
            settled.held.bring_near(store, &self.drv)?;
            done = put(&settled.held.location);
        }
        Ok(done.map_err(OutputError::file("move an output to", &target))?)
    }

    /// A fixed output of another hash than was said is good for the derivation
    /// that says the right one: it is kept, unless somebody else makes it.
    fn keep_mismatch(&self, new: &mut [Settled], stop: &Stop) -> Result<(), Stop> {
        let Stop::Rejected(Rejection::HashMismatch { .. }) = stop else {
            return Ok(());
        };
        if self.finished.mode == BuildMode::Check {
            return Ok(());
        }
        for settled in new {
            self.publish_addressed(settled, Wait::No)?;
        }
        Ok(())
    }

    /// What is told of the outputs, now that they are valid; what no path
    /// tells by itself is registered.
    fn built_outputs(
        &self,
        paths: &BTreeMap<String, StorePath>,
    ) -> Result<BTreeMap<String, BuiltOutput>, Stop> {
        let drv_hash = self.drv_hash()?;
        let mut outputs = BTreeMap::new();
        for (output, path) in paths {
            if matches!(self.kinds[output], OutputKind::Floating(_)) {
                let realisation = StoredRealisation {
                    keys: BTreeSet::from([
                        RealisationKey::Hash(drv_hash.clone()),
                        RealisationKey::Path(self.finished.drv_path.clone()),
                    ]),
                    output: output.clone(),
                    path: path.clone(),
                    signatures: BTreeSet::new(),
                };
                let registered = self.store.register_realisation(&realisation);
                registered.map_err(OutputError::store("register a realisation"))?;
            }
            let built = BuiltOutput {
                drv_hash: Some(drv_hash.clone()),
                path: path.clone(),
                signatures: BTreeSet::new(),
                dependent_realisations: BTreeMap::new(),
            };
            outputs.insert(output.clone(), built);
        }
        Ok(outputs)
    }

    fn drv_hash(&self) -> Result<String, OutputError> {
        own_drv_hash(
            self.store.store_dir(),
            self.finished.drv_path,
            self.finished.derivation,
        )
    }

    fn scratch(&self, output: &str) -> Result<&'a ScratchOutput, OutputError> {
        let scratch = self.finished.scratch.get(output);
        scratch.ok_or_else(|| OutputError::Nowhere {
            drv: self.drv.clone(),
            output: output.to_owned(),
        })
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "tests may panic, and write what they expect where they use it"
)]
mod tests;
