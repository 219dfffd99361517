//! What one machine's store is known to hold. A memory, not a truth: the
//! machine may have collected any of it since.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix_derivation::StorePath;

/// Paths remembered for one machine; beyond it the oldest are forgotten. At
/// about 100 bytes a path this is 20 MB for a machine that saw them all.
const MOST: usize = 200_000;

#[derive(Debug, Default)]
struct Memory {
    paths: BTreeSet<StorePath>,
    /// Every path of `paths` once, oldest first; a few that were forgotten.
    order: VecDeque<StorePath>,
}

/// The paths that a machine holds, as far as we know.
#[derive(Debug, Default)]
pub(crate) struct KnownPaths(Mutex<Memory>);

impl KnownPaths {
    /// Remembers `paths`; returns those that had to be forgotten for them.
    pub(crate) fn remember(&self, paths: impl IntoIterator<Item = StorePath>) -> Vec<StorePath> {
        let mut memory = self.lock();
        for path in paths {
            if memory.paths.insert(path.clone()) {
                memory.order.push_back(path);
            }
        }
        let mut forgotten = Vec::new();
        while memory.order.len() > MOST {
            let Some(oldest) = memory.order.pop_front() else {
                break;
            };
            if memory.paths.remove(&oldest) {
                forgotten.push(oldest);
            }
        }
        forgotten
    }

    /// Forgets `paths`.
    pub(crate) fn forget<'a>(&self, paths: impl IntoIterator<Item = &'a StorePath>) {
        let mut memory = self.lock();
        for path in paths {
            memory.paths.remove(path);
        }
        let Memory { paths, order } = &mut *memory;
        order.retain(|path| paths.contains(path));
    }

    /// Those of `paths` that it is not known to hold, in the order given.
    pub(crate) fn unknown<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a StorePath>,
    ) -> Vec<StorePath> {
        let memory = self.lock();
        paths
            .into_iter()
            .filter(|path| !memory.paths.contains(*path))
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::KnownPaths;
    use nix_derivation::StorePath;

    fn path(name: &str) -> StorePath {
        StorePath::from_parts([7; 20], name).expect("a valid name")
    }

    #[test]
    fn forgotten_paths_are_unknown_again() {
        let known = KnownPaths::default();
        let (a, b) = (path("a"), path("b"));
        assert!(known.remember([a.clone(), b.clone()]).is_empty());
        known.forget([&a]);
        assert_eq!(known.unknown([&a, &b]), [a]);
    }
}
