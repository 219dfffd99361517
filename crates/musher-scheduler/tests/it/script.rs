//! A small language for telling the scheduler a story and reading its answers.
//! The one place in these tests that knows the API. Each line is a time, a verb
//! and its words:
//!
//! ```text
//! 0s  join b1 slots=4 speed=2 systems=x,y features=f mandatory=m
//! 0s  start b1 …           join, and available
//! 0s  available|drain|resume|remove b1
//! 0s  away b1 WORDS        away b1 retry=30s WORDS
//! 0s  holds b1 PATH…       forgets b1 PATH…       forgets b1
//! 0s  speed b1 2           link b1 BYTES           (a second)
//! 0s  open r1 owner=me priority=1 max=4           close r1
//! 0s  plan app for=r1 after=lib,… takes=90s memory=BYTES system=x features=f
//! 0s  request app for=r1 takes=90s memory=BYTES system=x features=f inputs=PATH:BYTES,…
//! 0s  cancel app           pass
//! 0s  finished LEASE       returned LEASE         faulted LEASE WORDS
//! 0s  why app              fleet                  could system=x features=f
//! 0s  where app            outlook r1
//! ```

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use expect_test::Expect;
use musher_scheduler::{
    Action, AttemptEnd, BuildId, Confidence, Estimate, Event, Input, LeaseId, MachineId,
    MachineSpec, Needs, PlannedBuild, Presence, RequestId, Scheduler, Settings, SpeedFactor,
    Status, Timestamp,
};
use nix_derivation::StorePath;

/// Replays `script` and compares what the scheduler did and said.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "reads better at every call")]
pub(crate) fn check(script: &str, expected: Expect) {
    expected.assert_eq(&replay(script));
}

/// What the scheduler does and says when told `script`.
fn replay(script: &str) -> String {
    let mut story = Story::new();
    for line in script.lines().filter(|line| !line.trim().is_empty()) {
        story.tell(line);
    }
    story.transcript
}

struct Story {
    scheduler: Scheduler,
    builds: Vec<String>,
    transcript: String,
}

impl Story {
    fn new() -> Self {
        Self {
            scheduler: Scheduler::new(Settings::default(), LeaseId(1)),
            builds: Vec::new(),
            transcript: String::new(),
        }
    }

    fn tell(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let [time, verb, rest @ ..] = words.as_slice() else {
            panic!("a line is a time, a verb and its words: {line}");
        };
        let now = Timestamp::from_millis(0) + seconds(time);
        match *verb {
            "why" => self.why(time, rest[0]),
            "fleet" => self.fleet(time),
            "where" => self.place(time, rest[0]),
            "outlook" => self.outlook(time, now, request(rest[0])),
            "could" => self.could(time, rest),
            _ => {
                for event in self.events(verb, rest) {
                    for action in self.scheduler.handle(now, event) {
                        let action = self.show(&action);
                        self.say(time, &action);
                    }
                }
            }
        }
    }

    fn events(&mut self, verb: &str, rest: &[&str]) -> Vec<Event> {
        let machine = || MachineId::from(rest[0]);
        let paths = || rest[1..].iter().map(|name| path(name)).collect();
        let words = |from: usize| rest[from..].join(" ");
        let lease = || LeaseId(rest[0].parse().unwrap());
        let ended = |end| Event::AttemptEnded {
            lease: lease(),
            end,
        };
        let event = match verb {
            "join" => Event::MachineConfigured { spec: spec(rest) },
            "start" => {
                return vec![
                    Event::MachineConfigured { spec: spec(rest) },
                    Event::MachineAvailable { machine: machine() },
                ];
            }
            "remove" => Event::MachineRemoved { machine: machine() },
            "available" => Event::MachineAvailable { machine: machine() },
            "away" => {
                let retry = value(rest, "retry");
                Event::MachineAway {
                    machine: machine(),
                    reason: words(if retry.is_some() { 2 } else { 1 }),
                    retry_at: retry.map(|at| Timestamp::from_millis(0) + seconds(at)),
                }
            }
            "drain" => Event::MachineDrained { machine: machine() },
            "resume" => Event::MachineResumed { machine: machine() },
            "holds" => Event::PathsHeld {
                machine: machine(),
                paths: paths(),
            },
            "forgets" if rest.len() == 1 => Event::StoreForgotten { machine: machine() },
            "forgets" => Event::PathsForgotten {
                machine: machine(),
                paths: paths(),
            },
            "speed" => Event::SpeedMeasured {
                machine: machine(),
                factor: SpeedFactor::new(rest[1].parse().unwrap()).unwrap(),
            },
            "link" => Event::LinkMeasured {
                machine: machine(),
                bytes_per_second: rest[1].parse().unwrap(),
            },
            "open" => Event::RequestOpened {
                request: request(rest[0]),
                owner: value(rest, "owner").unwrap_or("me").into(),
                priority: value(rest, "priority").map_or(0, |it| it.parse().unwrap()),
                max_running: value(rest, "max").map(|it| it.parse().unwrap()),
            },
            "close" => Event::RequestClosed {
                request: request(rest[0]),
            },
            "plan" => {
                let after = list(rest, "after").unwrap_or_default();
                let planned = PlannedBuild {
                    build: self.build(rest[0]),
                    needs: needs(rest),
                    after: after.iter().map(|name| self.build(name)).collect(),
                    estimate: estimate(rest),
                };
                Event::BuildsPlanned {
                    request: request(value(rest, "for").expect("for=r1")),
                    builds: vec![planned],
                }
            }
            "pass" => Event::TimePassed,
            "request" => Event::BuildRequested {
                request: value(rest, "for").map(request),
                estimate: estimate(rest),
                build: self.build(rest[0]),
                needs: needs(rest),
                inputs: inputs(rest),
            },
            "cancel" => Event::BuildCancelled {
                build: self.build(rest[0]),
            },
            "finished" => ended(AttemptEnd::Finished),
            "returned" => ended(AttemptEnd::Returned),
            "faulted" => ended(AttemptEnd::Faulted { reason: words(1) }),
            _ => panic!("no verb `{verb}`"),
        };
        vec![event]
    }

    fn why(&mut self, time: &str, name: &str) {
        let build = self.build(name);
        let Some(explanation) = self.scheduler.explain(build) else {
            return self.say(time, &format!("{name} is gone"));
        };
        match explanation.status {
            Status::Planned { after } => {
                self.say(time, &format!("{name} comes after {after}"));
            }
            Status::Waiting {
                since,
                ahead,
                limit,
                machines,
            } => {
                let line = format!("{name} waits since {since}, {ahead} ahead");
                self.say(time, &line);
                if let Some((owner, limit)) = limit {
                    self.say("", &format!("{owner} may have {limit}"));
                }
                for (machine, why_not) in machines {
                    self.say("", &format!("`{machine}` {why_not}"));
                }
            }
            Status::Running {
                since,
                lease,
                machine,
                expected_end: _,
            } => {
                let line = format!("{name} runs since {since} on {machine} (lease {lease})");
                self.say(time, &line);
            }
        }
        for fault in explanation.faults {
            self.say("", &format!("fault {fault}"));
        }
    }

    fn place(&mut self, time: &str, name: &str) {
        let build = self.build(name);
        let status = self.scheduler.explain(build).map(|it| it.status);
        let Some(Status::Running { lease, .. }) = status else {
            return self.say(time, &format!("{name} does not run"));
        };
        let placement = self.scheduler.placement(lease).unwrap().clone();
        let because = placement.because;
        self.say(time, &format!("{name}: {because}"));
        for slot in [&placement.chosen].into_iter().chain(&placement.others) {
            let free = match slot.free_at <= placement.at {
                true => "free".to_owned(),
                false => format!("free at {}", slot.free_at),
            };
            let (machine, ends, missing) = (&slot.machine, slot.ends_at, slot.missing);
            let line = format!("{machine} {free}, {missing} bytes missing, ends at {ends}");
            self.say("", &line);
        }
    }

    fn outlook(&mut self, time: &str, now: Timestamp, request: RequestId) {
        let line = match self.scheduler.outlook(now, request) {
            Some(it) => {
                let guess = if it.is_guess { " (a guess)" } else { "" };
                let left = it.left_seconds.map(|left| format!("{left:.0} s{guess}"));
                format!(
                    "{} planned, {} waiting, {} running, {} s of work, row of {} s, {} left",
                    it.planned,
                    it.waiting,
                    it.running,
                    it.work_seconds,
                    it.longest_row_seconds,
                    left.as_deref().unwrap_or("nobody knows how much"),
                )
            }
            None => "there is no such request".to_owned(),
        };
        self.say(time, &line);
    }

    fn fleet(&mut self, time: &str) {
        let lines: Vec<_> = (self.scheduler.fleet())
            .map(|machine| {
                let presence = match machine.presence {
                    Presence::Available => "available".to_owned(),
                    Presence::Away { reason, retry_at } => match retry_at {
                        Some(at) => format!("away until {at}: {reason}"),
                        None => format!("away: {reason}"),
                    },
                };
                let drained = if machine.drained { "drained, " } else { "" };
                let (id, slots) = (&machine.spec.id, machine.spec.slots);
                format!("{id} {}/{slots} {drained}{presence}", machine.running)
            })
            .collect();
        for line in lines {
            self.say(time, &line);
        }
    }

    fn could(&mut self, time: &str, rest: &[&str]) {
        let answer = match self.scheduler.could_build(&needs(rest)) {
            Ok(machines) => {
                let names: Vec<_> = machines.iter().map(MachineId::as_str).collect();
                format!("could be built on {}", names.join(", "))
            }
            Err(refusal) => format!("{refusal}; {}", refusal.help()),
        };
        self.say(time, &answer);
    }

    fn show(&self, action: &Action) -> String {
        let name = |build: &BuildId| &self.builds[usize::try_from(build.0).unwrap()];
        match action {
            Action::Assign {
                build,
                machine,
                lease,
            } => format!("assign {} -> {machine} (lease {lease})", name(build)),
            Action::Cancel { lease, machine } => format!("cancel lease {lease} on {machine}"),
            Action::Refuse { build, refusal } => format!("refuse {}: {refusal}", name(build)),
            Action::GiveUp { build, faults } => {
                let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
                format!("give up {}: {}", name(build), faults.join("; "))
            }
        }
    }

    fn say(&mut self, time: &str, line: &str) {
        writeln!(self.transcript, "{time:<4}{line}").unwrap();
    }

    fn build(&mut self, name: &str) -> BuildId {
        let at = self.builds.iter().position(|known| known == name);
        let at = at.unwrap_or_else(|| {
            self.builds.push(name.to_owned());
            self.builds.len() - 1
        });
        BuildId(at as u64)
    }
}

fn spec(words: &[&str]) -> MachineSpec {
    let speed = value(words, "speed").map_or(1.0, |speed| speed.parse().unwrap());
    MachineSpec {
        id: words[0].into(),
        systems: list(words, "systems").unwrap_or_else(|| ["x".to_owned()].into()),
        slots: value(words, "slots").map_or(1, |slots| slots.parse().unwrap()),
        speed_factor: SpeedFactor::new(speed).unwrap(),
        supported_features: list(words, "features").unwrap_or_default(),
        mandatory_features: list(words, "mandatory").unwrap_or_default(),
        memory: value(words, "memory").map(|bytes| bytes.parse().unwrap()),
    }
}

fn needs(words: &[&str]) -> Needs {
    Needs {
        system: value(words, "system").unwrap_or("x").to_owned(),
        features: list(words, "features").unwrap_or_default(),
    }
}

fn request(name: &str) -> RequestId {
    RequestId(name.strip_prefix('r').expect("r1").parse().unwrap())
}

/// As said; a guess, if nothing is.
fn estimate(words: &[&str]) -> Estimate {
    let takes = value(words, "takes").map(seconds);
    Estimate {
        seconds: takes.map_or(Estimate::UNKNOWN.seconds, |takes| takes.as_secs_f64()),
        confidence: takes.map_or(Confidence::Guess, |_| Confidence::Known),
        peak_memory: value(words, "memory").map(|bytes| bytes.parse().unwrap()),
        ..Estimate::UNKNOWN
    }
}

fn inputs(words: &[&str]) -> Vec<Input> {
    (value(words, "inputs")
        .into_iter()
        .flat_map(|list| list.split(',')))
    .map(|input| {
        let (name, size) = input.split_once(':').expect("PATH:BYTES");
        Input {
            path: path(name),
            nar_size: size.parse().unwrap(),
        }
    })
    .collect()
}

fn list(words: &[&str], key: &str) -> Option<BTreeSet<String>> {
    value(words, key).map(|list| list.split(',').map(str::to_owned).collect())
}

fn value<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    (words.iter().filter_map(|word| word.split_once('=')))
        .find_map(|(found, value)| (found == key).then_some(value))
}

fn path(name: &str) -> StorePath {
    StorePath::from_parts([0; 20], name).unwrap()
}

fn seconds(word: &str) -> Duration {
    Duration::from_secs(word.strip_suffix('s').expect("12s").parse().unwrap())
}
