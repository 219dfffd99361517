//! What the core learns from the attempts that end.

use std::time::Duration;

use musher_scheduler::{Confidence, Estimate};
use tokio::time::advance;

use crate::builder::Fault;
use crate::testing::{Team, ended, spec};

#[tokio::test(start_paused = true)]
async fn what_was_built_is_known_next_time() {
    let mut team = Team::new(&[("b1", 1)]).await;
    assert_eq!(team.history.estimate(&spec("app", &[])), Estimate::UNKNOWN);
    let mut app = team.request(spec("app", &["src"])).await;
    let attempt = team.next_try().await;
    // The inputs are sent.
    advance(Duration::from_secs(100)).await;
    attempt.starts();
    team.view().await;
    advance(Duration::from_secs(7)).await;
    attempt.succeeds().await;
    ended(&mut app).await;
    let known = team.history.estimate(&spec("app", &[]));
    assert_eq!(known.confidence, Confidence::Known);
    assert!((7.0..8.0).contains(&known.seconds), "{known:?}");
    assert!(known.output_bytes.is_some());
}

#[tokio::test(start_paused = true)]
async fn of_a_failure_only_the_want_of_memory_is_learnt() {
    let mut team = Team::new(&[("b1", 1), ("b2", 1)]).await;
    let mut app = team.request(spec("app", &[])).await;
    let shortage = Fault::OutOfMemory {
        text: "killed".to_owned(),
        peak: Some(1000),
    };
    team.next_try().await.faults(shortage).await;
    // It is tried again elsewhere, with what was learnt.
    team.next_try().await.fails("it is no good").await;
    let end = ended(&mut app).await;
    assert!(!end.result.status.is_success());
    let known = team.history.estimate(&spec("app", &[]));
    assert_eq!(known.confidence, Confidence::Guess);
    assert!(known.peak_memory.is_some_and(|memory| memory > 1000));
}
