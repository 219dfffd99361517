//! `musher status`

mod record;

use std::time::{Duration, SystemTime};

use clap::Args;

pub(super) use self::record::LiveRecord;
use self::record::StatusRecord;
use crate::context::Context;
use crate::coordinator::Coordinator;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::runtime::block_on;
use crate::ui::{Table, quantity};

/// Show the machines, and the builds that run, wait and ended lately
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {}

impl StatusArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let Self {} = self;
        let run = &context.places.run;
        let status = block_on(async { Ok(Coordinator::connect(run).await?.status().await?) })?;
        let record = StatusRecord::from(status);
        if context.ui.json {
            context.ui.json(&record)?;
        } else {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let now = now.map(|now| now.as_secs()).unwrap_or_default();
            context.ui.text(&text(&record, now))?;
        }
        Ok(Outcome::Done)
    }
}

/// The record at the time `now`, in seconds since 1970.
fn text(record: &StatusRecord, now: u64) -> String {
    let since = |then: u64| quantity::age(now.saturating_sub(then));
    let name = |drv_path: &str| drv_path.rsplit('/').next().unwrap_or(drv_path).to_owned();
    let mut parts = vec![format!(
        "coordinator {}, process {}, for {}\n",
        record.version,
        record.pid,
        since(record.started)
    )];
    if let (Some(config), Some(state)) = (&record.config, &record.state) {
        parts[0] += &format!("configuration `{config}`, state `{state}`\n");
    }

    let mut machines = Table::new(&[
        "MACHINE", "STATE", "SLOTS", "NIX", "PROTOCOL", "TRUST", "REASON",
    ]);
    for machine in &record.machines {
        machines.row([
            machine.name.clone(),
            machine.live.state.clone(),
            format!("{}/{}", machine.live.running, machine.live.slots),
            machine.live.nix_version.clone().unwrap_or_default(),
            machine.live.protocol.clone().unwrap_or_default(),
            machine.live.trust.clone().unwrap_or_default(),
            machine.live.reason.clone().unwrap_or_default(),
        ]);
    }
    parts.push(match record.machines.is_empty() {
        true => "no machine\n".to_owned(),
        false => machines.render(),
    });

    if !record.requests.is_empty() {
        let mut table = Table::new(&["REQUEST", "OF", "PLANNED", "WAITING", "RUNNING", "EXPECTED"]);
        for request in &record.requests {
            let left = request.left_ms.map(Duration::from_millis);
            table.row([
                request.id.to_string(),
                request.owner.clone(),
                request.planned.to_string(),
                request.waiting.to_string(),
                request.running.to_string(),
                (left.map(|left| quantity::left(left, request.guess))).unwrap_or_default(),
            ]);
        }
        parts.push(table.render());
    }
    if !record.running.is_empty() {
        let mut table = Table::new(&["RUNNING", "MACHINE", "FOR"]);
        for build in &record.running {
            table.row([
                name(&build.drv_path),
                build.machine.clone(),
                since(build.since),
            ]);
        }
        parts.push(table.render());
    }
    if !record.waiting.is_empty() {
        let mut table = Table::new(&["WAITING", "WHY"]);
        for build in &record.waiting {
            table.row([name(&build.drv_path), build.reason.clone()]);
        }
        parts.push(table.render());
    }
    if !record.finished.is_empty() {
        let mut table = Table::new(&["FINISHED", "MACHINE", "STATUS", "TOOK", "ATTEMPTS", "AGO"]);
        for build in &record.finished {
            table.row([
                name(&build.drv_path),
                build.machine.clone().unwrap_or_default(),
                build.status.clone(),
                quantity::duration(Duration::from_millis(build.duration_ms)),
                build.attempts.to_string(),
                since(build.ended),
            ]);
        }
        parts.push(table.render());
    }
    parts.join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use musher_api::coordinator as api;

    use super::*;

    #[test]
    fn every_kind_of_build_has_a_table() {
        let reply = api::StatusReply {
            machines: vec![
                api::Machine {
                    name: "b1".to_owned(),
                    slots: 4,
                    running: 1,
                    state: "available".to_owned(),
                    nix_version: "2.34.8".to_owned(),
                    protocol: "worker 1.38".to_owned(),
                    trust: "trusted".to_owned(),
                    ..api::Machine::default()
                },
                api::Machine {
                    name: "b2".to_owned(),
                    slots: 2,
                    state: "away".to_owned(),
                    reason: "the host refused the key".to_owned(),
                    trust: "unknown".to_owned(),
                    ..api::Machine::default()
                },
            ],
            builds: vec![
                api::Build {
                    drv_path: "/store/aaaa-app.drv".to_owned(),
                    waiting: "waiting for a machine: b1 has all 4 slots taken".to_owned(),
                    watchers: 1,
                    ..api::Build::default()
                },
                api::Build {
                    drv_path: "/store/bbbb-lib.drv".to_owned(),
                    machine: "b1".to_owned(),
                    since: 940,
                    watchers: 2,
                    ..api::Build::default()
                },
            ],
            started: 400,
            config: "/etc/musher/musher.toml".to_owned(),
            state: "/var/lib/musher".to_owned(),
            version: "0.1.0".to_owned(),
            pid: 7,
            finished: vec![api::FinishedBuild {
                drv_path: "/store/cccc-libc.drv".to_owned(),
                machine: "b1".to_owned(),
                status: 0,
                duration_ms: 1234,
                ended: 990,
                attempts: 1,
            }],
            requests: vec![api::OpenRequest {
                id: 3,
                owner: "alice".to_owned(),
                outlook: Some(api::Outlook {
                    planned: 12,
                    waiting: 3,
                    running: 1,
                    left_ms: Some(185_000),
                    guess: false,
                }),
            }],
        };
        expect![[r#"
            coordinator 0.1.0, process 7, for 10 min
            configuration `/etc/musher/musher.toml`, state `/var/lib/musher`

            MACHINE  STATE      SLOTS  NIX     PROTOCOL     TRUST    REASON
            b1       available  1/4    2.34.8  worker 1.38  trusted  -
            b2       away       0/2    -       -            -        the host refused the key

            REQUEST  OF     PLANNED  WAITING  RUNNING  EXPECTED
            3        alice  12       3        1        about 3 min left

            RUNNING       MACHINE  FOR
            bbbb-lib.drv  b1       1 min

            WAITING       WHY
            aaaa-app.drv  waiting for a machine: b1 has all 4 slots taken

            FINISHED       MACHINE  STATUS  TOOK    ATTEMPTS  AGO
            cccc-libc.drv  b1       built   1.23 s  1         10 s
        "#]]
        .assert_eq(&text(&StatusRecord::from(reply), 1000));
    }
}
