//! What becomes of one derivation, and why, as it is when that is asked.

use std::time::{Duration, Instant};

use musher_scheduler::{
    BuildId, Estimate, Explanation, Fault, MachineId, OwnerId, Placement, Status,
};
use nix_derivation::StorePath;

use super::record::{Record, State};
use super::{Core, Finished};
use crate::waiting::Details;

/// What becomes of a derivation.
pub(crate) struct Why {
    /// Which.
    pub(crate) drv: StorePath,
    /// What becomes of it.
    pub(crate) fate: Fate,
    /// Who asks for it.
    pub(crate) owners: Vec<OwnerId>,
    /// What it is expected to cost, unless it is over.
    pub(crate) estimate: Option<Estimate>,
    /// How long it and what needs it are expected to take, in seconds.
    pub(crate) rank_seconds: Option<f64>,
    /// Attempts that were lost.
    pub(crate) faults: Vec<Fault>,
}

/// What becomes of a build.
pub(crate) enum Fate {
    /// These come first.
    Planned { after: Vec<StorePath> },
    /// It could run.
    Waiting {
        since: Duration,
        /// None while its inputs are looked up.
        details: Option<Details>,
    },
    /// An attempt runs.
    Running {
        machine: MachineId,
        since: Duration,
        /// Until it was expected to end as it began; none if that is over.
        left: Option<Duration>,
        /// Since that is over.
        overdue: Duration,
        placement: Option<Placement>,
    },
    /// It ended lately.
    Ended(Box<Finished>),
}

impl Core {
    /// What becomes of `path`, a derivation or an output of one; none if nobody
    /// has asked for it lately.
    pub(super) fn why(&self, path: &StorePath) -> Option<Why> {
        // The newest first; an older one's outputs may be lost.
        let asked = (self.builds.iter().rev())
            .find(|(_, record)| record.state != State::Ended && record.is_of(path));
        if let Some((build, record)) = asked {
            return self.why_asked(*build, record);
        }
        if let Some(build) = self.plans.number(path) {
            return self.why_planned(path, build);
        }
        let ended = (self.builds.values().rev()).find(|record| record.is_of(path));
        let drv = ended.map_or(path, |record| &record.spec.drv_path);
        let finished = self.finished.iter().rev();
        let finished = finished.clone().find(|build| build.drv_path == *drv)?;
        Some(Why {
            drv: drv.clone(),
            fate: Fate::Ended(Box::new(finished.clone())),
            owners: Vec::new(),
            estimate: None,
            rank_seconds: None,
            faults: Vec::new(),
        })
    }

    fn why_asked(&self, build: BuildId, record: &Record) -> Option<Why> {
        let explanation = self.scheduler.explain(build);
        let fate = match (record.state, &explanation) {
            (State::Running { lease }, Some(explanation)) => {
                let running = self.leases.get(&lease)?;
                let left = match explanation.status {
                    Status::Running { expected_end, .. } => Some(expected_end),
                    Status::Planned { .. } | Status::Waiting { .. } => None,
                };
                let now = self.now();
                Fate::Running {
                    machine: running.machine.clone(),
                    since: running.since.elapsed(),
                    left: left.filter(|end| *end > now).map(|end| end.since(now)),
                    overdue: left.map(|end| now.since(end)).unwrap_or_default(),
                    placement: record.placement.clone(),
                }
            }
            (_, explanation) => Fate::Waiting {
                since: record.ready.unwrap_or_else(Instant::now).elapsed(),
                details: (explanation.as_ref()).and_then(|it| Details::all(&it.status)),
            },
        };
        let drv = record.spec.drv_path.clone();
        let estimate = self.history.estimate(&record.spec);
        Some(Self::told(drv, fate, explanation, estimate))
    }

    fn why_planned(&self, drv: &StorePath, build: BuildId) -> Option<Why> {
        let explanation = self.scheduler.explain(build)?;
        let before = self.scheduler.comes_after(build);
        let mut after: Vec<_> = (self.builds.iter())
            .filter(|(build, _)| before.contains(build))
            .map(|(_, record)| record.spec.drv_path.clone())
            .chain(self.plans.named(before).cloned())
            .collect();
        after.sort_unstable();
        let estimate = explanation.estimate;
        let fate = Fate::Planned { after };
        Some(Self::told(drv.clone(), fate, Some(explanation), estimate))
    }

    /// What the scheduler says of it, if it knows it, beside `fate`.
    fn told(
        drv: StorePath,
        fate: Fate,
        explanation: Option<Explanation>,
        estimate: Estimate,
    ) -> Why {
        let mut why = Why {
            drv,
            fate,
            owners: Vec::new(),
            estimate: Some(estimate),
            rank_seconds: None,
            faults: Vec::new(),
        };
        if let Some(explanation) = explanation {
            why.owners = explanation.owners;
            why.estimate = Some(explanation.estimate);
            why.rank_seconds = Some(explanation.rank_seconds);
            why.faults = explanation.faults;
        }
        why
    }
}
