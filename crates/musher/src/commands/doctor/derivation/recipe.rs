//! A derivation as it lies on disk, and what it needs of a machine.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use musher_scheduler::Needs;
use musher_store::url::{DaemonStore, StoreUrl};
use nix_derivation::{Derivation, Output, StoreDir, StorePath};

use crate::failure::Failure;

/// A derivation that was read.
pub(super) struct Recipe(Derivation);

#[derive(Debug, thiserror::Error)]
enum RecipeError {
    #[error("cannot read the derivation `{}`", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("`{}` is not called like a derivation", file.display())]
    Name { file: PathBuf },
    #[error("`{}` is no derivation", file.display())]
    Parse {
        file: PathBuf,
        source: nix_derivation::Error,
    },
    #[error("the home store has a bad store directory `{dir}`")]
    StoreDir {
        dir: String,
        source: nix_derivation::store_path::Error,
    },
}

impl Recipe {
    /// Reads `file`; the store directory is that of `home_store`.
    pub(super) fn read(file: &Path, home_store: &StoreUrl) -> Result<Self, Failure> {
        Self::try_read(file, home_store).map_err(|error| {
            let help = "`nix-instantiate` and `nix path-info --derivation` print such files";
            let wants_help = matches!(error, RecipeError::Read { .. } | RecipeError::Name { .. });
            Failure::user(error).help(wants_help.then(|| help.to_owned()))
        })
    }

    fn try_read(file: &Path, home_store: &StoreUrl) -> Result<Self, RecipeError> {
        let path = || file.to_path_buf();
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".drv"))
            .ok_or_else(|| RecipeError::Name { file: path() })?;
        // In a store there is a hash before the name.
        let parsed = StorePath::from_basename(name.as_bytes());
        let name = parsed.map_or(name.to_owned(), |path| path.name().to_owned());
        let text = fs::read(file).map_err(|source| RecipeError::Read {
            file: path(),
            source,
        })?;
        let store_dir = store_dir(home_store)?;
        let derivation = Derivation::from_aterm_bytes_in(&text, &name, store_dir);
        derivation.map(Self).map_err(|source| RecipeError::Parse {
            file: path(),
            source,
        })
    }

    /// What it needs of a machine.
    pub(super) fn needs(&self) -> Needs {
        let mut features = self.required_features();
        // Nix requires it silently, where it does not know an output's path.
        let is_known = |output: &Output| {
            matches!(output, Output::InputAddressed { .. } | Output::Fixed { .. })
        };
        if !self.0.outputs().values().all(is_known) {
            features.insert("ca-derivations".to_owned());
        }
        Needs {
            system: self.0.system().to_owned(),
            features,
        }
    }

    /// `requiredSystemFeatures`: a list of structured attributes, or words.
    fn required_features(&self) -> BTreeSet<String> {
        const NAME: &str = "requiredSystemFeatures";
        if let Some(attrs) = self.0.structured_attrs() {
            let list = attrs.get(NAME).and_then(|value| value.as_array());
            let names = list.into_iter().flatten().filter_map(|name| name.as_str());
            return names.map(str::to_owned).collect();
        }
        let words = self.0.environment().get(NAME);
        let words = words.map(|words| String::from_utf8_lossy(words).into_owned());
        let words = words.unwrap_or_default();
        words.split_whitespace().map(str::to_owned).collect()
    }
}

fn store_dir(home_store: &StoreUrl) -> Result<StoreDir, RecipeError> {
    let dir = match home_store {
        StoreUrl::Ssh(store) => &store.store_dir,
        StoreUrl::Daemon(DaemonStore { params, .. })
        | StoreUrl::Auto(params)
        | StoreUrl::Local(params) => &params.store_dir,
    };
    let Some(dir) = dir else {
        return Ok(StoreDir::default());
    };
    let dir = dir.display().to_string();
    StoreDir::new(dir.clone()).map_err(|source| RecipeError::StoreDir { dir, source })
}

#[cfg(test)]
mod tests {
    use nix_derivation::{ContentAddressMethod, DerivationBuilder, HashAlgorithm, StructuredAttrs};

    use super::*;

    fn needs(change: impl FnOnce(DerivationBuilder) -> DerivationBuilder) -> String {
        let builder = DerivationBuilder::new("x", "x86_64-linux", "/bin/sh");
        let derivation = change(builder).build().expect("a derivation");
        Recipe(derivation.into_derivation()).needs().to_string()
    }

    #[test]
    fn features_are_words_of_the_environment() {
        let features = needs(|drv| {
            drv.input_addressed_output("out")
                .environment("requiredSystemFeatures", " kvm  big-parallel\n")
        });
        assert_eq!(
            features,
            "`x86_64-linux` with features `big-parallel`, `kvm`"
        );
    }

    #[test]
    fn features_are_a_list_of_structured_attributes() {
        let attrs = br#"{"requiredSystemFeatures":["kvm"]}"#.to_vec();
        let attrs = StructuredAttrs::from_json_bytes(attrs).expect("attributes");
        let features = needs(|drv| drv.input_addressed_output("out").structured_attrs(attrs));
        assert_eq!(features, "`x86_64-linux` with feature `kvm`");
    }

    #[test]
    fn floating_outputs_need_a_feature_of_their_own() {
        let output = Output::Floating {
            method: ContentAddressMethod::Nar,
            hash_algorithm: HashAlgorithm::Sha256,
        };
        let features = needs(|drv| drv.output("out", output));
        assert_eq!(features, "`x86_64-linux` with feature `ca-derivations`");
    }
}
