//! Holds what a decider says of builds against what is true. Knows nothing of
//! how it came to be so.

use std::time::Duration;

use musher_scheduler::{BuildId, MachineId, Presence, Status, WhyNot};

use crate::Explainer;
use crate::world::{Breach, Build, Machine, State, World};

/// How long a request may have what could run without an attempt beginning:
/// some times as long as any build takes on any machine.
const PATIENCE: Duration = Duration::from_secs(3 * 3600);

/// What is said of one build.
pub(super) fn explanation<D: Explainer>(world: &World<D>, build: &Build) -> Result<(), Breach> {
    let said = world.decider().explain(build.id).map(|said| said.status);
    let lost = |said: &str| {
        Err(Breach::Lost {
            build: build.id,
            truth: build.truth(),
            said: said.to_owned(),
        })
    };
    match (&build.state, said) {
        (State::Over, None) => Ok(()),
        (State::Blocked, Some(Status::Planned { after })) => match after == build.missing() {
            true => Ok(()),
            false => lost(&format!("behind {after} builds, not {}", build.missing())),
        },
        (State::Running(lease), Some(Status::Running { lease: said, .. })) if *lease == said => {
            Ok(())
        }
        (
            State::Ready { since },
            Some(Status::Waiting {
                since: said,
                machines,
                ..
            }),
        ) => {
            if *since != said {
                return lost(&format!("waiting since {said}, not {since}"));
            }
            reasons(world, build, &machines)
        }
        (_, None) => lost("unknown"),
        (_, Some(Status::Planned { .. })) => lost("planned"),
        (_, Some(Status::Waiting { .. })) => lost("waiting"),
        (_, Some(Status::Running { lease, .. })) => lost(&format!("running under {lease}")),
    }
}

/// That each machine has a reason, and that it is true.
fn reasons<D: Explainer>(
    world: &World<D>,
    build: &Build,
    said: &[(MachineId, WhyNot)],
) -> Result<(), Breach> {
    for machine in world.machines().values() {
        let why = said.iter().find(|(id, _)| id == machine.id());
        let Some((_, why)) = why else {
            return Err(Breach::Silent {
                build: build.id,
                machine: machine.id().clone(),
            });
        };
        reason(world, build, machine, why)
            .map_err(|truth| untrue(build.id, machine, why, truth))?;
    }
    match said
        .iter()
        .find(|(id, _)| !world.machines().contains_key(id))
    {
        None => Ok(()),
        Some((machine, why)) => Err(Breach::Untrue {
            build: build.id,
            machine: machine.clone(),
            said: why.to_string(),
            truth: "is not there",
        }),
    }
}

fn untrue(build: BuildId, machine: &Machine, why: &WhyNot, truth: &'static str) -> Breach {
    Breach::Untrue {
        build,
        machine: machine.id().clone(),
        said: why.to_string(),
        truth,
    }
}

/// What speaks against a reason, if anything does.
fn reason<D: Explainer>(
    world: &World<D>,
    build: &Build,
    machine: &Machine,
    why: &WhyNot,
) -> Result<(), &'static str> {
    let needs = &world.derivation(build.derivation).needs;
    let lacks = needs.lacks(&machine.spec);
    let is_full = machine.taken >= machine.spec.slots;
    let holds = |holds, otherwise| if holds { Ok(()) } else { Err(otherwise) };
    // Of several reasons the one that lasts longest is expected.
    if let WhyNot::Lacks(said) = why {
        return holds(!lacks.is_empty() && *said == lacks, "lacks something else");
    }
    holds(lacks.is_empty(), "could never build it")?;
    if *why == WhyNot::Drained {
        return holds(machine.drained, "is not drained");
    }
    holds(!machine.drained, "is drained")?;
    if let WhyNot::Away { reason, retry_at } = why {
        let presence = Presence::Away {
            reason: reason.clone(),
            retry_at: *retry_at,
        };
        return holds(machine.presence == presence, "is not so away");
    }
    holds(machine.is_open(), "is away")?;
    if let WhyNot::NoFreeSlot { slots } = why {
        return holds(is_full && *slots == machine.spec.slots, "has a free slot");
    }
    holds(!is_full, "has no free slot")?;
    match why {
        WhyNot::FaultedHere => holds(build.faulted.contains(machine.id()), "never failed at it"),
        WhyNot::Slower { awaited, .. } => {
            let awaited = world.machines().get(awaited);
            let is_better = awaited.is_some_and(|awaited| {
                awaited.id() != machine.id()
                    && awaited.is_open()
                    && needs.lacks(&awaited.spec).is_empty()
            });
            holds(is_better, "is as good as what is waited for")
        }
        WhyNot::NoMemory { .. } => Err("has all the memory that there is"),
        WhyNot::OthersFirst => Ok(()),
        WhyNot::Lacks(_) | WhyNot::Drained | WhyNot::Away { .. } | WhyNot::NoFreeSlot { .. } => {
            Err("was asked for before")
        }
    }
}

/// That no request has waited too long for its next attempt.
pub(super) fn patience<D: Explainer>(world: &mut World<D>) -> Result<(), Breach> {
    match world.longest_unserved() {
        Some((request, since)) if world.now().since(since) > PATIENCE => {
            Err(Breach::Starved { request, since })
        }
        _ => Ok(()),
    }
}
