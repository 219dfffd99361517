//! `Why`: what becomes of a derivation. Where nobody asks for it: whether it is
//! there, who could build it, and what is known of the last time.

#[cfg(test)]
mod tests;

use musher_api::coordinator as api;
use musher_api::coordinator::why_reply::State;
use musher_protocol::types::BasicDerivation;
use musher_scheduler::Subject;
use nix_derivation::StorePath;
use tonic::Status;

use super::explained::{count, millis, placement, waiting_for};
use super::status::finished;
use super::{Service, gone};
use crate::build::needs;
use crate::core::{Command, Fate, Why};
use crate::history::{build_kind, plain_name, report};
use crate::request::basic;

/// What becomes of `path`, a derivation or an output of one.
pub(super) async fn why(service: &Service, path: &str) -> Result<api::WhyReply, Status> {
    let path = service.parse(path)?;
    if let Some(why) = ask(service, &path).await? {
        return Ok(asked(service, *why).await);
    }
    if path.is_derivation() {
        return unasked(service, path).await;
    }
    let infos = service.home.store().path_infos(std::slice::from_ref(&path));
    let infos = infos.await.map_err(|error| unreadable(&error))?;
    let info = infos.into_iter().next();
    let output = api::OutputState {
        name: String::new(),
        path: service.store_dir.render_path(&path),
        valid: info.is_some(),
    };
    let deriver = info.and_then(|info| info.deriver);
    let mut reply = match deriver {
        Some(drv) => match ask(service, &drv).await? {
            Some(why) => return Ok(asked(service, *why).await),
            None => unasked(service, drv).await?,
        },
        None => api::WhyReply {
            state: Some(State::Unasked(api::UnaskedBuild::default())),
            ..api::WhyReply::default()
        },
    };
    if let Some(State::Unasked(unasked)) = &mut reply.state {
        unasked.outputs = vec![output];
    }
    Ok(reply)
}

async fn ask(service: &Service, path: &StorePath) -> Result<Option<Box<Why>>, Status> {
    let path = path.clone();
    let ask = |reply| Command::Why { path, reply };
    service.core.ask(ask).await.map_err(gone)
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> Status {
    Status::unavailable(crate::error_text(error))
}

/// A build that somebody asks for, or asked for lately.
async fn asked(service: &Service, why: Why) -> api::WhyReply {
    let path = |path: &StorePath| service.store_dir.render_path(path);
    let state = match &why.fate {
        Fate::Planned { after } => State::Planned(api::PlannedBuild {
            after: after.iter().map(path).collect(),
        }),
        Fate::Waiting { since, details } => State::Waiting(api::WaitingBuild {
            for_ms: millis(*since),
            details: details.as_ref().map(waiting_for),
        }),
        Fate::Running {
            machine,
            since,
            left,
            overdue,
            placement: there,
        } => State::Running(api::RunningBuild {
            machine: machine.to_string(),
            for_ms: millis(*since),
            left_ms: match left {
                Some(left) => i64::try_from(millis(*left)).unwrap_or(i64::MAX),
                None => -i64::try_from(millis(*overdue)).unwrap_or(i64::MAX),
            },
            placement: there.as_ref().map(placement),
        }),
        Fate::Ended(build) => State::Ended(api::EndedBuild {
            build: Some(finished(build, &service.store_dir)),
            placement: build.placement.as_ref().map(placement),
        }),
    };
    let mut reply = api::WhyReply {
        drv_path: path(&why.drv),
        state: Some(state),
        owners: why.owners.iter().map(ToString::to_string).collect(),
        rank_seconds: why.rank_seconds,
        faults: why.faults.iter().map(ToString::to_string).collect(),
        ..api::WhyReply::default()
    };
    if let Some(expected) = &why.estimate {
        let derivation = read(service, &why.drv).await;
        let system = derivation.as_ref().map_or("", |it| it.system.as_str());
        reply.estimate = Some(report::estimate(expected, system));
        let based_on = derivation.map(|it| based_on(service, &why.drv, &it));
        reply.based_on = based_on.unwrap_or_default();
    }
    reply
}

/// How many builds the estimate for a derivation rests on.
fn based_on(service: &Service, drv: &StorePath, derivation: &BasicDerivation) -> u32 {
    count(
        service
            .history
            .estimator()
            .based_on(&subject(drv, derivation)),
    )
}

fn subject<'a>(drv: &'a StorePath, derivation: &'a BasicDerivation) -> Subject<'a> {
    Subject {
        name: plain_name(drv),
        drv: Some(drv),
        system: &derivation.system,
        kind: build_kind(derivation),
    }
}

/// The derivation, if it is at home and can be read.
async fn read(service: &Service, drv: &StorePath) -> Option<BasicDerivation> {
    let derivation = service.home.derivation(drv).await.ok()?;
    basic(&derivation, []).ok()
}

/// A build that nobody asks for.
async fn unasked(service: &Service, drv: StorePath) -> Result<api::WhyReply, Status> {
    let mut build = api::UnaskedBuild::default();
    let mut reply = api::WhyReply {
        drv_path: service.store_dir.render_path(&drv),
        ..api::WhyReply::default()
    };
    if let Some(derivation) = read(service, &drv).await {
        let outputs = derivation.outputs.iter();
        let paths = outputs.clone().filter_map(|(_, it)| it.path.clone());
        let valid = service.home.valid(&paths.collect()).await;
        let valid = valid.map_err(|error| unreadable(&error))?;
        let state = |path: Option<&StorePath>| {
            let shown = path.map(|path| service.store_dir.render_path(path));
            let is_valid = path.is_some_and(|path| valid.contains(path));
            (shown.unwrap_or_default(), is_valid)
        };
        build.outputs = outputs
            .map(|(name, output)| {
                let (path, valid) = state(output.path.as_ref());
                let name = name.clone();
                api::OutputState { name, path, valid }
            })
            .collect();
        let needs = needs(&derivation);
        let could = service.core.ask(|reply| Command::Could { needs, reply });
        for (machine, lacks) in could.await.map_err(gone)? {
            let machine = machine.to_string();
            match lacks.is_empty() {
                true => build.able.push(machine),
                false => build.lacks.push(api::MachineLack { machine, lacks }),
            }
        }
        let expected = (service.history).estimate_of(&subject(&drv, &derivation));
        reply.estimate = Some(report::estimate(&expected, &derivation.system));
        reply.based_on = based_on(service, &drv, &derivation);
    }
    let question = api::HistoryRequest {
        name: drv.to_basename(),
        most: 1,
    };
    // A history that cannot be read says nothing, here too.
    let past = report::answer(&service.history, question).await;
    build.last = past.and_then(|past| past.attempts.into_iter().next());
    reply.state = Some(State::Unasked(build));
    Ok(reply)
}
