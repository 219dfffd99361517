//! What the store says before a build: which inputs it has, which outputs it
//! has already, what reference graphs look like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use musher_protocol::types::{BasicDerivation, BuiltOutput, PathInfo};
use musher_sandbox::Bind;
use musher_store::local::{LocalStore, RealisationKey, TempRoots};
use nix_derivation::{Derivation, StorePath};

use super::BuildOrder;
use super::attributes::Attributes;
use super::environment::Graphs;
use super::error::BuildError;
use super::kind::Kind;
use super::reference_graph::{self, GraphError, GraphStore};
use crate::outputs;

/// The closure of the sources of `derivation`, all of it kept by `roots`.
pub(super) fn closure(
    store: &LocalStore,
    derivation: &BasicDerivation,
    roots: &TempRoots,
) -> Result<BTreeSet<StorePath>, BuildError> {
    let sources = &derivation.input_sources;
    // Kept before they are looked for: what is found then stays.
    roots
        .add_all(sources)
        .map_err(BuildError::store("keep the inputs"))?;
    let valid = store
        .valid_paths(sources)
        .map_err(BuildError::store("look for the inputs"))?;
    if let Some(missing) = sources.difference(&valid).next() {
        return Err(BuildError::MissingInput {
            path: store.store_dir().render_path(missing),
        });
    }
    let infos = store
        .closure(sources)
        .map_err(BuildError::store("look for what the inputs need"))?;
    Ok(infos.into_iter().map(|info| info.path).collect())
}

/// The outputs of `order`, whose derivation is of `kind`, if all are valid.
pub(super) fn valid_outputs(
    store: &LocalStore,
    order: &BuildOrder,
    kind: Kind,
) -> Result<Option<BTreeMap<String, BuiltOutput>>, BuildError> {
    if kind == Kind::Impure {
        return Ok(None);
    }
    let drv_hash = outputs::own_drv_hash(store.store_dir(), &order.drv_path, &order.derivation)
        .map_err(|source| BuildError::Outputs {
            drv: store.store_dir().render_path(&order.drv_path),
            source: Box::new(source),
        })?;
    let key = RealisationKey::Hash(drv_hash.clone());
    let mut found = BTreeMap::new();
    for (name, output) in &order.derivation.outputs {
        let (path, signatures) = match &output.path {
            Some(path) => (path.clone(), BTreeSet::new()),
            None => match store
                .realisation(&key, name)
                .map_err(BuildError::store("look for a realisation"))?
            {
                Some(known) => (known.path, known.signatures),
                None => return Ok(None),
            },
        };
        let built = BuiltOutput {
            drv_hash: Some(drv_hash.clone()),
            path,
            signatures,
            dependent_realisations: BTreeMap::new(),
        };
        found.insert(name.clone(), built);
    }
    let paths = found.values().map(|output| output.path.clone()).collect();
    let valid = store
        .valid_paths(&paths)
        .map_err(BuildError::store("look for the outputs"))?;
    Ok((valid == paths).then_some(found))
}

/// The closure of those of `binds` that lie in the store, and the binds with
/// their places on this machine.
pub(super) fn bound(
    store: &LocalStore,
    mut binds: Vec<Bind>,
    roots: &TempRoots,
) -> Result<(BTreeSet<StorePath>, Vec<Bind>), BuildError> {
    let mut found = BTreeSet::new();
    for bind in &mut binds {
        let Some((path, rest)) = in_store(store, bind) else {
            continue;
        };
        roots
            .add(&path)
            .map_err(BuildError::store("keep a sandbox path"))?;
        if !store
            .is_valid(&path)
            .map_err(BuildError::store("look for a sandbox path"))?
        {
            continue;
        }
        let infos = store
            .closure([&path])
            .map_err(BuildError::store("look for what a sandbox path needs"))?;
        found.extend(infos.into_iter().map(|info| info.path));
        bind.source = store.real_path(&path).join(rest);
    }
    Ok((found, binds))
}

/// The store path that the source of `bind` is in, and where below it.
fn in_store(store: &LocalStore, bind: &Bind) -> Option<(StorePath, std::path::PathBuf)> {
    let below = bind.source.strip_prefix(store.store_dir().as_str()).ok()?;
    let mut parts = below.components();
    let name = parts.next()?.as_os_str().to_str()?;
    let path = StorePath::from_basename(name.as_bytes()).ok()?;
    Some((path, parts.as_path().to_owned()))
}

/// The reference graphs that `attributes` ask for.
pub(super) fn graphs(
    store: &LocalStore,
    attributes: &Attributes,
    inputs: &BTreeSet<StorePath>,
) -> Result<Graphs, BuildError> {
    let store_dir = store.store_dir();
    let graphs = attributes.export_references_graph.iter();
    let closures = graphs.map(|(name, roots)| {
        let closure = reference_graph::gather(&Graphed(store), store_dir, roots, inputs)
            .map_err(BuildError::Graph)?;
        Ok((name.clone(), closure))
    });
    let closures: BTreeMap<_, _> = closures.collect::<Result<_, BuildError>>()?;
    let closures = closures.into_iter();
    Ok(match attributes.structured {
        Some(_) => Graphs::Json(
            closures
                .map(|(name, closure)| (name, reference_graph::as_json(&closure, store_dir)))
                .collect(),
        ),
        None => Graphs::Text(
            closures
                .map(|(name, closure)| (name, reference_graph::as_text(&closure, store_dir)))
                .collect(),
        ),
    })
}

/// A store that is asked for graphs.
struct Graphed<'a>(&'a LocalStore);

impl GraphStore for Graphed<'_> {
    fn closure(&self, roots: &BTreeSet<StorePath>) -> Result<Vec<PathInfo>, GraphError> {
        let infos = self.0.closure(roots);
        infos.map_err(|source| GraphError::Store(source.into()))
    }

    fn derivation(&self, path: &StorePath) -> Result<Derivation, GraphError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| GraphError::Derivation {
            path: self.0.store_dir().render_path(path),
            source,
        };
        let name = path.name();
        let name = name.strip_suffix(".drv").unwrap_or(name);
        let bytes = fs::read(self.0.real_path(path)).map_err(|error| failed(error.into()))?;
        Derivation::from_aterm_bytes_in(&bytes, name, self.0.store_dir().clone())
            .map_err(|error| failed(error.into()))
    }
}
