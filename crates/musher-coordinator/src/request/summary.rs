//! Where the time of a request went. Pure: knows what was built when, and what
//! the machines can do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use musher_scheduler::MachineId;
use nix_derivation::StorePath;

use crate::build::Times;
use crate::core::Power;

/// How many of the longest builds are named.
const NAMED: usize = 3;

/// A build that was made for the request.
#[derive(Debug, Clone)]
pub(super) struct Step<'a> {
    pub(super) drv: &'a StorePath,
    pub(super) machine: &'a MachineId,
    pub(super) system: &'a str,
    /// How long the build program ran.
    pub(super) wall: Duration,
    pub(super) times: Times,
    /// What it needs, also what was not built.
    pub(super) needs: &'a [StorePath],
}

/// Where the time of a request went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) took: Duration,
    /// How many builds were made.
    pub(crate) builds: usize,
    /// What it had to take at least for all the work there was, and how many
    /// slots there were for it.
    pub(crate) work: Duration,
    pub(crate) slots: u32,
    /// What it had to take at least for its longest row of builds.
    pub(crate) critical: Duration,
    /// The row of builds that ended last.
    pub(crate) row: Row,
}

/// What a row of builds spent its time with, of which each needed the one before
/// it. It is all the time there was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// Until builds were ready.
    pub(crate) planning: Duration,
    /// For slots.
    pub(crate) waiting: Duration,
    /// In attempts that were lost.
    pub(crate) lost: Duration,
    /// Between an order and the start of the build program.
    pub(crate) sending: Duration,
    pub(crate) building: Duration,
    /// From the last build to the end.
    pub(crate) fetching: Duration,
    /// The longest builds, the longest first.
    pub(crate) long_poles: Vec<LongPole>,
}

/// A build that took long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LongPole {
    pub(crate) drv: StorePath,
    pub(crate) machine: MachineId,
    pub(crate) wall: Duration,
}

impl Summary {
    /// The least time that these builds could have taken on these machines if
    /// nothing had to be sent.
    pub(crate) fn bound(&self) -> Duration {
        self.work.max(self.critical)
    }

    /// The summary of a request that began and was over then; none of nothing.
    pub(super) fn of(
        began: Instant,
        over: Instant,
        steps: &[Step<'_>],
        powers: &BTreeMap<MachineId, Power>,
    ) -> Option<Self> {
        if steps.is_empty() {
            return None;
        }
        let mut steps: Vec<_> = steps.iter().collect();
        steps.sort_by_key(|step| (step.times.ended, step.drv));
        let speed = |machine: &MachineId| powers.get(machine).map_or(1.0, |power| power.speed);
        // As it would be on a machine of speed 1.
        let effort = |step: &Step<'_>| step.wall.as_secs_f64() * speed(step.machine);
        let systems: BTreeSet<_> = steps.iter().map(|step| step.system).collect();
        let able = || {
            let builds = |power: &&Power| systems.iter().any(|it| power.systems.contains(*it));
            powers.values().filter(builds)
        };
        let work: f64 = steps.iter().map(|step| effort(step)).sum();
        let capacity: f64 = able()
            .map(|power| f64::from(power.slots) * power.speed)
            .sum();
        let used = steps.iter().map(|step| speed(step.machine));
        let best = able().map(|power| power.speed).chain(used);
        let best = best.fold(0.0, f64::max);
        // Whoever needs another ended later.
        let mut rows: BTreeMap<&StorePath, f64> = BTreeMap::new();
        for step in &steps {
            let before = step.needs.iter().filter_map(|need| rows.get(need));
            let before = before.copied().fold(0.0, f64::max);
            rows.insert(step.drv, before + effort(step));
        }
        let longest = rows.into_values().fold(0.0, f64::max);
        let quotient = |sum: f64, by: f64| Duration::try_from_secs_f64(sum / by);
        Some(Self {
            took: over.saturating_duration_since(began),
            builds: steps.len(),
            // Without a machine there is no bound.
            work: quotient(work, capacity).unwrap_or_default(),
            slots: able().map(|power| power.slots).sum(),
            critical: quotient(longest, best).unwrap_or_default(),
            row: Row::of(began, over, &chain(&steps)),
        })
    }
}

/// Of `steps`, in the order in which they ended, the one that ended last, and
/// before each the one of those it needs that ended last.
fn chain<'a>(steps: &[&'a Step<'a>]) -> Vec<&'a Step<'a>> {
    let by_drv: BTreeMap<_, _> = steps.iter().map(|step| (step.drv, *step)).collect();
    let mut chain: Vec<&Step<'_>> = steps.last().copied().into_iter().collect();
    while let Some(step) = chain.last() {
        let before = step.needs.iter().filter_map(|need| by_drv.get(need));
        // What was made again later is not what it was built from.
        let before = before.filter(|need| need.times.ended <= step.times.assigned);
        let Some(before) = before.max_by_key(|need| (need.times.ended, need.drv)) else {
            break;
        };
        chain.push(before);
    }
    chain.reverse();
    chain
}

impl Row {
    fn of(began: Instant, over: Instant, chain: &[&Step<'_>]) -> Self {
        let mut row = Self::default();
        let mut at = began;
        // Another's request may have begun a build before this one.
        let mut until = |instant: Instant| {
            let instant = instant.clamp(at, over.max(at));
            let span = instant - at;
            at = instant;
            span
        };
        for step in chain {
            row.planning += until(step.times.ready);
            let waiting = until(step.times.assigned);
            let lost = step.times.lost.min(waiting);
            row.lost += lost;
            row.waiting += waiting - lost;
            let took = step.times.ended - step.times.assigned;
            row.sending += until(step.times.assigned + took.saturating_sub(step.wall));
            row.building += until(step.times.ended);
        }
        row.fetching = until(over);
        let mut longest: Vec<_> = chain.iter().collect();
        longest.sort_by_key(|step| std::cmp::Reverse(step.wall));
        let poles = longest.into_iter().take(NAMED).map(|step| LongPole {
            drv: step.drv.clone(),
            machine: step.machine.clone(),
            wall: step.wall,
        });
        row.long_poles = poles.collect();
        row
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use musher_scheduler::MachineId;
    use nix_derivation::StorePath;

    use super::{Row, Step, Summary};
    use crate::build::Times;
    use crate::core::Power;
    use crate::testing::path;

    /// `NAME needs=a,b on=MACHINE ready=0 assigned=1 ended=9 wall=7 lost=0`
    struct Line {
        drv: StorePath,
        needs: Vec<StorePath>,
        machine: MachineId,
        numbers: [u64; 5],
    }

    fn line(text: &str) -> Line {
        let words: Vec<_> = text.split_whitespace().collect();
        let value = |key: &str| {
            let mut pairs = words.iter().filter_map(|word| word.split_once('='));
            pairs
                .find(|(found, _)| *found == key)
                .map(|(_, value)| value)
        };
        let number = |key| value(key).map_or(0, |value| value.parse().expect("a number"));
        let needs = value("needs").into_iter().flat_map(|all| all.split(','));
        Line {
            drv: path(words[0]),
            needs: needs.map(path).collect(),
            machine: value("on").unwrap_or("b1").into(),
            numbers: ["ready", "assigned", "ended", "wall", "lost"].map(number),
        }
    }

    fn power(slots: u32, speed: f64, system: &str) -> Power {
        Power {
            systems: [system.to_owned()].into(),
            slots,
            speed,
        }
    }

    /// The summary of a request that took from 0 to `over` seconds.
    fn summary(over: u64, powers: &[(&str, Power)], lines: &[&str]) -> Option<Summary> {
        // Long enough ago that some builds began before.
        let began = Instant::now() + Duration::from_secs(1000);
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let lines: Vec<_> = lines.iter().map(|text| line(text)).collect();
        let steps: Vec<_> = (lines.iter())
            .map(|line| {
                let [ready, assigned, ended, wall, lost] = line.numbers;
                Step {
                    drv: &line.drv,
                    machine: &line.machine,
                    system: "x",
                    wall: Duration::from_secs(wall),
                    times: Times {
                        ready: at(ready),
                        assigned: at(assigned),
                        ended: at(ended),
                        lost: Duration::from_secs(lost),
                    },
                    needs: &line.needs,
                }
            })
            .collect();
        let powers: BTreeMap<MachineId, Power> = (powers.iter())
            .map(|(name, power)| ((*name).into(), power.clone()))
            .collect();
        let summary = Summary::of(began, at(over), &steps, &powers);
        if let Some(Summary { took, row, .. }) = &summary {
            let Row {
                planning,
                waiting,
                lost,
                sending,
                building,
                fetching,
                long_poles: _,
            } = row;
            let all = *planning + *waiting + *lost + *sending + *building + *fetching;
            assert_eq!(all, *took, "it is all the time there was");
        }
        summary
    }

    fn words(row: &Row) -> String {
        let poles: Vec<_> = (row.long_poles.iter())
            .map(|pole| format!("{} {:?}", pole.drv.name(), pole.wall))
            .collect();
        format!(
            "planning {:?}, waiting {:?}, lost {:?}, sending {:?}, building {:?}, fetching {:?}; {}",
            row.planning,
            row.waiting,
            row.lost,
            row.sending,
            row.building,
            row.fetching,
            poles.join(", ")
        )
    }

    #[test]
    fn nothing_has_no_summary() {
        assert_eq!(summary(5, &[("b1", power(4, 1.0, "x"))], &[]), None);
    }

    #[test]
    fn the_row_that_ended_last_is_followed_to_its_beginning() {
        let found = summary(
            70,
            &[("b1", power(2, 1.0, "x"))],
            &[
                "lib ready=1 assigned=3 ended=14 wall=10",
                "doc ready=1 assigned=1 ended=50 wall=49",
                "tool needs=lib,old ready=15 assigned=25 ended=40 wall=14 lost=6",
                "app needs=lib,tool ready=40 assigned=40 ended=65 wall=20",
            ],
        );
        let found = found.expect("a summary");
        expect_test::expect!["planning 2s, waiting 6s, lost 6s, sending 7s, building 44s, fetching 5s; app 20s, tool 14s, lib 10s"].assert_eq(&words(&found.row));
        // 93 s of work on 2 slots; doc alone is longer than all that, and than
        // lib, tool and app in a row.
        assert_eq!(found.work, Duration::from_millis(46_500));
        assert_eq!(found.critical, Duration::from_secs(49));
        assert_eq!(found.bound(), found.critical);
        assert_eq!((found.builds, found.slots), (4, 2));
    }

    #[test]
    fn bounds_are_those_of_the_machines_that_could_build_it() {
        let found = summary(
            100,
            &[
                ("b1", power(1, 0.5, "x")),
                ("b2", power(3, 2.0, "x")),
                ("arm", power(90, 9.0, "arm")),
            ],
            &["app on=b1 ready=0 assigned=0 ended=100 wall=100"],
        );
        let found = found.expect("a summary");
        // 50 s at speed 1, on 6.5 slots of that speed, or on the fastest.
        assert_eq!(found.critical, Duration::from_secs(25));
        assert_eq!(found.work.as_millis(), 7692);
        assert_eq!(found.slots, 4);
    }

    #[test]
    fn what_others_began_and_machines_that_are_gone_do_no_harm() {
        let began = Instant::now();
        let times = Times {
            ready: began,
            assigned: began,
            ended: began + Duration::from_secs(20),
            lost: Duration::ZERO,
        };
        let (drv, machine) = (path("app"), "gone".into());
        let step = Step {
            drv: &drv,
            machine: &machine,
            system: "x",
            wall: Duration::from_secs(19),
            times,
            needs: &[],
        };
        // Asked for when it had run for 15 s.
        let began = began + Duration::from_secs(15);
        let over = began + Duration::from_secs(6);
        let found = Summary::of(began, over, &[step], &BTreeMap::new()).expect("a summary");
        expect_test::expect![
            "planning 0ns, waiting 0ns, lost 0ns, sending 0ns, building 5s, fetching 1s; app 19s"
        ]
        .assert_eq(&words(&found.row));
        assert_eq!((found.work, found.slots), (Duration::ZERO, 0));
        assert_eq!(found.critical, Duration::from_secs(19));
    }
}
