//! What a request will come to, for the scheduler: which builds, which of them
//! need which, and what each needs of a machine. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nix_derivation::{Derivation, StorePath};

use super::resolve::basic;
use crate::build::needs;
use crate::core::Foreseen;
use crate::history::build_kind;

/// The builds of `drvs`, each after those of them that it needs first. What
/// contradicts itself is left out: nobody will come to build it.
pub(super) fn foresee(
    drvs: &[StorePath],
    derivations: &BTreeMap<StorePath, Arc<Derivation>>,
) -> Vec<Foreseen> {
    let wanted: BTreeSet<_> = drvs.iter().collect();
    let mut foreseen = Vec::new();
    let mut seen = BTreeSet::new();
    for drv in drvs {
        // A path is opened, then what is below it, then it is closed.
        let mut open = vec![(drv, false)];
        while let Some((drv, is_done)) = open.pop() {
            let Some(derivation) = derivations.get(drv) else {
                continue;
            };
            let inputs = derivation.input_derivations().keys();
            let inputs = inputs.filter(|input| wanted.contains(input));
            if is_done {
                let Ok(given) = basic(derivation, []) else {
                    continue;
                };
                foreseen.push(Foreseen {
                    drv: drv.clone(),
                    needs: needs(&given),
                    kind: build_kind(&given),
                    after: inputs.cloned().collect(),
                });
            } else if seen.insert(drv) {
                open.push((drv, true));
                open.extend(inputs.map(|input| (input, false)));
            }
        }
    }
    foreseen
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use nix_derivation::Derivation;

    use super::foresee;
    use crate::testing::{derivation_text, path};

    fn derivation(name: &str, inputs: &[&str]) -> Derivation {
        let text = derivation_text(name, inputs);
        Derivation::from_aterm_bytes(text.as_bytes(), name).expect("a derivation")
    }

    #[test]
    fn what_is_needed_comes_first_and_what_is_there_not_at_all() {
        let graph = [
            ("app", &["lib", "doc", "there"][..]),
            ("doc", &["lib"]),
            ("lib", &[]),
        ];
        let derivations: BTreeMap<_, _> = (graph.iter())
            .map(|(name, inputs)| {
                let drv = path(&format!("{name}.drv"));
                (drv, Arc::new(derivation(name, inputs)))
            })
            .collect();
        let drvs: Vec<_> = ["app.drv", "doc.drv", "lib.drv"].map(path).into();
        let order = foresee(&drvs, &derivations).into_iter();
        let order = order.map(|it| (it.drv.name().to_owned(), it.after));
        let expected = [
            ("lib.drv", vec![]),
            ("doc.drv", vec![path("lib.drv")]),
            ("app.drv", vec![path("doc.drv"), path("lib.drv")]),
        ];
        let expected = expected.map(|(name, after)| (name.to_owned(), after));
        assert_eq!(order.collect::<Vec<_>>(), expected);
    }
}
