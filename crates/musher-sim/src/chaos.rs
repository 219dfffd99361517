//! A week of everything that can go wrong, seeded, and whether what is decided
//! in it is right all the same. The rules stand in `checker` and in
//! [`crate::world::Breach`]; what befalls the world, in `storm`.

mod checker;
mod recorder;
mod storm;

use std::fmt;
use std::time::Duration;

use musher_scheduler::{BuildId, RequestId, Timestamp};

use self::recorder::Recorder;
use self::storm::Storm;
use crate::world::{Breach, RequestEnd, World};
use crate::{Explainer, Random};

/// How long it goes on.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long after an attempt's end the coordinator hears of it.
const REPORT_DELAY: Duration = Duration::from_millis(40);

/// Every so many times all builds are asked after, and otherwise two.
const ALL_ASKED_AFTER: u64 = 64;

/// Of how many builds one that may be over is asked after.
const NEWEST: usize = 100;

/// What happened in a week.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Times that something happened.
    pub happenings: u64,
    /// The most builds that somebody wanted at one time.
    pub wanted: usize,
    /// Attempts that built something.
    pub built: usize,
    /// Requests of which all was built.
    pub requests_built: usize,
    /// Requests of which something failed.
    pub requests_failed: usize,
    /// Requests that were withdrawn.
    pub requests_withdrawn: usize,
}

/// A week that went wrong.
#[derive(Debug, Clone)]
pub struct Wrong {
    /// What everything in it follows from.
    pub seed: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub breach: Breach,
    /// What was told and decided before, a line each, the last last.
    pub story: Vec<String>,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.story {
            writeln!(f, "{line}")?;
        }
        let Self {
            seed, at, breach, ..
        } = self;
        write!(f, "at {at}: {breach} (seed {seed})")
    }
}

/// Plays the week that follows from `seed`, and then lets everything come to its
/// end.
pub fn week<D: Explainer>(seed: u64, decider: D) -> Result<Tally, Wrong> {
    let mut chaos = Chaos {
        world: World::new(Recorder::new(decider), REPORT_DELAY),
        storm: Storm::new(seed),
        random: Random::new(seed, "checker"),
        happenings: 0,
        wanted: 0,
    };
    match chaos.play() {
        Ok(()) => Ok(chaos.tally()),
        Err(breach) => Err(Wrong {
            seed,
            at: chaos.world.now(),
            breach,
            story: chaos.world.decider().story(),
        }),
    }
}

struct Chaos<D> {
    world: World<Recorder<D>>,
    storm: Storm,
    random: Random,
    happenings: u64,
    wanted: usize,
}

impl<D: Explainer> Chaos<D> {
    fn play(&mut self) -> Result<(), Breach> {
        let end = Timestamp::from_millis(0) + WEEK;
        self.storm.begin(&mut self.world);
        let mut next_strike = self.world.now() + self.storm.pause();
        while next_strike < end {
            match self.world.next_at() {
                Some(at) if at < next_strike => self.world.step(),
                _ => {
                    self.world.wait_until(next_strike);
                    self.storm.strike(&mut self.world);
                    next_strike = next_strike + self.storm.pause();
                }
            }
            self.check()?;
        }
        self.storm.calm(&mut self.world);
        self.check()?;
        while self.world.next_at().is_some() {
            self.world.step();
            self.check()?;
        }
        match self.world.requests().keys().next() {
            Some(&request) => Err(Breach::Stuck { request }),
            None => Ok(()),
        }
    }

    fn check(&mut self) -> Result<(), Breach> {
        self.happenings += 1;
        if let Some(breach) = self.world.breaches().first() {
            return Err(breach.clone());
        }
        let asked: Vec<BuildId> = self.world.live_builds().collect();
        self.wanted = self.wanted.max(asked.len());
        let explained = |id| match self.world.build(id) {
            Some(build) => checker::explanation(&self.world, build),
            None => Ok(()),
        };
        if self.happenings.is_multiple_of(ALL_ASKED_AFTER) {
            (asked.iter().copied()).try_for_each(explained)?;
            return checker::patience(&mut self.world);
        }
        // One of those that are wanted, and one of those that were or are.
        let newest = self.world.builds().len().saturating_sub(NEWEST);
        let newest = self.world.builds().get(newest..).unwrap_or_default();
        let one = self.random.choose(&asked).copied();
        let other = self.random.choose(newest).map(|build| build.id);
        (one.into_iter().chain(other)).try_for_each(explained)
    }

    fn tally(&self) -> Tally {
        let ended = |end| {
            (1..=self.storm.requests())
                .filter_map(|number| self.world.end_of(RequestId(number)))
                .filter(|(other, _)| *other == end)
                .count()
        };
        Tally {
            happenings: self.happenings,
            wanted: self.wanted,
            built: self.world.built().len(),
            requests_built: ended(RequestEnd::Built),
            requests_failed: ended(RequestEnd::Failed),
            requests_withdrawn: ended(RequestEnd::Withdrawn),
        }
    }
}
