//! What the core explains, as messages. Decides nothing.

use std::time::Duration;

use musher_api::coordinator as api;
use musher_scheduler::{Candidate, Placement};

use crate::core::Expected;
use crate::waiting::Details;

/// What a build waits for.
pub(super) fn waiting_for(details: &Details) -> api::WaitingFor {
    let (owner, limit) = match &details.limit {
        Some((owner, limit)) => (owner.to_string(), *limit),
        None => (String::new(), 0),
    };
    let obstacles = details.obstacles.iter().map(|it| api::Obstacle {
        machine: it.machine.to_string(),
        kind: it.kind.to_owned(),
        text: it.text.clone(),
        awaited: it
            .awaited
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    });
    api::WaitingFor {
        ahead: count(details.ahead),
        limited_owner: owner,
        limit,
        obstacles: obstacles.collect(),
        more: count(details.more),
    }
}

/// Why an attempt is where it is.
pub(super) fn placement(placement: &Placement) -> api::Placement {
    let slot = |candidate: &Candidate| api::Slot {
        machine: candidate.machine.to_string(),
        free_in_ms: millis(candidate.free_at.since(placement.at)),
        done_in_ms: millis(candidate.ends_at.since(placement.at)),
        missing_bytes: candidate.missing,
    };
    api::Placement {
        because: placement.because.to_string(),
        chosen: Some(slot(&placement.chosen)),
        others: placement.others.iter().map(slot).collect(),
    }
}

/// How far a request is now.
pub(super) fn outlook(expected: &Expected) -> api::Outlook {
    let outlook = &expected.outlook;
    let left = outlook.left_seconds.and_then(|seconds| {
        let left = Duration::try_from_secs_f64(seconds).ok()?;
        Some(left.saturating_sub(expected.at.elapsed()))
    });
    api::Outlook {
        planned: outlook.planned as u64,
        waiting: outlook.waiting as u64,
        running: outlook.running as u64,
        left_ms: left.map(millis),
        guess: outlook.is_guess,
    }
}

pub(super) fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
