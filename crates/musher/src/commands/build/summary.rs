//! Where the time of a request went, in words and as JSON.

use std::time::Duration;

use musher_api::coordinator as api;
use serde::Serialize;

use crate::ui::{quantity, short_name};

/// Where the time of a request went. What the row of builds that ended last spent
/// it with makes up the whole.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SummaryRecord {
    took_ms: u64,
    /// It could not have taken less on these machines: the greater of the next
    /// two.
    bound_ms: u64,
    /// For all the work on all slots.
    work_ms: u64,
    /// For the longest row of builds, on the fastest machine.
    critical_ms: u64,
    slots: u32,
    builds: u64,
    planning_ms: u64,
    waiting_ms: u64,
    lost_ms: u64,
    sending_ms: u64,
    building_ms: u64,
    fetching_ms: u64,
    /// The longest builds of that row.
    long_poles: Vec<PoleRecord>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PoleRecord {
    derivation: String,
    machine: String,
    duration_ms: u64,
}

impl From<&api::Summary> for SummaryRecord {
    fn from(summary: &api::Summary) -> Self {
        let poles = summary.long_poles.iter().map(|pole| PoleRecord {
            derivation: pole.drv_path.clone(),
            machine: pole.machine.clone(),
            duration_ms: pole.duration_ms,
        });
        Self {
            took_ms: summary.took_ms,
            bound_ms: summary.bound_ms,
            work_ms: summary.work_ms,
            critical_ms: summary.critical_ms,
            slots: summary.slots,
            builds: summary.builds,
            planning_ms: summary.planning_ms,
            waiting_ms: summary.waiting_ms,
            lost_ms: summary.lost_ms,
            sending_ms: summary.sending_ms,
            building_ms: summary.building_ms,
            fetching_ms: summary.fetching_ms,
            long_poles: poles.collect(),
        }
    }
}

impl SummaryRecord {
    /// The same for people, in three lines.
    pub(super) fn text(&self) -> String {
        let time = |millis: u64| quantity::duration(Duration::from_millis(millis));
        let why = match self.critical_ms >= self.work_ms {
            true => "for its longest row of builds".to_owned(),
            false => format!("for all the work on {} slots", self.slots),
        };
        let spent = [
            ("planning", self.planning_ms),
            ("waiting for slots", self.waiting_ms),
            ("lost with machines", self.lost_ms),
            ("sending", self.sending_ms),
            ("building", self.building_ms),
            ("fetching", self.fetching_ms),
        ];
        // What took next to nothing explains nothing.
        let telling = spent
            .iter()
            .filter(|(_, millis)| *millis > self.took_ms / 100);
        let telling: Vec<_> = telling
            .map(|(what, millis)| format!("{what} {}", time(*millis)))
            .collect();
        let poles: Vec<_> = (self.long_poles.iter())
            .map(|pole| {
                let (name, machine) = (short_name(&pole.derivation), &pole.machine);
                format!("{name} {} on {machine}", time(pole.duration_ms))
            })
            .collect();
        format!(
            "took {}; these machines need {} {why}\nwhere it went, along the builds that ended \
             last: {}\nthe longest of these: {}",
            time(self.took_ms),
            time(self.bound_ms),
            telling.join(", "),
            poles.join(", "),
        )
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use musher_api::coordinator as api;

    use super::SummaryRecord;

    #[test]
    fn three_lines_tell_where_the_time_went() {
        let pole = |name: &str, duration_ms| api::LongPole {
            drv_path: format!("/nix/store/aaaa-{name}.drv"),
            machine: "b1".to_owned(),
            duration_ms,
        };
        let mut summary = api::Summary {
            took_ms: 700_000,
            bound_ms: 620_000,
            work_ms: 400_000,
            critical_ms: 620_000,
            slots: 32,
            builds: 120,
            planning_ms: 900,
            waiting_ms: 40_000,
            lost_ms: 0,
            sending_ms: 12_000,
            building_ms: 640_000,
            fetching_ms: 7_100,
            long_poles: vec![pole("llvm-19", 400_000), pole("clang-19", 200_000)],
        };
        expect![[r#"
            took 11 min 40 s; these machines need 10 min 20 s for its longest row of builds
            where it went, along the builds that ended last: waiting for slots 40.0 s, sending 12.0 s, building 10 min 40 s, fetching 7.10 s
            the longest of these: llvm-19 6 min 40 s on b1, clang-19 3 min 20 s on b1"#]].assert_eq(&SummaryRecord::from(&summary).text());
        (summary.work_ms, summary.bound_ms) = (650_000, 650_000);
        let text = SummaryRecord::from(&summary).text();
        assert!(
            text.starts_with(
                "took 11 min 40 s; these machines need 10 min 50 s for all the work on 32 slots\n"
            ),
            "{text}"
        );
    }
}
