//! Why no attempt of a build runs, as those see it who follow the build. Words
//! and shapes; the scheduler gives the reasons.

use std::collections::BTreeMap;
use std::sync::Arc;

use musher_scheduler::{MachineId, OwnerId, Status, WhyNot};

/// Machines whose reasons are told to those who follow a build.
const TOLD: usize = 32;

/// Why no attempt of a build runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// For people, in one line.
    pub(crate) text: Arc<str>,
    /// What it waits for; none where it is not the scheduler that it waits for.
    pub(crate) details: Option<Details>,
}

/// What a build waits for that could run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Details {
    /// How many go first; 100 stands for more.
    pub(crate) ahead: usize,
    /// Who has as many attempts running as they may have.
    pub(crate) limit: Option<(OwnerId, u32)>,
    /// What stands in the way, machine by machine.
    pub(crate) obstacles: Arc<[Obstacle]>,
    /// How many machines are left out.
    pub(crate) more: usize,
}

/// Why a machine does not make a build now. Without times: a reason is new only
/// when another one holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// Which.
    pub(crate) machine: MachineId,
    /// The kind of reason, in a word.
    pub(crate) kind: &'static str,
    /// For people; goes on where the machine's name ends.
    pub(crate) text: String,
    /// What is waited for instead.
    pub(crate) awaited: Option<MachineId>,
}

impl From<&str> for Waiting {
    fn from(text: &str) -> Self {
        Self {
            text: text.into(),
            details: None,
        }
    }
}

impl Waiting {
    /// Why a build waits, with the reasons of the machines that could ever make
    /// it, of which not more than a few; none if it does not wait.
    pub(crate) fn of(status: &Status) -> Option<Self> {
        let (details, text) = explained(status, false)?;
        Some(Self {
            text: text.into(),
            details: Some(details),
        })
    }

    /// Uses the memory of `other` for the reasons, if they are the same: many
    /// builds wait for the same.
    pub(crate) fn sharing(mut self, other: &mut Arc<[Obstacle]>) -> Self {
        if let Some(details) = &mut self.details {
            match details.obstacles == *other {
                true => details.obstacles = other.clone(),
                false => *other = details.obstacles.clone(),
            }
        }
        self
    }
}

impl Details {
    /// The same with the reasons of every machine, those included that could
    /// never make it.
    pub(crate) fn all(status: &Status) -> Option<Self> {
        explained(status, true).map(|(details, _)| details)
    }
}

fn explained(status: &Status, all: bool) -> Option<(Details, String)> {
    let Status::Waiting {
        ahead,
        limit,
        machines,
        ..
    } = status
    else {
        return None;
    };
    // A machine that could never build it is no reason to wait.
    let able = (machines.iter()).filter(|(_, why)| all || !matches!(why, WhyNot::Lacks(_)));
    let told = if all { usize::MAX } else { TOLD };
    let mut obstacles = Vec::new();
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut more = 0;
    for (machine, why) in able {
        let text = why.to_string();
        if obstacles.len() < told {
            obstacles.push(Obstacle {
                machine: machine.clone(),
                kind: kind(why),
                text: text.clone(),
                awaited: awaited(why),
            });
        } else {
            more += 1;
        }
        reasons.entry(text).or_default().push(machine.as_str());
    }
    let details = Details {
        ahead: *ahead,
        limit: limit.clone(),
        obstacles: obstacles.into(),
        more,
    };
    Some((details, text(*ahead, limit.as_ref(), &reasons)))
}

/// The reasons in one line: those of all machines, those alike together.
fn text(
    ahead: usize,
    limit: Option<&(OwnerId, u32)>,
    reasons: &BTreeMap<String, Vec<&str>>,
) -> String {
    // It waits for nothing else.
    if let Some((owner, limit)) = limit {
        return match limit {
            1 => format!("{owner} may have 1 build running at once, and has"),
            limit => format!("{owner} may have {limit} builds running at once, and has"),
        };
    }
    let reasons: Vec<_> = (reasons.iter())
        .map(|(reason, machines)| format!("{} {reason}", machines.join(", ")))
        .collect();
    match ahead {
        0 => format!("waiting for a machine: {}", reasons.join("; ")),
        1 => format!("1 build is before it: {}", reasons.join("; ")),
        100.. => format!("100 builds and more are before it: {}", reasons.join("; ")),
        ahead => format!("{ahead} builds are before it: {}", reasons.join("; ")),
    }
}

fn kind(why: &WhyNot) -> &'static str {
    match why {
        WhyNot::Lacks(_) => "lacks",
        WhyNot::Drained => "drained",
        WhyNot::Away { .. } => "away",
        WhyNot::NoFreeSlot { .. } => "full",
        WhyNot::FaultedHere => "faulted-here",
        WhyNot::NoMemory { .. } => "no-memory",
        WhyNot::Slower { .. } => "slower",
        WhyNot::OthersFirst => "others-first",
    }
}

fn awaited(why: &WhyNot) -> Option<MachineId> {
    match why {
        WhyNot::Slower { awaited, .. } => Some(awaited.clone()),
        WhyNot::Lacks(_)
        | WhyNot::Drained
        | WhyNot::Away { .. }
        | WhyNot::NoFreeSlot { .. }
        | WhyNot::FaultedHere
        | WhyNot::NoMemory { .. }
        | WhyNot::OthersFirst => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::expect;
    use musher_scheduler::{Lack, Status, Timestamp, WhyNot};

    use super::{Details, Waiting};

    fn status(ahead: usize, limit: Option<(&str, u32)>, full: usize) -> Status {
        let mut machines = vec![
            (
                "arm".into(),
                WhyNot::Lacks(vec![Lack::Features {
                    missing: ["kvm".to_owned()].into(),
                }]),
            ),
            (
                "slow".into(),
                WhyNot::Slower {
                    awaited: "m0".into(),
                    free_at: Timestamp::from_millis(7),
                },
            ),
        ];
        for number in 0..full {
            let id = format!("m{number}").as_str().into();
            machines.push((id, WhyNot::NoFreeSlot { slots: 2 }));
        }
        Status::Waiting {
            since: Timestamp::from_millis(0),
            ahead,
            limit: limit.map(|(owner, limit)| (owner.into(), limit)),
            machines,
        }
    }

    fn told(status: &Status) -> Waiting {
        Waiting::of(status).expect("it waits")
    }

    #[test]
    fn machines_that_never_could_are_no_reason() {
        let waiting = told(&status(0, None, 2));
        expect!["waiting for a machine: m0, m1 has all 2 slots taken; slow would finish it later than `m0`, which is soon free"].assert_eq(&waiting.text);
        let details = waiting.details.expect("details");
        let kinds: Vec<_> = (details.obstacles.iter())
            .map(|it| format!("{} {} {:?}", it.machine, it.kind, it.awaited))
            .collect();
        expect![[r#"
            slow slower Some(MachineId("m0"))
            m0 full None
            m1 full None"#]]
        .assert_eq(&kinds.join("\n"));
        let all = Details::all(&status(0, None, 2)).expect("it waits");
        assert_eq!(all.obstacles.len(), 4);
    }

    #[test]
    fn a_limit_is_the_whole_reason() {
        let text = told(&status(3, Some(("alice", 4)), 2)).text;
        assert_eq!(&*text, "alice may have 4 builds running at once, and has");
    }

    #[test]
    fn of_many_machines_some_are_told_and_builds_share_the_list() {
        let first = told(&status(1, None, 100));
        let mut shared = Arc::from([]);
        let first = first.sharing(&mut shared);
        let second = told(&status(2, None, 100)).sharing(&mut shared);
        let details = |waiting: Waiting| waiting.details.expect("details");
        let (first, second) = (details(first), details(second));
        assert_eq!((first.obstacles.len(), first.more), (32, 69));
        assert!(Arc::ptr_eq(&first.obstacles, &second.obstacles));
        assert_eq!((first.ahead, second.ahead), (1, 2));
    }
}
