//! Everything that comes before a build program starts: what the derivation
//! asks for, whether it gets it, what the store has of it, its directories,
//! files and sandbox plan. Blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use musher_protocol::types::{BasicDerivation, BuildMode, BuiltOutput};
use musher_sandbox::{Bind, Ids, Plan, StoreView};
use musher_store::local::{LocalStore, OutputLocks};
use nix_derivation::StorePath;

use super::admission::{BUILTIN, Capability, is_builtin};
use super::attributes::Attributes;
use super::environment::{Environment, Surroundings};
use super::error::BuildError;
use super::kind::Kind;
use super::request::{Build, BuildProgram, build_top};
use super::room::{Room, RoomError};
use super::scratch::Scratch;
use super::site::Site;
use super::slots::HeldSlot;
use super::{BuildOrder, Shared, inputs};
use crate::builtin::{Builtin, BuiltinOrder, Hosted};
use crate::outputs::{OutputRules, ScratchOutput, remove_tree};

/// The file in a build directory that tells a builtin what to do.
const BUILTIN_ORDER: &str = ".builtin.json";

/// What comes of a derivation before it is built.
#[derive(Debug)]
pub(super) enum Prepared {
    /// Nothing is left to do: these are its outputs.
    AlreadyValid(BTreeMap<String, BuiltOutput>),
    /// It can be run.
    Ready(Box<Ready>),
}

/// A build that can be run.
#[derive(Debug)]
pub(super) struct Ready {
    /// What it holds.
    pub(super) site: Site,
    /// Its sandbox.
    pub(super) plan: Plan,
    /// What is known about it.
    pub(super) facts: Facts,
}

/// What is known about a build that runs.
#[derive(Debug)]
pub(super) struct Facts {
    /// Its kind.
    pub(super) kind: Kind,
    /// Whether it is one of those Nix builds by itself.
    pub(super) builtin: bool,
    /// Whether it runs in a sandbox.
    pub(super) sandboxed: bool,
    /// The closure of its inputs.
    pub(super) inputs: BTreeSet<StorePath>,
    /// Where its outputs will lie.
    pub(super) scratch: BTreeMap<String, ScratchOutput>,
    /// What the derivation says its outputs may be.
    pub(super) rules: OutputRules,
    /// Who it is on the machine, if not the executor.
    pub(super) ids: Option<Ids>,
}

/// What a derivation asks for, as far as that can be told without a store.
#[derive(Debug)]
pub(super) struct Asked {
    kind: Kind,
    attributes: Attributes,
    rules: OutputRules,
    sandboxed: bool,
}

impl Asked {
    /// What `order` asks for; an error if it cannot have it here.
    pub(super) fn of(shared: &Shared, order: &BuildOrder) -> Result<Self, BuildError> {
        let drv = shared.render(&order.drv_path);
        let derivation = &order.derivation;
        let kind = Kind::of(&derivation.outputs).map_err(|source| BuildError::Kind {
            drv: drv.clone(),
            source,
        })?;
        let attributes =
            Attributes::of(derivation, shared.store.store_dir()).map_err(|source| {
                BuildError::Attributes {
                    drv: drv.clone(),
                    source,
                }
            })?;
        let rules = OutputRules::of(derivation, shared.store.store_dir());
        let rules = rules.map_err(|source| BuildError::Rules {
            drv: drv.clone(),
            source,
        })?;
        let capability = Capability {
            systems: &shared.settings.systems,
            features: &shared.settings.features,
        };
        if let Some(text) = capability.lacks(&drv, derivation, kind, &attributes) {
            return Err(BuildError::Refused(text));
        }
        let sandboxing = shared.settings.sandboxing;
        let sandboxed = sandboxing
            .applies(&drv, &attributes)
            .map_err(BuildError::Refused)?;
        Ok(Self {
            kind,
            attributes,
            rules,
            sandboxed,
        })
    }
}

/// Prepares `order`, whose output paths are locked by `locks`.
pub(super) fn prepare(
    shared: &Shared,
    order: &BuildOrder,
    asked: Asked,
    slot_number: u32,
    slot: HeldSlot,
    locks: OutputLocks,
) -> Result<Prepared, BuildError> {
    let (store, settings) = (&*shared.store, &shared.settings);
    let Asked {
        kind,
        attributes,
        rules,
        sandboxed,
    } = asked;
    let derivation = &order.derivation;
    let drv = shared.render(&order.drv_path);
    let roots = store
        .temp_roots()
        .map_err(BuildError::store("keep the inputs"))?;
    let known = derivation.outputs.values().filter_map(|o| o.path.as_ref());
    let known: BTreeSet<StorePath> = known.cloned().collect();
    roots
        .add_all(&known)
        .map_err(BuildError::store("keep the outputs"))?;
    if order.mode == BuildMode::Normal
        && let Some(outputs) = inputs::valid_outputs(store, order, kind)?
    {
        return Ok(Prepared::AlreadyValid(outputs));
    }
    let inputs = inputs::closure(store, derivation, &roots)?;
    let binds = binds(&settings.sandbox_paths, &order.sandbox_paths);
    let (bound, binds) = inputs::bound(store, binds, &roots)?;
    let graphs = inputs::graphs(store, &attributes, &inputs)?;

    let occupied = match sandboxed {
        true => BTreeSet::new(),
        false => store
            .valid_paths(&known)
            .map_err(BuildError::store("look for the outputs"))?,
    };
    let scratch = Scratch::choose(&order.drv_path, derivation, &occupied, store.store_dir())
        .map_err(BuildError::Scratch)?;
    if !sandboxed {
        remove_leftovers(store, &scratch).map_err(BuildError::Room)?;
    }
    let ids = settings.identities.of_slot(slot_number, sandboxed);
    let room = shared.rooms.room(ids, sandboxed);
    let room = room.map_err(BuildError::Room)?;
    let top = build_top(sandboxed, &room);
    let environment = Environment::of(
        derivation,
        &attributes,
        kind,
        graphs,
        &scratch.rewrites,
        Surroundings {
            store_dir: store.store_dir(),
            cores: order.cores.unwrap_or(settings.cores.get()),
            build_top: &top,
            impure: &settings.impure_env,
        },
    )
    .map_err(|source| BuildError::Environment {
        drv: drv.clone(),
        source,
    })?;
    for (name, contents) in &environment.files {
        room.write(name, contents).map_err(BuildError::Room)?;
    }
    let group = shared
        .cgroups
        .create(&settings.limits)
        .map_err(BuildError::Cgroup)?;
    let program = build_program(shared, derivation, &scratch, &room, &top)?;
    let request = Build {
        derivation,
        kind,
        program,
        environment: &environment,
        rewrites: &scratch.rewrites,
        sandboxed,
        room: &room,
        store: StoreView {
            dir: PathBuf::from(store.store_dir().as_str()),
            real: store.real_store_dir().to_owned(),
            inputs: visible(inputs.union(&bound), &known),
        },
        binds: unlike(binds, &known, shared),
        ids,
        cgroup: group.join(),
    }
    .request(settings);
    let plan = musher_sandbox::plan(&request).map_err(|source| BuildError::Plan {
        drv: drv.clone(),
        source,
    })?;
    let scratch = scratch.paths.into_iter().map(|(name, path)| {
        let location = match sandboxed {
            true => request.own_store().join(path.to_basename()),
            false => store.real_path(&path),
        };
        (name, ScratchOutput { path, location })
    });
    let facts = Facts {
        kind,
        builtin: is_builtin(derivation),
        sandboxed,
        scratch: scratch.collect(),
        inputs,
        rules,
        ids,
    };
    Ok(Prepared::Ready(Box::new(Ready {
        site: Site::new(room, group, locks, roots, slot),
        plan,
        facts,
    })))
}

/// Removes what an earlier build without a sandbox left where this one is to
/// write. None of it is valid, and its places are locked.
fn remove_leftovers(store: &LocalStore, scratch: &Scratch) -> Result<(), RoomError> {
    for path in scratch.paths.values() {
        let real = store.real_path(path);
        remove_tree(&real).map_err(RoomError::io("remove", &real))?;
    }
    Ok(())
}

/// The names the build sees in the store. An output that is valid may be among
/// what a sandbox path needs: the build is to make its own.
fn visible<'a>(
    paths: impl Iterator<Item = &'a StorePath>,
    outputs: &BTreeSet<StorePath>,
) -> BTreeSet<String> {
    paths
        .filter(|path| !outputs.contains(path))
        .map(StorePath::to_basename)
        .collect()
}

/// What the machine has builds see, `own`, and what this one is to see besides.
/// The latter stands for whatever the machine has in the same place or below
/// it: with a `/bin` of somebody's choice there is a shell already.
fn binds(own: &[Bind], given: &[Bind]) -> Vec<Bind> {
    let stands = |bind: &&Bind| !given.iter().any(|it| bind.target.starts_with(&it.target));
    own.iter().filter(stands).chain(given).cloned().collect()
}

/// Those of `binds` that are not seen where an output is to be.
fn unlike(binds: Vec<Bind>, outputs: &BTreeSet<StorePath>, shared: &Shared) -> Vec<Bind> {
    let outputs: BTreeSet<_> = outputs
        .iter()
        .map(|path| PathBuf::from(shared.render(path)))
        .collect();
    let binds = binds.into_iter();
    binds
        .filter(|bind| !outputs.contains(&bind.target))
        .collect()
}

/// The program to run. What a builtin is to do is written to its build
/// directory: it is the derivation with what the machine lends it, which may
/// be more than fits an argument.
fn build_program(
    shared: &Shared,
    derivation: &BasicDerivation,
    scratch: &Scratch,
    room: &Room,
    top: &str,
) -> Result<BuildProgram, BuildError> {
    // One that does not exist says so in its log, and fails.
    let Some(name) = derivation.builder.strip_prefix(BUILTIN) else {
        return Ok(BuildProgram::Own);
    };
    let settings = &shared.settings;
    let program = settings.builtins.clone().ok_or(BuildError::NoBuiltins)?;
    let outputs = scratch.paths.iter();
    let outputs = outputs.map(|(name, path)| (name.clone(), PathBuf::from(shared.render(path))));
    let hosted = match Builtin::of_name(name) {
        Ok(Builtin::FetchUrl) => Hosted {
            netrc: lent(settings.netrc.as_deref())?,
            certificates: lent(settings.certificates.as_deref())?,
        },
        Ok(Builtin::UnpackChannel | Builtin::BuildEnv) | Err(_) => Hosted::default(),
    };
    let order = BuiltinOrder::new(derivation, outputs.collect(), hosted);
    room.write(BUILTIN_ORDER, &order.to_json())
        .map_err(BuildError::Room)?;
    let args = ["builtin", name, &format!("{top}/{BUILTIN_ORDER}")];
    Ok(BuildProgram::Builtin {
        program,
        args: args.map(OsString::from).into(),
    })
}

/// The contents of a file of the machine's that may be missing, or for others
/// than us.
fn lent(path: Option<&Path>) -> Result<Option<String>, BuildError> {
    let Some(path) = path else { return Ok(None) };
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_withheld(&error) => Ok(None),
        Err(source) => Err(BuildError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn is_withheld(error: &std::io::Error) -> bool {
    let kinds = [ErrorKind::NotFound, ErrorKind::PermissionDenied];
    kinds.contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_keeps_to_itself_is_not_lent() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("netrc");
        assert_eq!(lent(Some(&path)).expect("nothing"), None);
        fs::write(&path, "machine x").expect("written");
        let text = lent(Some(&path)).expect("text");
        assert_eq!(text.as_deref(), Some("machine x"));
        assert!(lent(Some(dir.path())).is_err());
        assert!(is_withheld(&ErrorKind::PermissionDenied.into()));
    }
}
