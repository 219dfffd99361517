//! What a build is expected to cost. Knows not where the figures come from.

/// What a build is expected to cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// How long it runs on a machine of speed factor 1, in seconds; finite, not
    /// below zero.
    pub seconds: f64,
    /// What the figures rest on.
    pub confidence: Confidence,
    /// The most memory it takes at one time, in bytes, where that is known.
    pub peak_memory: Option<u64>,
    /// The size of its outputs together as NARs, in bytes, where that is known.
    pub output_bytes: Option<u64>,
}

impl Estimate {
    /// The estimate for a build of which nothing is known: a minute, which is
    /// about the middle of what a distribution's packages take.
    pub const UNKNOWN: Self = Self {
        seconds: 60.0,
        confidence: Confidence::Guess,
        peak_memory: None,
        output_bytes: None,
    };

    /// What to plan with: how long a build runs that is no nice surprise.
    ///
    /// Most builds are short and a few are very long. Of what nothing is known
    /// the long is assumed: a short build that starts early, on a fast machine,
    /// costs little; a long one that starts late on a slow one costs all.
    pub(crate) fn cautious_seconds(&self) -> f64 {
        match self.confidence {
            Confidence::Guess => self.seconds * CAUTION,
            Confidence::Similar | Confidence::Known => self.seconds,
        }
    }
}

/// How much longer than expected a build is assumed to run of which nothing is
/// known.
const CAUTION: f64 = 16.0;

/// What an estimate rests on, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// On builds in general.
    Guess,
    /// On builds of the same package for the same system.
    Similar,
    /// On builds of the same derivation.
    Known,
}
