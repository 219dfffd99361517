//! Outputs of builds that nobody follows any more, remembered for a moment: Nix
//! 2.26 closes its connection after the first output and asks for the next on
//! another. A memory, not a promise: the machine may have collected them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use musher_protocol::types::PathInfo;
use musher_scheduler::MachineId;
use nix_derivation::StorePath;

/// How long an output is remembered: about as long as the connection on which
/// it was built keeps it from the machine's garbage collector.
const MOMENT: Duration = Duration::from_secs(30);

/// Outputs remembered; beyond it the oldest are forgotten. At some 500 bytes
/// each, 500 kB when full.
const MOST: usize = 1000;

struct Output {
    since: Instant,
    info: PathInfo,
    machine: MachineId,
}

/// Outputs that lie on machines, oldest first.
#[derive(Default)]
pub(super) struct RecentOutputs(VecDeque<Output>);

impl RecentOutputs {
    /// Remembers an output on `machine`, from `now` on.
    pub(super) fn remember(&mut self, now: Instant, info: PathInfo, machine: MachineId) {
        self.0.retain(|output| {
            now.duration_since(output.since) < MOMENT && output.info.path != info.path
        });
        self.0.push_back(Output {
            since: now,
            info,
            machine,
        });
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// What is known of `path`, and where it is.
    pub(super) fn find(&self, now: Instant, path: &StorePath) -> Option<(&PathInfo, &MachineId)> {
        let known = (self.0.iter())
            .find(|output| output.info.path == *path)
            .filter(|output| now.duration_since(output.since) < MOMENT)?;
        Some((&known.info, &known.machine))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{MOMENT, RecentOutputs};
    use crate::testing::{info, path};

    #[test]
    fn outputs_are_forgotten_after_a_moment() {
        let mut recent = RecentOutputs::default();
        let start = Instant::now();
        recent.remember(start, info("a", &[]), "b1".into());
        recent.remember(start + MOMENT / 2, info("b", &[]), "b2".into());
        let at = |millis| start + MOMENT + Duration::from_millis(millis);
        let found = |now, name: &str| recent.find(now, &path(name)).is_some();
        assert!(found(start, "a") && found(start, "b") && !found(start, "c"));
        assert!(!found(at(0), "a") && found(at(0), "b"));
    }
}
