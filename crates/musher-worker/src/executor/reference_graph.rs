//! What `exportReferencesGraph` tells a build about paths it may read: their
//! closure, as text (the registration format of `nix-store --load-db`) or as
//! JSON. Which paths belong to it is asked of a store; how it is written is
//! decided here.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::PathInfo;
use nix_derivation::{Derivation, StoreDir, StorePath};
use serde_json::{Value, json};

/// Paths with their metadata, closed under references.
pub(crate) type Closure = BTreeMap<StorePath, PathInfo>;

/// The paths of a reference graph cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GraphError {
    /// Only inputs can be asked about.
    #[error(
        "cannot export references of path '{path}' because it is not in the input closure of the derivation"
    )]
    NotAnInput {
        /// The path.
        path: String,
    },
    /// A derivation in the closure whose outputs are not known.
    #[error("cannot export references of derivation '{path}', whose output paths are not known")]
    UnknownOutputs {
        /// The derivation.
        path: String,
    },
    /// A derivation in the closure cannot be read.
    #[error("cannot read derivation `{path}`")]
    Derivation {
        /// The derivation.
        path: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store does not answer.
    #[error("cannot ask the store for a closure")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a graph needs to know of a store.
pub(crate) trait GraphStore {
    /// The closure of `roots`, which are valid.
    fn closure(&self, roots: &BTreeSet<StorePath>) -> Result<Vec<PathInfo>, GraphError>;
    /// The bytes of the file `path`, a derivation.
    fn derivation(&self, path: &StorePath) -> Result<Derivation, GraphError>;
}

/// The paths of the graph of `roots`: their closure, and that of the outputs of
/// every derivation in it, as one wants who builds an installation medium.
pub(crate) fn gather(
    store: &dyn GraphStore,
    store_dir: &StoreDir,
    roots: &BTreeSet<StorePath>,
    inputs: &BTreeSet<StorePath>,
) -> Result<Closure, GraphError> {
    if let Some(stranger) = roots.iter().find(|root| !inputs.contains(root)) {
        return Err(GraphError::NotAnInput {
            path: store_dir.render_path(stranger),
        });
    }
    let mut closure = Closure::new();
    add(&mut closure, store.closure(roots)?);
    let derivations: Vec<_> = closure
        .keys()
        .filter(|path| path.is_derivation())
        .cloned()
        .collect();
    for path in derivations {
        let outputs = store
            .derivation(&path)?
            .resolved_outputs()
            .map_err(|source| GraphError::Derivation {
                path: store_dir.render_path(&path),
                source: source.into(),
            })?;
        let mut known = BTreeSet::new();
        for output in outputs.into_values() {
            known.insert(output.path.ok_or_else(|| GraphError::UnknownOutputs {
                path: store_dir.render_path(&path),
            })?);
        }
        add(&mut closure, store.closure(&known)?);
    }
    Ok(closure)
}

fn add(closure: &mut Closure, infos: Vec<PathInfo>) {
    closure.extend(infos.into_iter().map(|info| (info.path.clone(), info)));
}

/// The graph as text: for each path a line each for itself, its deriver (left
/// empty), the number of its references, and every reference.
pub(crate) fn as_text(closure: &Closure, store_dir: &StoreDir) -> Vec<u8> {
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    for info in closure.values() {
        line(&store_dir.render_path(&info.path));
        line("");
        line(&info.references.len().to_string());
        for reference in &info.references {
            line(&store_dir.render_path(reference));
        }
    }
    text.into_bytes()
}

/// The graph as a list of objects, one a path. What they hold is fixed: builds
/// depend on it.
pub(crate) fn as_json(closure: &Closure, store_dir: &StoreDir) -> Value {
    closure
        .values()
        .map(|info| {
            let references: Vec<_> = info
                .references
                .iter()
                .map(|reference| store_dir.render_path(reference))
                .collect();
            let mut object = json!({
                "closureSize": closure_size(closure, &info.path),
                "narHash": info.nar_hash.to_string(),
                "narSize": info.nar_size,
                "path": store_dir.render_path(&info.path),
                "references": references,
                "valid": true,
            });
            if let Some(ca) = &info.ca {
                object["ca"] = ca.to_nix_string().into();
            }
            object
        })
        .collect()
}

/// The sum of the NAR sizes of everything that `root` needs.
fn closure_size(closure: &Closure, root: &StorePath) -> u64 {
    let mut seen = BTreeSet::from([root]);
    let mut queue = vec![root];
    let mut size: u64 = 0;
    while let Some(info) = queue.pop().and_then(|path| closure.get(path)) {
        size = size.saturating_add(info.nar_size);
        queue.extend(info.references.iter().filter(|path| seen.insert(path)));
    }
    size
}

#[cfg(test)]
mod tests {
    use musher_protocol::types::NarHash;

    use super::*;

    fn path(digest: u8, name: &str) -> StorePath {
        StorePath::from_parts([digest; 20], name).expect("a path")
    }

    fn info(path: &StorePath, nar_size: u64, references: &[&StorePath]) -> PathInfo {
        PathInfo {
            path: path.clone(),
            deriver: None,
            nar_hash: NarHash([0; 32]),
            nar_size,
            references: references.iter().copied().cloned().collect(),
            registration_time: 0,
            ultimate: false,
            signatures: BTreeSet::new(),
            ca: None,
        }
    }

    /// Every path refers to the next, the last to itself.
    struct Chain(Vec<PathInfo>);

    impl GraphStore for Chain {
        fn closure(&self, roots: &BTreeSet<StorePath>) -> Result<Vec<PathInfo>, GraphError> {
            let first = self
                .0
                .iter()
                .position(|info| roots.contains(&info.path))
                .expect("a root");
            Ok(self.0[first..].to_vec())
        }

        fn derivation(&self, path: &StorePath) -> Result<Derivation, GraphError> {
            Err(GraphError::UnknownOutputs {
                path: path.to_absolute_path(),
            })
        }
    }

    fn chain() -> (Chain, Vec<StorePath>) {
        let paths = vec![path(1, "a"), path(2, "b"), path(3, "c")];
        let store = Chain(vec![
            info(&paths[0], 1, &[&paths[1]]),
            info(&paths[1], 10, &[&paths[2]]),
            info(&paths[2], 100, &[&paths[2]]),
        ]);
        (store, paths)
    }

    #[test]
    fn a_graph_is_written_as_text_and_as_json() {
        let (store, paths) = chain();
        let inputs: BTreeSet<_> = paths.iter().cloned().collect();
        let roots = BTreeSet::from([paths[1].clone()]);
        let dir = StoreDir::default();
        let closure = gather(&store, &dir, &roots, &inputs).expect("a graph");
        let text = String::from_utf8(as_text(&closure, &dir)).expect("text");
        let (b, c) = (&paths[1], &paths[2]);
        assert_eq!(text, format!("{b}\n\n1\n{c}\n{c}\n\n1\n{c}\n"));
        let json = as_json(&closure, &dir);
        assert_eq!(json[0]["closureSize"], 110);
        assert_eq!(json[1]["closureSize"], 100);
        assert_eq!(json[1]["references"], json!([c.to_absolute_path()]));
        assert_eq!(json[0]["valid"], true);
        assert_eq!(json[0].get("ca"), None);
        let hash = "sha256:0000000000000000000000000000000000000000000000000000";
        assert_eq!(json[0]["narHash"], hash);
    }

    #[test]
    fn only_inputs_can_be_asked_about() {
        let (store, paths) = chain();
        let roots = BTreeSet::from([paths[1].clone()]);
        let error = gather(&store, &StoreDir::default(), &roots, &BTreeSet::new());
        assert!(matches!(error, Err(GraphError::NotAnInput { .. })));
    }
}
