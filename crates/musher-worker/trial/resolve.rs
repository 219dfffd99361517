//! Derivations with the outputs of their inputs for sources, as Nix resolves
//! them before they are built.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use musher_protocol::types::{BasicDerivation, BasicOutput};
use nix_derivation::store_path::downstream_placeholder;
use nix_derivation::{
    ContentAddressMethod, Derivation, HashAlgorithm, Output, StoreDir, StorePath, StructuredAttrs,
};

/// The outputs that were built, by derivation and name.
pub(crate) type Built = BTreeMap<(StorePath, String), StorePath>;

/// The derivation in `file`, which is named as in a store.
pub(crate) fn read(store_dir: &StoreDir, file: &Path) -> (StorePath, Derivation) {
    let name = file.file_name().expect("a name");
    let path = StorePath::from_basename(name.as_encoded_bytes()).expect("a store path");
    let bytes = fs::read(file).expect("a derivation");
    let name = path.name().strip_suffix(".drv").expect("a derivation");
    let derivation = Derivation::from_aterm_bytes_in(&bytes, name, store_dir.clone());
    (path, derivation.expect("a derivation"))
}

/// What is built for the derivation at `path`, and under which name; none if
/// an input of it was not built.
pub(crate) fn resolve(
    path: &StorePath,
    derivation: Derivation,
    built: &Built,
) -> Option<(StorePath, BasicDerivation)> {
    let mut sources = derivation.input_sources().clone();
    let mut rewrites = Vec::new();
    for (input, wanted) in derivation.input_derivations() {
        for output in wanted.outputs() {
            let made = built.get(&(input.clone(), output.clone()))?;
            sources.insert(made.clone());
            let placeholder = downstream_placeholder(input, [output]).expect("a placeholder");
            rewrites.push((placeholder, derivation.store_dir().render_path(made)));
        }
    }
    let known =
        |output: &Output| matches!(output, Output::InputAddressed { .. } | Output::Fixed { .. });
    if derivation.outputs().values().all(known) {
        let basic = BasicDerivation {
            input_sources: sources,
            ..basic(&derivation)
        };
        return Some((path.clone(), basic));
    }
    let rewrite = |text: &str| {
        let replace = |text: String, (from, to): &(String, String)| text.replace(from, to);
        rewrites.iter().fold(text.to_owned(), replace)
    };
    let mut resolved = derivation.into_builder();
    resolved.input_derivations_mut().clear();
    *resolved.input_sources_mut() = sources;
    *resolved.builder_mut() = rewrite(resolved.builder());
    for arg in resolved.arguments_mut() {
        *arg = rewrite(arg);
    }
    for value in resolved.environment_mut().values_mut() {
        // Only text holds placeholders.
        if let Ok(text) = std::str::from_utf8(value) {
            *value = rewrite(text).into_bytes();
        }
    }
    if let Some(attributes) = resolved.structured_attrs_mut() {
        let json = rewrite(&String::from_utf8_lossy(attributes.canonical_json()));
        *attributes = StructuredAttrs::from_json_bytes(json).expect("attributes");
    }
    let resolved = resolved.build().expect("a derivation");
    Some((resolved.drv_path(), basic(&resolved)))
}

/// `derivation` without its input derivations.
fn basic(derivation: &Derivation) -> BasicDerivation {
    let mut env = derivation.environment().clone();
    if let Some(attributes) = derivation.structured_attrs() {
        env.insert("__json".into(), attributes.raw_json().to_vec());
    }
    let outputs = derivation.outputs().iter().map(|(name, output)| {
        let path = output.path_in(derivation.store_dir(), derivation.name(), name);
        let (hash_algo, hash) = addressed(output);
        let output = BasicOutput {
            path: path.expect("a path"),
            hash_algo,
            hash,
        };
        (name.clone(), output)
    });
    BasicDerivation {
        outputs: outputs.collect(),
        input_sources: derivation.input_sources().clone(),
        system: derivation.system().to_owned(),
        builder: derivation.builder().to_owned(),
        args: derivation.arguments().to_vec(),
        env,
    }
}

/// An output's hash algorithm and hash, as the wire has them.
fn addressed(output: &Output) -> (String, String) {
    match output {
        Output::InputAddressed { .. } | Output::Deferred => (String::new(), String::new()),
        Output::Fixed { ca } => {
            let hash = ca.hash();
            let digits = hash.to_nix_base16_string();
            let (_, digest) = digits.split_once(':').expect("a hash");
            (algorithm(ca.method(), hash.algorithm()), digest.to_owned())
        }
        Output::Floating {
            method,
            hash_algorithm,
        } => (algorithm(*method, *hash_algorithm), String::new()),
        Output::Impure {
            method,
            hash_algorithm,
        } => (algorithm(*method, *hash_algorithm), "impure".to_owned()),
    }
}

fn algorithm(method: ContentAddressMethod, algorithm: HashAlgorithm) -> String {
    let prefix = match method {
        ContentAddressMethod::Flat => "",
        ContentAddressMethod::Nar => "r:",
        ContentAddressMethod::Text => "text:",
        ContentAddressMethod::Git => "git:",
    };
    format!("{prefix}{algorithm}")
}
