//! Derivations that a client sends without proof of where they come from. The
//! path of an input-addressed output proves nothing about what is sent in its
//! name, so that only content-addressed outputs will do for clients that are not
//! trusted; and whatever else they claim is worked out again.

use musher_protocol::types::{BasicDerivation, BasicOutput};
use musher_protocol::worker::RemoteError;
use nix_derivation::structured_attrs::StructuredAttrs;
use nix_derivation::{
    CAHash, ContentAddressMethod, DerivationBuilder, HashAlgorithm, Output, StoreDir, StorePath,
};

/// The path under which an untrusted client's `derivation` may be built: where
/// it would be if it were in the store. `claimed` is where the client says it
/// is, and gives it its name.
pub fn own_drv_path(
    store_dir: &StoreDir,
    claimed: &StorePath,
    derivation: &BasicDerivation,
) -> Result<StorePath, RemoteError> {
    if derivation.outputs.is_empty() || derivation.outputs.values().any(is_input_addressed) {
        return Err(RemoteError::new(
            "you are not privileged to build input-addressed derivations",
        ));
    }
    rebuild(store_dir, claimed, derivation).map_err(|problem| {
        let claimed = store_dir.render_path(claimed);
        RemoteError::new(format!("derivation `{claimed}` is wrong: {problem}"))
    })
}

fn is_input_addressed(output: &BasicOutput) -> bool {
    output.hash_algo.is_empty()
}

fn rebuild(
    store_dir: &StoreDir,
    claimed: &StorePath,
    derivation: &BasicDerivation,
) -> Result<StorePath, String> {
    let name = claimed.name().strip_suffix(".drv");
    let name = name.ok_or("its name does not end in `.drv`")?;
    let mut builder = DerivationBuilder::new_in_store(
        store_dir.clone(),
        name,
        &derivation.system,
        &derivation.builder,
    );
    for (output_name, claim) in &derivation.outputs {
        let output = output(claim)?;
        let path = output.path_in(store_dir, name, output_name);
        if path.map_err(|error| error.to_string())? != claim.path {
            return Err(format!(
                "its output `{output_name}` does not belong where it says"
            ));
        }
        builder = builder.output(output_name, output);
    }
    for path in &derivation.input_sources {
        builder = builder.input_source(path.clone());
    }
    for argument in &derivation.args {
        builder = builder.argument(argument);
    }
    for (name, value) in &derivation.env {
        builder = match name.as_str() {
            "__json" => {
                let attrs = StructuredAttrs::from_json_bytes(value.clone());
                builder.structured_attrs(attrs.map_err(|error| error.to_string())?)
            }
            _ => builder.environment(name, value.clone()),
        };
    }
    let built = builder.build().map_err(|error| error.to_string())?;
    Ok(built.drv_path())
}

/// The kind of output that the three strings of a content-addressed one say
/// together.
fn output(claim: &BasicOutput) -> Result<Output, String> {
    let bad = |what: &dyn std::fmt::Display| format!("bad hash `{}`: {what}", claim.hash_algo);
    let (method, algorithm) = match claim.hash_algo.split_once(':') {
        None => (ContentAddressMethod::Flat, claim.hash_algo.as_str()),
        Some(("r", algorithm)) => (ContentAddressMethod::Nar, algorithm),
        Some(("text", algorithm)) => (ContentAddressMethod::Text, algorithm),
        Some(("git", algorithm)) => (ContentAddressMethod::Git, algorithm),
        Some(_) => return Err(bad(&"unknown method")),
    };
    let hash_algorithm: HashAlgorithm = algorithm.parse().map_err(|error| bad(&error))?;
    Ok(match claim.hash.as_str() {
        "" => Output::Floating {
            method,
            hash_algorithm,
        },
        "impure" => Output::Impure {
            method,
            hash_algorithm,
        },
        digest => {
            let prefix = match method {
                ContentAddressMethod::Flat => "fixed:",
                ContentAddressMethod::Nar => "fixed:r:",
                ContentAddressMethod::Text => "text:",
                ContentAddressMethod::Git => "fixed:git:",
            };
            let ca = CAHash::parse(&format!("{prefix}{hash_algorithm}:{digest}"));
            Output::Fixed {
                ca: ca.map_err(|error| bad(&error))?,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// What Nix 2.8 made of a derivation by this name.
    fn derivation(output: BasicOutput, env: &[(&str, &str)]) -> BasicDerivation {
        let text = |text: &str| text.to_owned();
        BasicDerivation {
            outputs: [(text("out"), output)].into(),
            input_sources: BTreeSet::new(),
            system: text("x86_64-linux"),
            builder: text("/bin/sh"),
            args: vec![text("-c"), text("echo hello > $out")],
            env: env
                .iter()
                .map(|(name, value)| (text(name), value.as_bytes().to_vec()))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    fn path(base_name: &str) -> StorePath {
        StorePath::from_basename(base_name.as_bytes()).expect("a store path")
    }

    const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

    fn fixed(path: StorePath) -> BasicDerivation {
        let output = BasicOutput {
            path: Some(path),
            hash_algo: "sha256".to_owned(),
            hash: HELLO.to_owned(),
        };
        derivation(
            output,
            &[
                ("builder", "/bin/sh"),
                ("greeting", "hi"),
                ("name", "fetched"),
                ("out", "/nix/store/pi0hrnj8zhpb7hbxf7iyp184v2hc9zra-fetched"),
                ("outputHash", HELLO),
                ("outputHashAlgo", "sha256"),
                ("outputHashMode", "flat"),
                ("system", "x86_64-linux"),
            ],
        )
    }

    #[test]
    fn a_fixed_output_is_where_nix_has_it() {
        let real = path("ww0639sw9i2c8acx7j80l08kpw6c3y57-fetched.drv");
        let claimed = path("00000000000000000000000000000000-fetched.drv");
        let derivation = fixed(path("pi0hrnj8zhpb7hbxf7iyp184v2hc9zra-fetched"));
        let found = own_drv_path(&StoreDir::default(), &claimed, &derivation);
        assert_eq!(found, Ok(real));
    }

    #[test]
    fn a_floating_output_is_where_nix_has_it() {
        let real = path("0zf903qz045wbawkwkj44xp2d3i3dxw2-floating.drv");
        let output = BasicOutput {
            path: None,
            hash_algo: "r:sha256".to_owned(),
            hash: String::new(),
        };
        let json = r#"{"builder":"/bin/sh","n":1,"name":"floating","outputHashAlgo":"sha256","outputHashMode":"recursive","system":"x86_64-linux"}"#;
        let placeholder = "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9";
        let derivation = derivation(output, &[("__json", json), ("out", placeholder)]);
        let found = own_drv_path(&StoreDir::default(), &real, &derivation);
        assert_eq!(found, Ok(real));
    }

    #[test]
    fn another_path_than_the_hash_gives_is_refused() {
        let claimed = path("ww0639sw9i2c8acx7j80l08kpw6c3y57-fetched.drv");
        let derivation = fixed(path("00000000000000000000000000000000-fetched"));
        let error = own_drv_path(&StoreDir::default(), &claimed, &derivation);
        let error = error.expect_err("a refusal").message.to_string();
        assert!(error.ends_with("does not belong where it says"), "{error}");
    }

    #[test]
    fn one_input_addressed_output_is_one_too_many() {
        let claimed = path("ww0639sw9i2c8acx7j80l08kpw6c3y57-fetched.drv");
        let mut derivation = fixed(path("pi0hrnj8zhpb7hbxf7iyp184v2hc9zra-fetched"));
        let dev = BasicOutput {
            path: Some(path("00000000000000000000000000000000-fetched-dev")),
            hash_algo: String::new(),
            hash: String::new(),
        };
        derivation.outputs.insert("dev".to_owned(), dev);
        let error = own_drv_path(&StoreDir::default(), &claimed, &derivation);
        let error = error.expect_err("a refusal").message.to_string();
        assert_eq!(
            error,
            "you are not privileged to build input-addressed derivations"
        );
    }
}
