//! Signs of life, both ways.

use futures_util::{Stream, stream};
use musher_api::limits::{BEAT, SILENCE};
use musher_api::worker as api;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout_at};
use tonic::{Status, Streaming};

use super::owners::Present;

/// One stream of beats, to a caller that is there as long as it beats itself.
struct Pulse<F> {
    heard: Streaming<api::Beat>,
    /// When the caller will have been silent for too long.
    deadline: Instant,
    ticks: Interval,
    number: u64,
    beat: F,
    _present: Present,
}

/// Beats, made by `beat` from their number, until the caller falls silent.
pub(super) fn pulse(
    heard: Streaming<api::Beat>,
    present: Present,
    beat: impl Fn(u64) -> api::Beat + Send + 'static,
) -> impl Stream<Item = Result<api::Beat, Status>> + Send {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pulse = Pulse {
        heard,
        deadline: Instant::now() + SILENCE,
        ticks,
        number: 0,
        beat,
        _present: present,
    };
    stream::unfold(Some(pulse), async |pulse| {
        let mut pulse = pulse?;
        match pulse.next().await {
            Ok(beat) => Some((Ok(beat), Some(pulse))),
            Err(status) => Some((Err(status), None)),
        }
    })
}

impl<F: Fn(u64) -> api::Beat> Pulse<F> {
    async fn next(&mut self) -> Result<api::Beat, Status> {
        loop {
            tokio::select! {
                biased;
                _ = self.ticks.tick() => {
                    self.number += 1;
                    return Ok((self.beat)(self.number));
                }
                heard = timeout_at(self.deadline, self.heard.message()) => match heard {
                    Ok(Ok(Some(_))) => self.deadline = Instant::now() + SILENCE,
                    Ok(Ok(None)) => return Err(Status::cancelled("the caller has gone")),
                    Ok(Err(status)) => return Err(status),
                    Err(_) => return Err(Status::deadline_exceeded("the caller is silent")),
                },
            }
        }
    }
}
