//! Whether a download that failed is tried again, and when. Pure.

use std::time::Duration;

/// How often a download is tried, as in Nix (`download-attempts`).
pub(super) const ATTEMPTS: u32 = 5;

/// The first wait; each later one is twice as long.
const FIRST: Duration = Duration::from_millis(250);
/// The first wait where a server asks for patience.
const PATIENT: Duration = Duration::from_secs(5);

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server answered with this status.
    Status(u16),
    /// There was no answer, or it broke off.
    Connection,
}

/// How long to wait before attempt `attempt` (from 1) is followed by the next;
/// none if that would be no use. `jitter` is between 0 and 1, and keeps many
/// from coming back at once.
pub(super) fn wait(failure: Failure, attempt: u32, jitter: f64) -> Option<Duration> {
    if attempt >= ATTEMPTS {
        return None;
    }
    let first = match failure {
        Failure::Status(429) => PATIENT,
        // What the server will never do, and what the request has wrong.
        Failure::Status(501 | 505 | 511) => return None,
        Failure::Status(408 | 500..) | Failure::Connection => FIRST,
        Failure::Status(_) => return None,
    };
    let power = f64::from(attempt - 1) + jitter / 2.0;
    Some(first.mul_f64(power.exp2()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow() {
        let waits: Vec<_> = (1..=ATTEMPTS)
            .map(|attempt| wait(Failure::Connection, attempt, 0.0).map(|wait| wait.as_millis()))
            .collect();
        assert_eq!(waits, [Some(250), Some(500), Some(1000), Some(2000), None]);
        assert!(wait(Failure::Connection, 1, 1.0) > wait(Failure::Connection, 1, 0.0));
    }

    #[test]
    fn only_what_may_pass_is_waited_for() {
        for status in [400, 401, 403, 404, 410, 416, 501] {
            assert_eq!(wait(Failure::Status(status), 1, 0.0), None, "{status}");
        }
        for status in [408, 500, 502, 503, 504] {
            assert!(wait(Failure::Status(status), 1, 0.0).is_some(), "{status}");
        }
        assert_eq!(
            wait(Failure::Status(429), 1, 0.0),
            Some(Duration::from_secs(5))
        );
    }
}
