//! How long to leave a machine alone that could not be reached. Pure: the
//! random number is passed in.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LAST: Duration = Duration::from_secs(60);

/// Waits that double with each failure in a row, up to a minute.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure. `random`, from 0 to 1, spreads the
    /// waits of machines that were lost together over the last quarter.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(6)).min(LAST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(1.0 - 0.25 * random.clamp(0.0, 1.0))
    }

    /// The machine was reached.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn waits_double_up_to_a_minute_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.next(0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next(1.0), Duration::from_millis(750));
    }
}
