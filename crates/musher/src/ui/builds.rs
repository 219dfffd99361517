//! What is built for one request, as a person sees it: a pure fold over what
//! the coordinator tells. Knows neither terminal nor clock.

mod lines;
mod log;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use musher_api::coordinator as api;
use musher_api::coordinator::build_news::News;
use musher_api::coordinator::realise_event::Event;
use musher_protocol::types::BuildStatus;

use super::quantity;
use log::Log;

/// Everything that is built for one request, so far.
#[derive(Debug, Default)]
pub(crate) struct Builds {
    builds: BTreeMap<String, Build>,
    /// How many builds have begun; numbers them in this order.
    begun: u64,
    /// How many derivations are to be built, once that is known.
    planned: Option<usize>,
    /// Bytes of outputs on their way home.
    importing: Option<u64>,
    imported: Imported,
    /// When it is expected to be over.
    expected: Option<Expected>,
    /// Beginnings of builds that are not said before it is known how many there
    /// are; at most one a slot.
    held: Vec<Line>,
    wait: Wait,
}

/// For how long everything must have waited for one reason before that is said
/// where lines stay: what passes at once is worth no line.
const PATIENCE: Duration = Duration::from_secs(5);

/// What everything waits for, as [`Builds::overdue`] last found it.
#[derive(Debug, Default)]
struct Wait {
    /// The reason, and when it was first found.
    now: Option<(String, Duration)>,
    /// The reason that was said last.
    said: Option<String>,
}

/// When everything is expected to be over.
#[derive(Debug, Clone, Copy)]
struct Expected {
    end: Duration,
    is_guess: bool,
}

/// What came home.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Imported {
    pub(crate) paths: usize,
    pub(crate) nar_bytes: u64,
}

/// One of the builds.
#[derive(Debug, Default)]
pub(crate) struct Build {
    state: State,
    log: Log,
    /// Whether someone else's failure is the reason that it is not built.
    culprit: Option<String>,
}

/// Where a build is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum State {
    /// Nothing was heard of it.
    #[default]
    Unknown,
    /// No attempt runs, for this reason.
    Waiting(String),
    Running {
        /// In the order in which builds began.
        turn: u64,
        machine: String,
        since: Duration,
    },
    Built {
        machine: String,
    },
    /// A machine had its outputs already.
    Found,
    Failed {
        machine: String,
        took: Duration,
        error: String,
        help: String,
        kept_dir: String,
    },
}

/// A line that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// Something began or ended; for where nothing else shows it.
    Step(String),
    /// A build program said this.
    Log(String),
}

/// How a build failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FailedBuild<'a> {
    /// Its derivation, absolute.
    pub(crate) drv_path: &'a str,
    /// Why, by the words of who built it.
    pub(crate) error: &'a str,
    /// What can be done about it; mostly empty.
    pub(crate) help: &'a str,
    /// Where on the machine its build directory was kept; empty if it was not.
    pub(crate) kept_dir: &'a str,
    /// Where; empty if nowhere.
    pub(crate) machine: &'a str,
    pub(crate) took: Duration,
    /// The last lines of its log.
    pub(crate) log: Vec<&'a str>,
    /// How many lines came before these.
    pub(crate) earlier: u64,
}

impl Builds {
    /// Takes note of `event` at `now`; the lines to say for it where lines stay.
    pub(crate) fn hear(&mut self, now: Duration, event: &Event) -> Vec<Line> {
        let mut lines = self.note(now, event);
        let begins = |news: &api::BuildNews| matches!(news.news, Some(News::Started(_)));
        match event {
            Event::Planned(_) => lines.append(&mut self.held),
            Event::Build(news) if self.planned.is_none() && begins(news) => {
                self.held.append(&mut lines);
            }
            Event::Build(_)
            | Event::Importing(_)
            | Event::Imported(_)
            | Event::Outlook(_)
            | Event::Done(_) => {
                if !lines.is_empty() {
                    lines.splice(..0, self.held.drain(..));
                }
            }
        }
        lines
    }

    /// What everything has been waiting for since a while, if that was not said
    /// yet. To be asked about every second where lines stay.
    pub(crate) fn overdue(&mut self, now: Duration) -> Option<String> {
        let Some((drv_path, reason)) = self.stalled() else {
            self.wait = Wait::default();
            return None;
        };
        let line = format!("{}: {reason}", short_name(drv_path));
        let reason = reason.to_owned();
        let since = match &self.wait.now {
            Some((known, since)) if *known == reason => *since,
            Some(_) | None => now,
        };
        self.wait.now = Some((reason.clone(), since));
        let is_new = self.wait.said.as_ref() != Some(&reason);
        if !is_new || now.saturating_sub(since) < PATIENCE {
            return None;
        }
        self.wait.said = Some(reason);
        Some(line)
    }

    /// One of the builds that wait, and for what, if nothing else goes on.
    fn stalled(&self) -> Option<(&str, &str)> {
        let runs = |state: &State| matches!(state, State::Running { .. });
        if self.importing.is_some() || self.count(runs) > 0 {
            return None;
        }
        self.waiting()
    }

    fn note(&mut self, now: Duration, event: &Event) -> Vec<Line> {
        match event {
            Event::Planned(planned) => {
                self.planned = Some(planned.drv_paths.len());
                let builds = count(planned.drv_paths.len(), "derivation", "derivations");
                vec![Line::Step(format!(
                    "{builds} to build, {} valid",
                    planned.valid
                ))]
            }
            Event::Build(news) => self.news(now, news),
            Event::Importing(importing) => {
                self.importing = Some(importing.nar_bytes);
                let paths = count(importing.paths.len(), "path", "paths");
                let size = quantity::size(importing.nar_bytes);
                vec![Line::Step(format!("importing {paths}, {size}"))]
            }
            Event::Imported(imported) => {
                self.importing = None;
                self.imported.paths += imported.paths.len();
                self.imported.nar_bytes += imported.nar_bytes;
                Vec::new()
            }
            Event::Outlook(outlook) => {
                let left = outlook.left_ms.map(Duration::from_millis);
                self.expected = left.map(|left| Expected {
                    end: now + left,
                    is_guess: outlook.guess,
                });
                Vec::new()
            }
            Event::Done(_) => {
                self.importing = None;
                Vec::new()
            }
        }
    }

    fn news(&mut self, now: Duration, news: &api::BuildNews) -> Vec<Line> {
        let name = short_name(&news.drv_path);
        let build = self.builds.entry(news.drv_path.clone()).or_default();
        match &news.news {
            None => Vec::new(),
            Some(News::Waiting(waiting)) => {
                build.state = State::Waiting(super::plain_line(&waiting.reason));
                Vec::new()
            }
            Some(News::Started(started)) => {
                self.begun += 1;
                build.log = Log::default();
                build.state = State::Running {
                    turn: self.begun,
                    machine: started.machine.clone(),
                    since: now,
                };
                vec![Line::Step(format!(
                    "building {name} on {}",
                    started.machine
                ))]
            }
            Some(News::Log(piece)) => {
                let lines = build.log.take(&piece.bytes).into_iter();
                lines
                    .map(|line| Line::Log(format!("{name}> {line}")))
                    .collect()
            }
            Some(News::Ended(end)) => {
                let took = Duration::from_millis(end.duration_ms);
                let machine = end.machine.clone();
                let time = quantity::duration(took);
                let mut line = match (end_of(end.status), end.machine.as_str()) {
                    (End::Built, machine) => format!("built {name} on {machine} in {time}"),
                    (End::Found, machine) => format!("found {name} on {machine}"),
                    (End::Failed, "") => format!("failed {name}"),
                    (End::Failed, machine) => format!("failed {name} on {machine} after {time}"),
                };
                if end.usage.as_ref().is_some_and(|usage| !usage.sandboxed) {
                    line += ", without a sandbox";
                }
                build.culprit = Some(end.culprit.clone()).filter(|culprit| !culprit.is_empty());
                build.state = match end_of(end.status) {
                    End::Built => State::Built { machine },
                    End::Found => State::Found,
                    End::Failed => State::Failed {
                        machine,
                        took,
                        error: super::plain(&String::from_utf8_lossy(&end.error)),
                        help: super::plain(&end.help),
                        kept_dir: super::plain_line(&end.kept_dir),
                    },
                };
                vec![Line::Step(line)]
            }
        }
    }

    /// What failed by its own fault, by derivation.
    pub(crate) fn failures(&self) -> Vec<FailedBuild<'_>> {
        let own = (self.builds.iter()).filter(|(_, build)| build.culprit.is_none());
        own.filter_map(|(drv_path, build)| match &build.state {
            State::Failed {
                machine,
                took,
                error,
                help,
                kept_dir,
            } => Some(FailedBuild {
                drv_path,
                error,
                help,
                kept_dir,
                machine,
                took: *took,
                log: build.log.last_lines(),
                earlier: build.log.earlier(),
            }),
            State::Unknown
            | State::Waiting(_)
            | State::Running { .. }
            | State::Built { .. }
            | State::Found => None,
        })
        .collect()
    }

    /// How many were not built because of others.
    pub(crate) fn given_up(&self) -> usize {
        let builds = self.builds.values();
        builds.filter(|build| build.culprit.is_some()).count()
    }

    /// What each machine built: names in the order of the derivations' paths.
    pub(crate) fn by_machine(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut machines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (drv_path, build) in &self.builds {
            if let State::Built { machine, .. } = &build.state {
                machines
                    .entry(machine)
                    .or_default()
                    .push(short_name(drv_path));
            }
        }
        for names in machines.values_mut() {
            names.sort_unstable();
        }
        machines
    }

    /// What came home.
    pub(crate) fn imported(&self) -> Imported {
        self.imported
    }

    fn count(&self, is: impl Fn(&State) -> bool) -> usize {
        let builds = self.builds.values();
        builds.filter(|build| is(&build.state)).count()
    }

    /// How many were built.
    pub(crate) fn built(&self) -> usize {
        self.count(|state| matches!(state, State::Built { .. }))
    }

    /// How many a machine had already.
    pub(crate) fn found(&self) -> usize {
        self.count(|state| *state == State::Found)
    }
}

fn count(count: usize, one: &str, more: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    }
}

/// How a build ended.
enum End {
    Built,
    Found,
    Failed,
}

/// The same by Nix's number of its status.
fn end_of(status: u32) -> End {
    let known = BuildStatus::ALL
        .into_iter()
        .find(|known| *known as u32 == status);
    match known {
        Some(BuildStatus::AlreadyValid | BuildStatus::ResolvesToAlreadyValid) => End::Found,
        Some(status) if status.is_success() => End::Built,
        Some(_) | None => End::Failed,
    }
}

/// `hello-2.12` of `/nix/store/…-hello-2.12.drv`.
pub(crate) fn short_name(drv_path: &str) -> &str {
    let base = drv_path.rsplit('/').next().unwrap_or(drv_path);
    let name = base.split_once('-').map_or(base, |(_, name)| name);
    name.strip_suffix(".drv").unwrap_or(name)
}
