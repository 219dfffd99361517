//! How long a build may run, be silent, and how much it may say. Pure: told
//! the time, it says whether that is too much and when to ask again.

use std::fmt;
use std::time::{Duration, Instant};

/// What a build may not exceed; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The longest time without a byte in its log.
    pub max_silent_time: Option<Duration>,
    /// The longest time from its start.
    pub timeout: Option<Duration>,
    /// The most bytes in its log.
    pub max_log_size: Option<u64>,
}

/// A limit that a build went over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// It said nothing for so long.
    Silent(Duration),
    /// It ran for so long.
    Long(Duration),
    /// It wrote more than so many bytes.
    Loud(u64),
}

/// Nix's words, after the name of what was stopped.
impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(time) => {
                write!(f, "timed out after {} seconds of silence", time.as_secs())
            }
            Self::Long(time) => write!(f, "timed out after {} seconds", time.as_secs()),
            Self::Loud(most) => write!(
                f,
                "killed after writing more than {most} bytes of log output"
            ),
        }
    }
}

/// Watches one build.
#[derive(Debug)]
pub(super) struct Watch {
    limits: Limits,
    started: Instant,
    last_output: Instant,
    log_size: u64,
}

impl Watch {
    /// A watch over a build that starts at `now`.
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            started: now,
            last_output: now,
            log_size: 0,
        }
    }

    /// The build wrote `bytes` at `now`.
    pub(super) fn output(&mut self, bytes: usize, now: Instant) -> Result<(), Excess> {
        self.last_output = now;
        self.log_size = self.log_size.saturating_add(bytes as u64);
        match self.limits.max_log_size {
            Some(most) if self.log_size > most => Err(Excess::Loud(most)),
            _ => Ok(()),
        }
    }

    /// The next instant at which `check` may have something to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let silent = self.limits.max_silent_time;
        let silent = silent.and_then(|time| self.last_output.checked_add(time));
        let long = self.limits.timeout;
        let long = long.and_then(|time| self.started.checked_add(time));
        silent.into_iter().chain(long).min()
    }

    /// Whether a limit of time is exceeded at `now`.
    pub(super) fn check(&self, now: Instant) -> Result<(), Excess> {
        if let Some(time) = self.limits.max_silent_time
            && now.saturating_duration_since(self.last_output) >= time
        {
            return Err(Excess::Silent(time));
        }
        match self.limits.timeout {
            Some(time) if now.saturating_duration_since(self.started) >= time => {
                Err(Excess::Long(time))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_and_time_are_limited() {
        let start = Instant::now();
        let limits = Limits {
            max_silent_time: Some(seconds(5)),
            timeout: Some(seconds(8)),
            max_log_size: None,
        };
        let mut watch = Watch::new(limits, start);
        assert_eq!(watch.deadline(), Some(start + seconds(5)));
        assert_eq!(watch.check(start + seconds(4)), Ok(()));
        assert_eq!(watch.output(1 << 40, start + seconds(4)), Ok(()));
        assert_eq!(watch.deadline(), Some(start + seconds(8)));
        assert_eq!(watch.check(start + seconds(5)), Ok(()));
        assert_eq!(
            watch.check(start + seconds(8)),
            Err(Excess::Long(seconds(8)))
        );
        assert_eq!(
            watch.check(start + seconds(9)),
            Err(Excess::Silent(seconds(5)))
        );
    }

    #[test]
    fn the_log_is_limited() {
        let start = Instant::now();
        let limits = Limits {
            max_log_size: Some(10),
            ..Limits::default()
        };
        let mut watch = Watch::new(limits, start);
        assert_eq!(watch.deadline(), None);
        assert_eq!(watch.output(10, start), Ok(()));
        assert_eq!(watch.output(1, start), Err(Excess::Loud(10)));
    }
}
