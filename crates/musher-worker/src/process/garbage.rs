//! Keeps the store within its budget. What attempts and leases need is safe
//! whenever this runs. A store that has grown too large can wait until nothing
//! runs; a disk that is short of space cannot, since builds fail then.

use std::sync::Arc;
use std::time::Duration;

use musher_api::worker as api;
use musher_store::local::{Budget, Garbage, GcOptions, LocalError, LocalStore};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::service::{Service, error_text};

/// How often the store is looked at.
const LOOK: Duration = Duration::from_secs(20);

/// How long it is left alone where nothing was to be gained.
const FRUITLESS: Duration = Duration::from_secs(300);

/// On what occasion the store is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// Nothing runs.
    Idle,
    /// Attempts run.
    Busy,
    /// Space has just run out.
    Full,
}

/// Looks at the store now and then, and when its disk is full, and collects
/// garbage where that is called for. Never ends.
pub(super) async fn keep_within_budget(service: &Service, store: &Arc<LocalStore>) {
    let budgets = service.budget();
    let mut pause = LOOK;
    loop {
        let occasion = tokio::select! {
            () = service.disk_full() => Occasion::Full,
            () = sleep(pause) => match service.active() {
                0 => Occasion::Idle,
                _ => Occasion::Busy,
            },
        };
        pause = LOOK;
        let Some(garbage) = garbage(budgets.borrow().as_ref(), occasion) else {
            continue;
        };
        let store = store.clone();
        match spawn_blocking(move || collect(&store, garbage)).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(0))) => pause = FRUITLESS,
            Ok(Ok(Some(freed))) => info!(freed, ?occasion, "garbage collected"),
            Ok(Err(error)) => warn!(error = error_text(&error), "garbage was not collected"),
            Err(error) => warn!(%error, "collecting garbage broke off"),
        }
    }
}

/// The bytes that were freed; none where the store is within its budget.
fn collect(store: &LocalStore, garbage: Garbage) -> Result<Option<u64>, LocalError> {
    if let Garbage::Over(budget) = &garbage
        && !store.is_over(budget)?
    {
        return Ok(None);
    }
    let report = store.collect_garbage(&GcOptions::new(garbage), &mut |_| {})?;
    Ok(Some(report.freed))
}

/// What is to be collected under the budget `told`, if anything is.
fn garbage(told: Option<&api::Budget>, occasion: Occasion) -> Option<Garbage> {
    let limit = |bytes: u64| (bytes > 0).then_some(bytes);
    let told = told?;
    let budget = Budget {
        max_store_size: limit(told.max_store_bytes),
        min_free: limit(told.min_free_bytes),
    };
    match occasion {
        Occasion::Idle => (budget != Budget::default()).then_some(Garbage::Over(budget)),
        Occasion::Busy => budget.min_free.map(|_| {
            Garbage::Over(Budget {
                max_store_size: None,
                ..budget
            })
        }),
        // What took the space may have gone with its build, so that nothing is
        // over any more; but the next one needs as much.
        Occasion::Full => budget.min_free.map(Garbage::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_short_of_space_does_not_wait_for_builds_to_end() {
        let told = |max_store_bytes, min_free_bytes| api::Budget {
            max_store_bytes,
            min_free_bytes,
        };
        let over = |max_store_size, min_free| {
            Some(Garbage::Over(Budget {
                max_store_size,
                min_free,
            }))
        };
        for (budget, idle, busy, full) in [
            (told(0, 0), None, None, None),
            (told(9, 0), over(Some(9), None), None, None),
            (
                told(9, 4),
                over(Some(9), Some(4)),
                over(None, Some(4)),
                Some(Garbage::Bytes(4)),
            ),
        ] {
            assert_eq!(garbage(Some(&budget), Occasion::Idle), idle);
            assert_eq!(garbage(Some(&budget), Occasion::Busy), busy);
            assert_eq!(garbage(Some(&budget), Occasion::Full), full);
        }
        assert_eq!(garbage(None, Occasion::Full), None);
    }
}
