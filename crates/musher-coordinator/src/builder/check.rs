//! What a machine says it built, held against what it was told to build. The
//! same for machines of every kind: what contradicts the order makes nonsense of
//! the answer, and what a machine cannot vouch for is left out. Knows the words
//! only; whether the bytes bear them out is seen when they are imported.

use std::collections::BTreeSet;

use musher_protocol::types::{BasicOutput, PathInfo};
use nix_derivation::store_path::output_path_name;
use nix_derivation::{CAHash, ContentAddressMethod, HashAlgorithm, NixHash, StoreDir, StorePath};

use super::Outcome;
use crate::build::{BuildSpec, Closure};

/// How an answer contradicts the order.
#[derive(Debug, thiserror::Error)]
pub(super) enum Contradiction {
    #[error("the build succeeded, but its output `{output}` is not valid there")]
    Missing { output: String },
    #[error("output `{output}` as `{found}`, which should be `{expected}`")]
    OtherPath {
        output: String,
        expected: String,
        found: String,
    },
    #[error("output `{output}` as `{info}` and as `{result}`")]
    TwoPaths {
        output: String,
        info: String,
        result: String,
    },
    #[error("output `{output}` with the content address `{found}`, which should have {expected}")]
    OtherAddress {
        output: String,
        expected: String,
        found: String,
    },
    #[error("output `{output}` as `{path}`, which is not where its content address puts it")]
    Misplaced { output: String, path: String },
    #[error("output `{output}` refers to `{reference}`, which its build could not see")]
    Reference { output: String, reference: String },
    #[error("output `{output}`, whose address by content nobody understands: `{algorithm}`")]
    Undefined { output: String, algorithm: String },
}

/// Makes `outcome` of the build of `spec`, whose inputs are `closure`, one that
/// says nothing false as far as can be told from here.
pub(super) fn check(
    spec: &BuildSpec,
    closure: &Closure,
    store_dir: &StoreDir,
    outcome: &mut Outcome,
) -> Result<(), Contradiction> {
    let Outcome {
        result, outputs, ..
    } = outcome;
    let declared = &spec.derivation.outputs;
    let succeeded = result.status.is_success();
    let is_wanted = |name: &String| succeeded && declared.contains_key(name);
    outputs.retain(|name, _| is_wanted(name));
    result.built_outputs.retain(|name, _| is_wanted(name));
    if !succeeded {
        return Ok(());
    }
    let mut visible: BTreeSet<_> = closure.paths().cloned().collect();
    visible.extend(outputs.values().map(|info| info.path.clone()));
    for (output, declared) in declared {
        let ordered = Ordered {
            store_dir,
            drv_path: &spec.drv_path,
            output,
            declared,
        };
        let missing = || Contradiction::Missing {
            output: output.clone(),
        };
        let info = outputs.get_mut(output).ok_or_else(missing)?;
        ordered.check_path(info)?;
        ordered.check_address(info)?;
        ordered.check_references(info, &visible)?;
        // It was not built here, and a signature nobody checked says nothing.
        info.ultimate = false;
        info.signatures.clear();
        if let Some(built) = result.built_outputs.get_mut(output) {
            if built.path != info.path {
                return Err(Contradiction::TwoPaths {
                    output: output.clone(),
                    info: store_dir.render_path(&info.path),
                    result: store_dir.render_path(&built.path),
                });
            }
            built.signatures.clear();
            built.dependent_realisations.clear();
        }
    }
    Ok(())
}

/// An output as it was ordered.
struct Ordered<'a> {
    store_dir: &'a StoreDir,
    drv_path: &'a StorePath,
    output: &'a String,
    declared: &'a BasicOutput,
}

/// How an output gets its path.
enum Addressing {
    /// From its derivation.
    Input,
    /// From contents that are known beforehand.
    Fixed(CAHash),
    /// From contents that are found out.
    Floating(ContentAddressMethod, HashAlgorithm),
}

impl Ordered<'_> {
    fn check_path(&self, info: &PathInfo) -> Result<(), Contradiction> {
        let other = |expected| Contradiction::OtherPath {
            output: self.output.clone(),
            expected,
            found: self.store_dir.render_path(&info.path),
        };
        if let Some(path) = &self.declared.path {
            return match *path == info.path {
                true => Ok(()),
                false => Err(other(self.store_dir.render_path(path))),
            };
        }
        let drv = self.drv_path.name();
        let drv = drv.strip_suffix(".drv").unwrap_or(drv);
        match output_path_name(drv, self.output) {
            Ok(name) if name == info.path.name() => Ok(()),
            Ok(name) => Err(other(format!("…-{name}"))),
            Err(_) => Err(self.undefined()),
        }
    }

    fn check_address(&self, info: &mut PathInfo) -> Result<(), Contradiction> {
        let addressing = self.addressing().ok_or_else(|| self.undefined())?;
        match (addressing, &info.ca) {
            (Addressing::Input, None) => Ok(()),
            (Addressing::Input, Some(_)) => Err(self.other_address(info, "none".to_owned())),
            // Whoever imports it holds the contents against it.
            (Addressing::Fixed(ca), None) => {
                info.ca = Some(ca);
                Ok(())
            }
            (Addressing::Fixed(ca), Some(found)) => match ca == *found {
                true => Ok(()),
                false => Err(self.other_address(info, format!("`{}`", ca.to_nix_string()))),
            },
            (Addressing::Floating(method, algorithm), Some(ca))
                if ca.method() == method && ca.hash().algorithm() == algorithm =>
            {
                match self.is_placed_by(info, ca) {
                    true => Ok(()),
                    false => Err(Contradiction::Misplaced {
                        output: self.output.clone(),
                        path: self.store_dir.render_path(&info.path),
                    }),
                }
            }
            (Addressing::Floating(..), _) => {
                let expected = format!("one by `{}`", self.declared.hash_algo);
                Err(self.other_address(info, expected))
            }
        }
    }

    /// Whether contents of this address and these references lie there.
    fn is_placed_by(&self, info: &PathInfo, ca: &CAHash) -> bool {
        let others = info.references.iter().filter(|path| **path != info.path);
        let to_itself = info.references.contains(&info.path);
        let name = info.path.name();
        let placed = self.store_dir.build_ca_path(name, ca, others, to_itself);
        let is_same = match ca {
            CAHash::Nar(NixHash::Sha256(hash)) => to_itself || *hash == info.nar_hash.0,
            CAHash::Nar(_) | CAHash::Flat(_) | CAHash::Text(_) | CAHash::Git(_) => true,
        };
        is_same && placed.is_ok_and(|path| path == info.path)
    }

    fn check_references(
        &self,
        info: &PathInfo,
        visible: &BTreeSet<StorePath>,
    ) -> Result<(), Contradiction> {
        match info.references.difference(visible).next() {
            None => Ok(()),
            Some(reference) => Err(Contradiction::Reference {
                output: self.output.clone(),
                reference: self.store_dir.render_path(reference),
            }),
        }
    }

    /// None if nobody can tell.
    fn addressing(&self) -> Option<Addressing> {
        let BasicOutput {
            path,
            hash_algo,
            hash,
        } = self.declared;
        if hash_algo.is_empty() {
            return path.is_some().then_some(Addressing::Input);
        }
        let (method, algorithm) = match hash_algo.split_once(':') {
            Some(("r", algorithm)) => (ContentAddressMethod::Nar, algorithm),
            Some(("text", algorithm)) => (ContentAddressMethod::Text, algorithm),
            Some(("git", algorithm)) => (ContentAddressMethod::Git, algorithm),
            Some(_) | None => (ContentAddressMethod::Flat, hash_algo.as_str()),
        };
        let algorithm: HashAlgorithm = algorithm.parse().ok()?;
        if matches!(hash.as_str(), "" | "impure") {
            return Some(Addressing::Floating(method, algorithm));
        }
        let hash = NixHash::parse(&format!("{algorithm}:{hash}")).ok()?;
        let ca = CAHash::from_parts(method, algorithm, hash.digest_as_bytes());
        ca.ok().map(Addressing::Fixed)
    }

    fn undefined(&self) -> Contradiction {
        Contradiction::Undefined {
            output: self.output.clone(),
            algorithm: self.declared.hash_algo.clone(),
        }
    }

    fn other_address(&self, info: &PathInfo, expected: String) -> Contradiction {
        let found = info.ca.as_ref().map(CAHash::to_nix_string);
        Contradiction::OtherAddress {
            output: self.output.clone(),
            expected,
            found: found.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use musher_protocol::types::{BuildResult, BuildStatus, BuiltOutput, PathInfo};
    use nix_derivation::{StoreDir, StorePath};

    use super::check;
    use crate::build::{BuildSpec, Closure};
    use crate::builder::Outcome;
    use crate::testing::{by_content, floating, info, path, spec};

    /// What comes of `app`, built from `src`, with `outputs`.
    fn checked(spec: &BuildSpec, outputs: &[(&str, PathInfo)]) -> Result<Outcome, String> {
        let outputs: BTreeMap<_, _> = (outputs.iter())
            .map(|(name, info)| ((*name).to_owned(), info.clone()))
            .collect();
        let mut result = BuildResult::new(BuildStatus::Built, "");
        for (name, info) in &outputs {
            let built = BuiltOutput {
                drv_hash: None,
                path: info.path.clone(),
                signatures: ["cache:signed".to_owned()].into(),
                dependent_realisations: BTreeMap::new(),
            };
            result.built_outputs.insert(name.clone(), built);
        }
        let mut outcome = Outcome {
            result,
            outputs,
            held: None,
            measured: None,
            kept_dir: None,
        };
        let closure = Closure(vec![info("lib", &[]), info("src", &["lib"])]);
        let checked = check(spec, &closure, &StoreDir::default(), &mut outcome);
        checked.map(|()| outcome).map_err(|error| error.to_string())
    }

    fn plain() -> BuildSpec {
        spec("app", &["src"])
    }

    fn addressed(path: Option<StorePath>, hash: &str) -> BuildSpec {
        let mut spec = plain();
        let output = spec.derivation.outputs.get_mut("out").expect("one");
        output.path = path;
        output.hash_algo = "r:sha256".to_owned();
        output.hash = hash.to_owned();
        spec
    }

    #[test]
    fn what_a_machine_cannot_vouch_for_is_left_out() {
        let said = PathInfo {
            ultimate: true,
            signatures: BTreeSet::from(["cache:signed".to_owned()]),
            ..info("app", &["app", "lib"])
        };
        let outputs = [("out", said), ("more", info("more", &[]))];
        let outcome = checked(&plain(), &outputs).expect("acceptable");
        let expected = BTreeMap::from([("out".to_owned(), info("app", &["app", "lib"]))]);
        assert_eq!(outcome.outputs, expected);
        let built = &outcome.result.built_outputs;
        assert_eq!(built.keys().collect::<Vec<_>>(), ["out"]);
        assert!(built["out"].signatures.is_empty());
    }

    #[test]
    fn what_was_not_ordered_is_refused() {
        #[track_caller]
        fn refused(spec: &BuildSpec, outputs: &[(&str, PathInfo)], part: &str) {
            let error = checked(spec, outputs).expect_err("nonsense");
            assert!(error.contains(part), "{error}");
        }
        refused(&plain(), &[], "`out` is not valid there");
        refused(&plain(), &[("out", info("lib", &[]))], "-app`");
        let stranger = info("app", &["stranger"]);
        refused(&plain(), &[("out", stranger)], "-stranger`, which its");
        let claims = by_content("app", &[]);
        refused(&plain(), &[("out", claims)], "should have none");
    }

    #[test]
    fn a_floating_output_lies_where_its_contents_put_it() {
        let good = floating("app", &["lib"]);
        checked(&addressed(None, ""), &[("out", good.clone())]).expect("acceptable");
        #[track_caller]
        fn refused(said: PathInfo, part: &str) {
            let error = checked(&addressed(None, ""), &[("out", said)]).expect_err("nonsense");
            assert!(error.contains(part), "{error}");
        }
        refused(floating("other", &[]), "`…-app`");
        refused(info("app", &[]), "one by `r:sha256`");
        let flat = format!("fixed:sha256:{}", "0".repeat(64));
        let flat = PathInfo {
            ca: Some(flat.parse().expect("one")),
            ..good.clone()
        };
        refused(flat, "one by `r:sha256`");
        let fewer = PathInfo {
            references: BTreeSet::new(),
            ..good.clone()
        };
        refused(fewer, "not where its content address puts it");
        let other = PathInfo {
            nar_hash: musher_protocol::types::NarHash([1; 32]),
            ..good
        };
        refused(other, "not where its content address puts it");
    }

    #[test]
    fn a_fixed_output_has_its_address_whatever_is_said() {
        let path = path("app");
        let fixed = addressed(Some(path), &"1".repeat(64));
        let outcome = checked(&fixed, &[("out", info("app", &[]))]).expect("acceptable");
        let ca = outcome.outputs["out"].ca.as_ref().expect("one");
        assert_eq!(
            ca.hash().to_nix_base16_string(),
            format!("sha256:{}", "1".repeat(64))
        );
        let claims = by_content("app", &[]);
        let error = checked(&fixed, &[("out", claims)]).expect_err("nonsense");
        assert!(
            error.contains("which should have `fixed:r:sha256:"),
            "{error}"
        );
    }
}
