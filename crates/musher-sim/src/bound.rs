//! How fast requests could be at best, and how fast each would be on its fair
//! share. Knows no policy.

use crate::fleet::Fleet;
use crate::graph::Graph;

/// A request as far as its limits go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// When it arrives, in seconds.
    pub(crate) arrives: f64,
    /// Its work, in seconds of a machine of speed factor 1.
    pub(crate) work: f64,
    /// Its critical path on the fastest machine, in seconds.
    pub(crate) path: f64,
}

impl Load {
    pub(crate) fn of(graph: &Graph, arrives: f64, fleet: &Fleet) -> Self {
        Self {
            arrives,
            work: graph.work(),
            path: graph.critical_path() / fleet.best_speed(),
        }
    }
}

/// When the last of the requests can be over at the earliest, in seconds: none
/// before its critical path, and all that arrive from some moment on not before
/// the whole fleet has done their work.
pub(crate) fn lower_bound(loads: &[Load], capacity: f64) -> f64 {
    let work_from = |moment: f64| -> f64 {
        (loads.iter().filter(|load| load.arrives >= moment))
            .map(|load| load.work)
            .sum()
    };
    (loads.iter())
        .map(|load| load.arrives + (work_from(load.arrives) / capacity).max(load.path))
        .fold(0.0, f64::max)
}

/// For each request, when it would be over if the fleet's capacity were shared
/// evenly at every moment among those whose work is not done, and work could be
/// divided as one likes; not before its critical path.
pub(crate) fn fair_ends(loads: &[Load], capacity: f64) -> Vec<f64> {
    let mut left: Vec<f64> = loads.iter().map(|load| load.work).collect();
    let mut ends: Vec<f64> = loads.iter().map(|load| load.arrives + load.path).collect();
    let mut arrivals: Vec<f64> = loads.iter().map(|load| load.arrives).collect();
    arrivals.sort_by(f64::total_cmp);
    let mut open: Vec<usize> = (0..loads.len()).collect();
    let mut now = arrivals.first().copied().unwrap_or_default();
    while !open.is_empty() {
        let active: Vec<usize> = (open.iter().copied())
            .filter(|at| loads[*at].arrives <= now)
            .collect();
        let next_arrival = arrivals.iter().copied().find(|arrival| *arrival > now);
        let share = capacity / active.len().max(1) as f64;
        let first_done = (active.iter())
            .map(|at| now + left[*at] / share)
            .min_by(f64::total_cmp);
        let until = match (first_done, next_arrival) {
            (Some(done), Some(arrival)) => done.min(arrival),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => break,
        };
        for at in active {
            let done_by = now + left[at] / share;
            left[at] -= (until - now) * share;
            if done_by <= until {
                ends[at] = ends[at].max(until);
                open.retain(|other| *other != at);
            }
        }
        now = until;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(arrives: f64, work: f64, path: f64) -> Load {
        Load {
            arrives,
            work,
            path,
        }
    }

    #[test]
    fn the_bound_is_work_or_path_whichever_is_longer() {
        assert_eq!(lower_bound(&[load(0.0, 100.0, 5.0)], 10.0), 10.0);
        assert_eq!(lower_bound(&[load(0.0, 100.0, 50.0)], 10.0), 50.0);
    }

    #[test]
    fn late_work_cannot_be_done_before_it_arrives() {
        let loads = [load(0.0, 10.0, 1.0), load(100.0, 200.0, 1.0)];
        assert_eq!(lower_bound(&loads, 10.0), 120.0);
    }

    #[test]
    fn a_fair_share_is_half_for_two_and_the_whole_for_one() {
        let loads = [load(0.0, 100.0, 1.0), load(0.0, 50.0, 1.0)];
        // Both at half until 10 s, then one alone.
        assert_eq!(fair_ends(&loads, 10.0), [15.0, 10.0]);
    }

    #[test]
    fn a_share_is_small_only_while_others_are_there() {
        let loads = [load(0.0, 100.0, 1.0), load(50.0, 100.0, 30.0)];
        assert_eq!(fair_ends(&loads, 10.0), [10.0, 80.0]);
    }

    #[test]
    fn requests_without_work_end_when_they_arrive() {
        assert_eq!(fair_ends(&[load(3.0, 0.0, 0.0)], 10.0), [3.0]);
    }
}
