//! Where a build writes its outputs, and what of its input is rewritten for
//! that. In a sandbox the store that it sees holds nothing but its inputs, so
//! an output can have its own name even if it is valid already. Without one,
//! what is valid must not be touched: the build writes to a path made up for
//! it. Outputs whose names follow from their content get such a path always.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::BasicDerivation;
use nix_derivation::store_path::hash_placeholder;
use nix_derivation::{StoreDir, StorePath, nixbase32};

use super::rewrites::Rewrites;
use crate::outputs::{ScratchError, scratch_paths};

/// The paths a build writes to, and what of its input is rewritten for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scratch {
    /// The path to write each output to, by output name.
    pub(crate) paths: BTreeMap<String, StorePath>,
    /// What is replaced in environment, arguments and files.
    pub(crate) rewrites: Rewrites,
}

impl Scratch {
    /// Places for the outputs of `derivation`, which is at `drv_path`.
    /// `occupied` are the outputs that must not be written to; in a sandbox,
    /// none.
    pub(crate) fn choose(
        drv_path: &StorePath,
        derivation: &BasicDerivation,
        occupied: &BTreeSet<StorePath>,
        store_dir: &StoreDir,
    ) -> Result<Self, ScratchError> {
        let paths = scratch_paths(store_dir, drv_path, derivation, occupied)?;
        let mut rewrites = Rewrites::default();
        for (name, scratch) in &paths {
            rewrites.insert(hash_placeholder(name), store_dir.render_path(scratch));
            let known = derivation.outputs.get(name);
            if let Some(known) = known.and_then(|output| output.path.as_ref()) {
                rewrites.insert(hash_part(known), hash_part(scratch));
            }
        }
        Ok(Self { paths, rewrites })
    }
}

/// The 32 characters that stand for a path in other files.
fn hash_part(path: &StorePath) -> String {
    nixbase32::encode(path.digest())
}

#[cfg(test)]
mod tests {
    use musher_protocol::types::BasicOutput;

    use super::*;

    fn path(digest: u8, name: &str) -> StorePath {
        StorePath::from_parts([digest; 20], name).expect("a path")
    }

    fn choose(outputs: &[(&str, Option<&StorePath>)], occupied: &[&StorePath]) -> Scratch {
        let outputs = outputs.iter().map(|(name, path)| {
            let output = BasicOutput {
                path: path.cloned(),
                hash_algo: String::new(),
                hash: String::new(),
            };
            ((*name).to_owned(), output)
        });
        let derivation = BasicDerivation {
            outputs: outputs.collect(),
            input_sources: BTreeSet::new(),
            system: String::new(),
            builder: String::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
        };
        let occupied = occupied.iter().copied().cloned().collect();
        Scratch::choose(
            &path(1, "x.drv"),
            &derivation,
            &occupied,
            &StoreDir::default(),
        )
        .expect("paths")
    }

    fn rewrite(scratch: &Scratch, text: &str) -> String {
        String::from_utf8(scratch.rewrites.apply(text.as_bytes())).expect("text")
    }

    #[test]
    fn placeholders_and_occupied_paths_become_scratch_paths() {
        let (out, dev) = (path(2, "x"), path(3, "x-dev"));
        let scratch = choose(&[("out", Some(&out)), ("dev", Some(&dev))], &[&dev]);
        assert_eq!(scratch.paths["out"], out);
        let there = &scratch.paths["dev"];
        assert_ne!(*there, dev);
        let (out_holder, dev_holder) = (hash_placeholder("out"), hash_placeholder("dev"));
        assert_eq!(
            rewrite(&scratch, &format!("{out_holder} {dev_holder} {dev} {out}")),
            format!("{out} {there} {there} {out}")
        );
    }

    #[test]
    fn outputs_without_a_path_get_one() {
        let scratch = choose(&[("out", None)], &[]);
        let out = &scratch.paths["out"];
        assert_eq!(out.name(), "x");
        assert_eq!(
            rewrite(&scratch, &hash_placeholder("out")),
            out.to_absolute_path()
        );
    }
}
