//! Whether the outputs of a derivation lie where its contents say. Where an
//! input-addressed output lies follows from all derivations below it; a
//! derivation that names another place would be built in a stranger's name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix_derivation::{
    Derivation, InputDerivationHash, InputResolutionError, Output, OutputPathHash, StorePath,
};

use super::LocalError;
use super::layout::Layout;

/// Hashes remembered, or somewhat more; at some 200 bytes each, 20 MB.
const MOST: usize = 100_000;

/// What derivations are when others need them, as far as it was worked out.
#[derive(Debug, Default)]
pub(super) struct DrvHashes(Mutex<BTreeMap<StorePath, InputDerivationHash>>);

/// An input that is not known, though all should be.
#[derive(Debug, thiserror::Error)]
#[error("the hash of an input is not known")]
struct Unknown;

impl DrvHashes {
    /// An error unless the outputs that `derivation` declares are its own. The
    /// files of its inputs have to be in place.
    pub(super) fn check(
        &self,
        drv_path: &StorePath,
        derivation: &Derivation,
        layout: &Layout,
    ) -> Result<(), LocalError> {
        if !is_input_addressed(derivation) {
            return Ok(());
        }
        if self.lock().len() >= MOST {
            self.lock().clear();
        }
        for input in derivation.input_derivations().keys() {
            self.learn(input, layout)?;
        }
        let hash = derivation.try_hash_output_path_modulo(|input| self.known(input));
        let hash = match hash.map_err(failed(drv_path, layout))? {
            OutputPathHash::Ready(hash) => hash,
            OutputPathHash::Deferred => return Err(not_its_own(drv_path, layout)),
        };
        for (name, output) in derivation.outputs() {
            let own = (layout.store_dir).build_output_path(hash, name, derivation.name());
            let is_own = match output {
                Output::InputAddressed { path } => own.is_ok_and(|own| own == *path),
                Output::Fixed { .. }
                | Output::Floating { .. }
                | Output::Deferred
                | Output::Impure { .. } => true,
            };
            if !is_own {
                return Err(not_its_own(drv_path, layout));
            }
        }
        Ok(())
    }

    /// Works out what the derivation at `drv_path` is as an input. Its own inputs
    /// come first; there may be thousands behind each other.
    fn learn(&self, drv_path: &StorePath, layout: &Layout) -> Result<(), LocalError> {
        let mut open = vec![drv_path.clone()];
        let mut read: BTreeMap<StorePath, Derivation> = BTreeMap::new();
        let mut begun = BTreeSet::new();
        while let Some(path) = open.last().cloned() {
            if self.known(&path).is_ok() {
                open.pop();
                continue;
            }
            let derivation = match read.remove(&path) {
                Some(derivation) => derivation,
                None => read_derivation(&path, layout)?,
            };
            if begun.insert(path.clone()) && is_input_addressed(&derivation) {
                let inputs = derivation.input_derivations().keys();
                open.extend(inputs.filter(|input| self.known(input).is_err()).cloned());
                read.insert(path, derivation);
                continue;
            }
            // Its inputs are known by now, unless it is one of theirs.
            let hash = derivation.try_hash_input_derivation_modulo(|input| self.known(input));
            let hash = hash.map_err(failed(&path, layout))?;
            self.lock().insert(path, hash);
            open.pop();
        }
        Ok(())
    }

    fn known(&self, drv_path: &StorePath) -> Result<InputDerivationHash, Unknown> {
        self.lock().get(drv_path).copied().ok_or(Unknown)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StorePath, InputDerivationHash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the derivation in the file of `drv_path`, valid or about to be.
pub(super) fn read_derivation(
    drv_path: &StorePath,
    layout: &Layout,
) -> Result<Derivation, LocalError> {
    let file = layout.real_path(drv_path);
    let bytes = fs::read(&file).map_err(LocalError::io("read", &file))?;
    let name = drv_path.name();
    let name = name.strip_suffix(".drv").unwrap_or(name);
    let derivation = Derivation::from_aterm_bytes_in(&bytes, name, layout.store_dir.clone());
    derivation.map_err(|source| LocalError::Derivation {
        path: layout.render(drv_path),
        source,
    })
}

/// Whether its outputs lie where its contents say; all of them do, or none.
fn is_input_addressed(derivation: &Derivation) -> bool {
    let mut outputs = derivation.outputs().values();
    outputs.any(|output| matches!(output, Output::InputAddressed { .. }))
}

fn failed(
    drv_path: &StorePath,
    layout: &Layout,
) -> impl FnOnce(InputResolutionError<Unknown>) -> LocalError {
    let path = layout.render(drv_path);
    |error| match error {
        InputResolutionError::Derivation(source) => LocalError::Derivation { path, source },
        // What is not known is waited for, so it needs what needs it.
        InputResolutionError::Resolve { .. } => LocalError::Cycle { path },
        _ => LocalError::Cycle { path },
    }
}

fn not_its_own(drv_path: &StorePath, layout: &Layout) -> LocalError {
    LocalError::FalseOutputs {
        path: layout.render(drv_path),
    }
}

#[cfg(test)]
mod tests {
    use nix_derivation::{DerivationBuilder, InputDerivation, StoreDir, ValidatedDerivation};

    use super::*;
    use crate::local::LocalOptions;

    struct Scene {
        layout: Layout,
        _dir: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let layout = Layout::new(&LocalOptions::below(dir.path())).expect("a layout");
            layout.create().expect("directories");
            Self { layout, _dir: dir }
        }

        fn write(&self, path: &StorePath, text: &[u8]) {
            fs::write(self.layout.real_path(path), text).expect("a file");
        }

        fn check(&self, drv_path: &StorePath) -> Result<(), String> {
            let derivation = read_derivation(drv_path, &self.layout).expect("a derivation");
            let checked = DrvHashes::default().check(drv_path, &derivation, &self.layout);
            checked.map_err(|error| error.to_string())
        }
    }

    /// A derivation behind 3,000 others.
    fn chain(scene: &Scene) -> (StorePath, ValidatedDerivation) {
        let mut last: Option<(StorePath, InputDerivationHash)> = None;
        for number in 0..=3_000 {
            let mut builder =
                DerivationBuilder::new(format!("link-{number}"), "x86_64-linux", "/bin/sh")
                    .input_addressed_output("out");
            let hash = last.as_ref().map(|(_, hash)| *hash);
            if let Some((path, _)) = last.take() {
                builder = builder.input_derivation(path, InputDerivation::new(["out"]));
            }
            let known = |_: &StorePath| hash.expect("only the one before is asked for");
            let drv = builder.build_with_input_hashes(known).expect("a link");
            scene.write(&drv.drv_path(), &drv.to_aterm_bytes());
            if number == 3_000 {
                return (drv.drv_path(), drv);
            }
            let hash = drv.hash_input_derivation_modulo(known).expect("a hash");
            last = Some((drv.drv_path(), hash));
        }
        unreachable!("the loop returns")
    }

    #[test]
    fn outputs_follow_from_all_that_is_below() {
        let scene = Scene::new();
        let (drv_path, drv) = chain(&scene);
        assert_eq!(scene.check(&drv_path), Ok(()));

        let own = drv.resolved_outputs()["out"].path.clone();
        let own = own.expect("a path").to_absolute_path();
        let other = StorePath::from_parts([1; 20], "link-3000").expect("a path");
        let text = String::from_utf8(drv.to_aterm_bytes()).expect("text");
        let text = text.replace(&own, &other.to_absolute_path());
        scene.write(&drv_path, text.as_bytes());
        let error = scene.check(&drv_path).expect_err("a refusal");
        assert!(error.contains("not its own"), "{error}");
    }

    #[test]
    fn derivations_that_need_each_other_are_refused() {
        let scene = Scene::new();
        let path = |name| StorePath::from_parts([2; 20], name).expect("a path");
        let (one, two) = (path("one.drv"), path("two.drv"));
        for (path, input) in [(&one, &two), (&two, &one)] {
            let output = StoreDir::default().render_path(&two);
            let input = StoreDir::default().render_path(input);
            let text = format!(
                "Derive([(\"out\",\"{output}\",\"\",\"\")],[(\"{input}\",[\"out\"])],[],\
                 \"x86_64-linux\",\"/bin/sh\",[],[])"
            );
            scene.write(path, text.as_bytes());
        }
        let error = scene.check(&one).expect_err("a refusal");
        assert!(error.contains("lead back to it"), "{error}");
    }
}
