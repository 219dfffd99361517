//! Which sort of derivation is built, read off its outputs. Knows nothing of
//! its attributes.

use std::collections::BTreeMap;

use musher_protocol::types::BasicOutput;

/// The sort of a derivation: what decides its output paths, and with it what
/// the build may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The paths follow from the derivation.
    InputAddressed,
    /// The path follows from a hash that the derivation states.
    Fixed,
    /// The paths follow from what is built.
    Floating,
    /// As floating, and built anew whenever it is asked for.
    Impure,
}

/// Outputs that nothing can be built for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KindError {
    /// No output at all.
    #[error("the derivation has no outputs")]
    None,
    /// Outputs of different sorts, which Nix refuses too.
    #[error("outputs `{first}` and `{second}` are of different kinds")]
    Mixed {
        /// An output.
        first: String,
        /// One of another kind.
        second: String,
    },
    /// A fixed output has the derivation to itself, and the name `out`.
    #[error("a fixed output is the only one, and called `out`; here is `{output}`")]
    FixedNotAlone {
        /// Some output that is not `out`.
        output: String,
    },
    /// The output's path depends on inputs that are not resolved.
    #[error("the path of output `{output}` is not known before its inputs are built")]
    Deferred {
        /// The output.
        output: String,
    },
}

impl Kind {
    /// The kind that all of `outputs` share.
    pub(crate) fn of(outputs: &BTreeMap<String, BasicOutput>) -> Result<Self, KindError> {
        let mut found: Option<(&str, Self)> = None;
        for (name, output) in outputs {
            let kind = Self::of_output(name, output)?;
            match found {
                None => found = Some((name, kind)),
                Some((first, other)) if other != kind => {
                    return Err(KindError::Mixed {
                        first: first.to_owned(),
                        second: name.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        let (_, kind) = found.ok_or(KindError::None)?;
        if kind == Self::Fixed
            && let Some(output) = outputs.keys().find(|name| *name != "out")
        {
            return Err(KindError::FixedNotAlone {
                output: output.clone(),
            });
        }
        Ok(kind)
    }

    fn of_output(name: &str, output: &BasicOutput) -> Result<Self, KindError> {
        match (&output.path, &*output.hash_algo, &*output.hash) {
            (_, _, "impure") => Ok(Self::Impure),
            (_, _, hash) if !hash.is_empty() => Ok(Self::Fixed),
            (_, algorithm, _) if !algorithm.is_empty() => Ok(Self::Floating),
            (Some(_), _, _) => Ok(Self::InputAddressed),
            (None, _, _) => Err(KindError::Deferred {
                output: name.to_owned(),
            }),
        }
    }

    /// Whether a hash is known that the output must have.
    pub(crate) fn is_fixed(self) -> bool {
        self == Self::Fixed
    }

    /// Whether the build may use the network and variables of the machine: it
    /// cannot matter, or is not supposed to.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Fixed | Self::Impure)
    }

    /// Whether the output paths are known before the build.
    pub(crate) fn has_known_paths(self) -> bool {
        matches!(self, Self::InputAddressed | Self::Fixed)
    }
}

#[cfg(test)]
mod tests {
    use nix_derivation::StorePath;

    use super::*;

    fn output(path: bool, hash_algo: &str, hash: &str) -> BasicOutput {
        BasicOutput {
            path: path.then(|| StorePath::from_parts([1; 20], "x").expect("a path")),
            hash_algo: hash_algo.into(),
            hash: hash.into(),
        }
    }

    fn of(outputs: &[(&str, BasicOutput)]) -> Result<Kind, String> {
        let outputs = outputs
            .iter()
            .map(|(name, output)| ((*name).to_owned(), output.clone()))
            .collect();
        Kind::of(&outputs).map_err(|error| error.to_string())
    }

    #[test]
    fn the_outputs_say_which_kind_it_is() {
        let input_addressed = output(true, "", "");
        let fixed = output(true, "r:sha256", "00");
        let floating = output(false, "r:sha256", "");
        assert_eq!(
            of(&[("out", input_addressed.clone())]),
            Ok(Kind::InputAddressed)
        );
        assert_eq!(of(&[("out", fixed.clone())]), Ok(Kind::Fixed));
        assert_eq!(
            of(&[("dev", floating.clone()), ("out", floating.clone())]),
            Ok(Kind::Floating)
        );
        assert!(of(&[]).is_err());
        assert!(of(&[("dev", floating), ("out", input_addressed)]).is_err());
        assert!(of(&[("dev", fixed.clone())]).is_err());
        assert!(of(&[("dev", fixed.clone()), ("out", fixed)]).is_err());
        assert!(of(&[("out", output(false, "", ""))]).is_err());
        let impure = of(&[("out", output(false, "r:sha256", "impure"))]);
        assert_eq!(impure, Ok(Kind::Impure));
    }
}
