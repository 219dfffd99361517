//! What the scheduler is told that builds will cost, beside what they do cost.

use musher_scheduler::{Confidence, Estimate};

use crate::Random;
use crate::graph::Node;

/// The part of the builds of which nothing is known, where estimates are noisy.
const UNKNOWN: f64 = 0.3;

/// How far off the others are: the deviation of the logarithm of the factor.
const SIGMA: f64 = 0.3;

/// How good estimates are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estimates {
    /// What each build takes is known.
    Exact,
    /// Of three in ten nothing is known, the others are off by a factor.
    Noisy,
    /// Of none anything is known.
    None,
}

/// Makes estimates, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Estimator {
    estimates: Estimates,
    random: Random,
}

impl Estimator {
    pub(crate) fn new(estimates: Estimates, seed: u64) -> Self {
        Self {
            estimates,
            random: Random::new(seed, "estimates"),
        }
    }

    /// The estimate for the next node.
    pub(crate) fn estimate(&mut self, node: &Node) -> Estimate {
        match self.estimates {
            Estimates::None => Estimate::UNKNOWN,
            Estimates::Exact => Estimate {
                seconds: node.seconds,
                confidence: Confidence::Known,
                peak_memory: None,
                output_bytes: Some(node.output_bytes),
            },
            Estimates::Noisy => {
                // All are drawn for every node, so that one that is known has
                // the same error whichever others are.
                let unknown = self.random.happens(UNKNOWN);
                let time = (SIGMA * self.random.normal()).exp();
                let size = (SIGMA * self.random.normal()).exp();
                if unknown {
                    return Estimate::UNKNOWN;
                }
                Estimate {
                    seconds: node.seconds * time,
                    confidence: Confidence::Similar,
                    peak_memory: None,
                    output_bytes: Some(whole(node.output_bytes as f64 * size)),
                }
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a size that is not negative; more than the largest is the largest"
)]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(estimates: Estimates) -> Vec<Estimate> {
        let node = Node {
            name: "a".to_owned(),
            seconds: 100.0,
            output_bytes: 1000,
            deps: vec![],
        };
        let mut estimator = Estimator::new(estimates, 5);
        (0..4000).map(|_| estimator.estimate(&node)).collect()
    }

    #[test]
    fn of_three_in_ten_nothing_is_known_and_the_others_are_off_by_sigma() {
        let drawn = drawn(Estimates::Noisy);
        let known: Vec<f64> = (drawn.iter())
            .filter(|estimate| estimate.confidence == Confidence::Similar)
            .map(|estimate| (estimate.seconds / 100.0).ln())
            .collect();
        let part = known.len() as f64 / drawn.len() as f64;
        assert!((part - 0.7).abs() < 0.03, "{part}");
        let square = known.iter().map(|x| x * x).sum::<f64>() / known.len() as f64;
        assert!((square.sqrt() - 0.3).abs() < 0.02, "{square}");
    }

    #[test]
    fn exact_is_exact_and_none_is_nothing() {
        let exact = drawn(Estimates::Exact);
        assert!(
            exact
                .iter()
                .all(|e| e.seconds == 100.0 && e.output_bytes == Some(1000))
        );
        assert!(
            drawn(Estimates::None)
                .iter()
                .all(|e| *e == Estimate::UNKNOWN)
        );
    }
}
