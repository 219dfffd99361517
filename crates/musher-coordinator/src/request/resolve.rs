//! From a derivation of the store to what a builder is given: its inputs' paths
//! instead of its input derivations, and where these were not known when it was
//! made, its text with the paths in their places. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use musher_protocol::types::{BasicDerivation, BasicOutput};
use nix_derivation::{
    CAHash, ContentAddressMethod, Derivation, DynamicInputResolution, DynamicOutputReplacement,
    HashAlgorithm, InputDerivation, InputDerivationHash, Output, StorePath,
};

use super::graph::{Outputs, Recipe};

/// Why a derivation cannot be built by us.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// It needs outputs of a derivation that is itself an output.
    #[error(
        "`{drv}` needs outputs of a derivation that is itself built, which is not possible yet"
    )]
    Dynamic {
        /// Its name.
        drv: String,
    },
    /// One of its outputs is impure.
    #[error("output `{output}` of `{drv}` is impure, which is not possible yet")]
    Impure {
        /// Its name.
        drv: String,
        /// The output.
        output: String,
    },
    /// It contradicts itself.
    #[error("`{drv}` is not acceptable")]
    Invalid {
        /// Its name.
        drv: String,
        /// How.
        #[source]
        source: nix_derivation::Error,
    },
}

/// A derivation that can be built now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Its path: another than the original's where paths were filled in.
    pub(crate) drv_path: StorePath,
    /// What a builder is given.
    pub(crate) derivation: BasicDerivation,
}

/// What the graph needs to know of `derivation`.
pub(crate) fn recipe(derivation: &Derivation) -> Result<Recipe, ResolveError> {
    let drv = || derivation.name().to_owned();
    if derivation
        .input_derivations()
        .values()
        .any(InputDerivation::is_dynamic)
    {
        return Err(ResolveError::Dynamic { drv: drv() });
    }
    for (output, kind) in derivation.outputs() {
        if matches!(kind, Output::Impure { .. }) {
            let output = output.clone();
            return Err(ResolveError::Impure { drv: drv(), output });
        }
    }
    let outputs = derivation.resolved_outputs();
    let outputs = outputs.map_err(|source| ResolveError::Invalid { drv: drv(), source })?;
    let inputs = derivation.input_derivations().iter();
    Ok(Recipe {
        outputs: (outputs.into_iter())
            .map(|(name, output)| (name, output.path))
            .collect(),
        inputs: inputs
            .map(|(path, input)| (path.clone(), input.outputs().clone()))
            .collect(),
    })
}

/// What a builder is given for the derivation at `drv_path`, whose inputs have
/// these paths. `unforeseen` are those of them that were not known when it was
/// made.
pub(crate) fn resolve(
    drv_path: &StorePath,
    derivation: &Derivation,
    inputs: &BTreeMap<StorePath, Outputs>,
    unforeseen: &BTreeSet<StorePath>,
) -> Result<Resolved, ResolveError> {
    let is_deferred = |output: &Output| matches!(output, Output::Deferred);
    let is_plain = unforeseen.is_empty() && !derivation.outputs().values().any(is_deferred);
    if is_plain {
        let paths = inputs.values().flat_map(BTreeMap::values).cloned();
        return Ok(Resolved {
            drv_path: drv_path.clone(),
            derivation: basic(derivation, paths)?,
        });
    }
    let invalid = |source| ResolveError::Invalid {
        drv: derivation.name().to_owned(),
        source,
    };
    let mut resolution = DynamicInputResolution::default();
    for (input, outputs) in inputs {
        for (name, path) in outputs {
            resolution.input_sources.insert(path.clone());
            if unforeseen.contains(input) {
                resolution.replacements.push(DynamicOutputReplacement {
                    base_derivation: input.clone(),
                    output_chain: vec![name.clone()],
                    realised_path: path.clone(),
                });
            }
        }
    }
    // That its paths could not be known is all there is to say of its inputs.
    let checked = derivation.clone();
    let checked = checked.into_validated_with_input_hashes(|_| InputDerivationHash::Deferred);
    let resolved = checked
        .and_then(|checked| checked.resolve_dynamic_inputs(resolution))
        .map_err(invalid)?;
    Ok(Resolved {
        drv_path: resolved.drv_path(),
        derivation: basic(&resolved, [])?,
    })
}

/// `derivation` with `inputs` beside its sources.
pub(crate) fn basic(
    derivation: &Derivation,
    inputs: impl IntoIterator<Item = StorePath>,
) -> Result<BasicDerivation, ResolveError> {
    let paths = derivation.resolved_outputs();
    let paths = paths.map_err(|source| ResolveError::Invalid {
        drv: derivation.name().to_owned(),
        source,
    })?;
    let outputs = paths.into_iter().map(|(name, resolved)| {
        let (hash_algo, hash) = match &derivation.outputs()[&name] {
            Output::InputAddressed { .. } | Output::Deferred => (String::new(), String::new()),
            Output::Fixed { ca } => fixed(ca),
            Output::Floating {
                method,
                hash_algorithm,
            } => (
                method_and_algorithm(*method, *hash_algorithm),
                String::new(),
            ),
            Output::Impure {
                method,
                hash_algorithm,
            } => (
                method_and_algorithm(*method, *hash_algorithm),
                "impure".to_owned(),
            ),
        };
        let output = BasicOutput {
            path: resolved.path,
            hash_algo,
            hash,
        };
        (name, output)
    });
    let mut env = derivation.environment().clone();
    if let Some(attrs) = derivation.structured_attrs() {
        env.insert("__json".to_owned(), attrs.raw_json().to_vec());
    }
    Ok(BasicDerivation {
        outputs: outputs.collect(),
        input_sources: (derivation.input_sources().iter().cloned())
            .chain(inputs)
            .collect(),
        system: derivation.system().to_owned(),
        builder: derivation.builder().to_owned(),
        args: derivation.arguments().to_vec(),
        env,
    })
}

/// `r:sha256` and the digest in base 16, as in a `.drv` file.
fn fixed(ca: &CAHash) -> (String, String) {
    let hash = ca.hash();
    let mut digest = String::new();
    for byte in hash.digest_as_bytes() {
        // Writing into a string cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    (method_and_algorithm(ca.method(), hash.algorithm()), digest)
}

fn method_and_algorithm(method: ContentAddressMethod, algorithm: HashAlgorithm) -> String {
    let prefix = match method {
        ContentAddressMethod::Flat => "",
        ContentAddressMethod::Nar => "r:",
        ContentAddressMethod::Text => "text:",
        ContentAddressMethod::Git => "git:",
    };
    format!("{prefix}{}", algorithm.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use nix_derivation::{
        ContentAddressMethod, Derivation, DerivationBuilder, HashAlgorithm, InputDerivation,
        InputDerivationHash, Output, StorePath, store_path::downstream_placeholder,
    };

    use super::{recipe, resolve};
    use crate::testing::path;

    const FLOATING: Output = Output::Floating {
        method: ContentAddressMethod::Nar,
        hash_algorithm: HashAlgorithm::Sha256,
    };

    fn derivation(output: Output, input: &StorePath, argument: &str) -> Derivation {
        let builder = DerivationBuilder::new("app", "x86_64-linux", "/bin/sh")
            .output("out", output)
            .input_derivation(input.clone(), InputDerivation::new(["out"]))
            .input_source(path("src"))
            .argument(argument);
        let built = builder.build_with_input_hashes(|_| InputDerivationHash::Deferred);
        built.expect("a derivation").into_derivation()
    }

    fn inputs(input: &StorePath) -> BTreeMap<StorePath, BTreeMap<String, StorePath>> {
        let outputs = BTreeMap::from([("out".to_owned(), path("lib"))]);
        BTreeMap::from([(input.clone(), outputs)])
    }

    #[test]
    fn inputs_become_sources_and_the_rest_stays() {
        let lib = path("lib.drv");
        let derivation = derivation(FLOATING, &lib, "plain");
        let drv_path = path("app.drv");
        let resolved = resolve(&drv_path, &derivation, &inputs(&lib), &BTreeSet::new());
        let resolved = resolved.expect("acceptable");
        assert_eq!(resolved.drv_path, drv_path);
        let given = resolved.derivation;
        assert_eq!(given.input_sources, [path("lib"), path("src")].into());
        assert_eq!(given.outputs["out"].hash_algo, "r:sha256");
        assert!(given.outputs["out"].path.is_none());
    }

    #[test]
    fn paths_that_nobody_foresaw_are_filled_in() {
        let lib = path("lib.drv");
        let placeholder = downstream_placeholder(&lib, ["out"]).expect("a name");
        let derivation = derivation(Output::Deferred, &lib, &format!("use {placeholder}"));
        assert_eq!(recipe(&derivation).expect("one").outputs["out"], None);
        let unforeseen = BTreeSet::from([lib.clone()]);
        let resolved = resolve(&path("app.drv"), &derivation, &inputs(&lib), &unforeseen);
        let resolved = resolved.expect("acceptable");
        assert_ne!(resolved.drv_path, path("app.drv"));
        let given = resolved.derivation;
        assert_eq!(
            given.args,
            [format!("use {}", path("lib").to_absolute_path())]
        );
        assert!(given.outputs["out"].path.is_some());
    }
}
