//! The order in which paths can be added to a store. Knows no store.

use std::collections::{BTreeMap, VecDeque};

use musher_protocol::types::PathInfo;
use nix_derivation::StorePath;

/// `infos`, each after those of them that it refers to; otherwise in the order
/// given. Paths that refer to each other, which no valid store has, come last.
pub fn references_first(infos: Vec<PathInfo>) -> Vec<PathInfo> {
    let index: BTreeMap<&StorePath, usize> = infos
        .iter()
        .enumerate()
        .map(|(at, info)| (&info.path, at))
        .collect();
    let mut missing = vec![0_usize; infos.len()];
    let mut users = vec![Vec::new(); infos.len()];
    for (at, info) in infos.iter().enumerate() {
        for used in info.references.iter().filter_map(|path| index.get(path)) {
            if *used != at {
                missing[at] += 1;
                users[*used].push(at);
            }
        }
    }
    let mut ready: VecDeque<_> = (0..infos.len()).filter(|at| missing[*at] == 0).collect();
    let mut order = Vec::with_capacity(infos.len());
    while let Some(at) = ready.pop_front() {
        order.push(at);
        for user in &users[at] {
            missing[*user] -= 1;
            if missing[*user] == 0 {
                ready.push_back(*user);
            }
        }
    }
    order.extend((0..infos.len()).filter(|at| missing[*at] > 0));
    let mut infos: Vec<_> = infos.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|at| infos[at].take())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use musher_protocol::types::{NarHash, PathInfo};
    use nix_derivation::StorePath;

    use super::references_first;

    fn info(name: &str, references: &[&str]) -> PathInfo {
        let path = |name: &str| StorePath::from_parts([1; 20], name).expect("a valid name");
        PathInfo {
            path: path(name),
            deriver: None,
            nar_hash: NarHash([0; 32]),
            nar_size: 0,
            references: references.iter().map(|name| path(name)).collect(),
            registration_time: 0,
            ultimate: false,
            signatures: BTreeSet::new(),
            ca: None,
        }
    }

    fn names(infos: Vec<PathInfo>) -> Vec<String> {
        let ordered = references_first(infos);
        ordered
            .iter()
            .map(|info| info.path.name().to_owned())
            .collect()
    }

    #[test]
    fn users_come_after_what_they_use() {
        let infos = vec![
            info("app", &["lib", "app", "elsewhere"]),
            info("lib", &["libc"]),
            info("libc", &[]),
        ];
        assert_eq!(names(infos), ["libc", "lib", "app"]);
    }

    #[test]
    fn a_cycle_loses_nothing() {
        let infos = vec![info("a", &["b"]), info("b", &["a"]), info("c", &[])];
        assert_eq!(names(infos), ["c", "a", "b"]);
    }
}
