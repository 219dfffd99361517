//! What a worker said of an attempt's end, as an outcome.

use std::time::Duration;

use futures_util::stream;
use musher_api::worker as api;
use musher_store::NarStream;

use super::interest::Interest;
use crate::attempt::Order;
use crate::build::{Exit, Measured};
use crate::builder::{Fault, Outcome};
use crate::held_outputs::HeldOutputs;

/// The outcome of `order` that `ended` says. What it built is held as long as
/// somebody has an `interest` in it.
pub(super) fn outcome(
    order: &Order,
    ended: api::Ended,
    interest: Interest,
) -> Result<Outcome, Fault> {
    let nonsense = |text: String| Err(Fault::Nonsense(text));
    let measured = measured(&ended);
    if ended.fault() != api::Fault::None {
        let peak = measured.and_then(|measured| measured.peak_memory);
        return Err(worker_fault(ended.fault(), ended.fault_text, peak));
    }
    let Some(result) = ended.result else {
        return nonsense("an end without its result".to_owned());
    };
    let (result, outputs) = match result.to_value(order.sources.home().store_dir()) {
        Ok(value) => value,
        Err(error) => return nonsense(error.to_string()),
    };
    if !result.status.is_success() {
        return Ok(Outcome {
            measured,
            kept_dir: Some(ended.kept_dir).filter(|dir| !dir.is_empty()),
            ..Outcome::failed(result)
        });
    }
    let mut infos = outputs.values();
    let held = match (infos.next(), infos.next()) {
        (Some(info), None) if ended.nar.len() as u64 == info.nar_size => {
            let nar: NarStream = Box::pin(stream::iter([Ok(ended.nar)]));
            HeldOutputs::ahead_and_rooted(info, nar, interest)
        }
        _ => HeldOutputs::rooted(interest),
    };
    Ok(Outcome {
        result,
        outputs,
        held: Some(held),
        measured,
        kept_dir: None,
    })
}

fn worker_fault(fault: api::Fault, text: String, peak: Option<u64>) -> Fault {
    let what = match fault {
        api::Fault::DiskFull => "its disk is full",
        api::Fault::OutOfMemory => return Fault::OutOfMemory { text, peak },
        api::Fault::Cancelled => "somebody else cancelled the build there",
        api::Fault::Ours | api::Fault::None => "it could not do its part",
    };
    Fault::Machine { what, text }
}

fn measured(ended: &api::Ended) -> Option<Measured> {
    let usage = ended.usage.as_ref()?;
    Some(Measured {
        wall: Duration::from_micros(usage.wall_us),
        cpu_user: Duration::from_micros(usage.cpu_user_us),
        cpu_system: Duration::from_micros(usage.cpu_system_us),
        peak_memory: (usage.peak_memory_bytes > 0).then_some(usage.peak_memory_bytes),
        written: (usage.written_bytes > 0).then_some(usage.written_bytes),
        source: usage.source.clone(),
        exit: match (usage.exit_status, usage.signal) {
            (_, Some(signal)) => Some(Exit::Signal(signal)),
            (Some(status), None) => Some(Exit::Status(status)),
            (None, None) => None,
        },
        sandboxed: usage.sandboxed,
    })
}
