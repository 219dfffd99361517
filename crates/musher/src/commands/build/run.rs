//! A request under way, on the screen and at its end.

use std::time::{Duration, Instant};

use musher_api::coordinator as api;
use musher_api::coordinator::realise_event::Event;
use tokio::time::sleep;

use super::Home;
use super::links::Links;
use super::record::{self, EventRecord};
use super::summary::SummaryRecord;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::ui::{Builds, Line, Live, Ui, quantity};

/// A request under way, as it is shown.
pub(super) struct Run {
    ui: Ui,
    logs: bool,
    started: Instant,
    builds: Builds,
    live: Live,
    /// When it was last looked whether there is something to say that no event
    /// says.
    looked: Instant,
}

/// How often that is done.
const LOOK: Duration = Duration::from_secs(1);

impl Run {
    pub(super) fn new(ui: Ui, logs: bool) -> Self {
        Self {
            ui,
            logs,
            started: Instant::now(),
            builds: Builds::default(),
            live: ui.live(),
            looked: Instant::now(),
        }
    }

    /// Waits until it is time to draw again.
    pub(super) fn pause(&self) -> impl Future<Output = ()> + use<> {
        let pause = self.live.pause();
        sleep(pause.unwrap_or_else(|| LOOK.saturating_sub(self.looked.elapsed())))
    }

    /// Shows how things stand; where lines stay only if that is worth one.
    pub(super) fn draw(&mut self) {
        let now = self.started.elapsed();
        if self.live.is_live() {
            let builds = &self.builds;
            self.live
                .draw(|rows, columns| builds.lines(now, rows, columns));
        } else {
            self.looked = Instant::now();
            let lines: Vec<_> = self.builds.overdue(now).into_iter().collect();
            self.live.say(&lines);
        }
    }

    /// Takes note of what happened, and tells it.
    pub(super) fn hear(&mut self, event: &Event) -> Result<(), Failure> {
        let lines = self.builds.hear(self.started.elapsed(), event);
        let lines: Vec<_> = lines
            .into_iter()
            .filter_map(|line| match line {
                Line::Step(line) => (!self.live.is_live()).then_some(line),
                Line::Log(line) => self.logs.then_some(line),
            })
            .collect();
        self.live.say(&lines);
        if self.ui.json && !matches!(event, Event::Done(_)) {
            self.ui.json_line(&EventRecord::from(event))?;
        }
        Ok(())
    }

    /// Tells how it ended, and where the outputs are.
    pub(super) fn finish(
        self,
        home: &Home,
        links: &Links,
        done: &api::Done,
    ) -> Result<Outcome, Failure> {
        drop(self.live);
        for failed in self.builds.failures() {
            self.ui.failed_build(&failed, self.logs);
        }
        self.ui.note(&summary(&self.builds, self.started.elapsed()));
        if let Some(summary) = &done.summary {
            self.ui.note(&SummaryRecord::from(summary).text());
        }
        let is_well = done.roots.iter().all(|root| !root.outputs.is_empty());
        if self.ui.json {
            self.ui.json_line(&record::done(home, links, done))?;
        } else {
            let mut text = String::new();
            for path in done.roots.iter().flat_map(|root| root.outputs.values()) {
                text += &format!("{}\n", home.real_path(path).display());
            }
            self.ui.text(&text)?;
        }
        Ok(Outcome::of(is_well))
    }
}

/// Names of builds that are told for each machine; with more only their number.
const NAMED: usize = 12;

/// Who built what, in how long.
fn summary(builds: &Builds, took: Duration) -> String {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let built = builds.built();
    let mut text = match built {
        0 => "nothing was built".to_owned(),
        count => format!("built {count} derivation{}", plural(count)),
    };
    if builds.found() > 0 {
        text += &format!(", found {} on the machines", builds.found());
    }
    text += &format!(" in {}", quantity::duration(took));
    let failed = builds.failures().len();
    if failed > 0 {
        text += &format!(", {failed} failed");
    }
    if builds.given_up() > 0 {
        text += &format!(", {} not built because of that", builds.given_up());
    }
    let imported = builds.imported();
    if imported.paths > 0 {
        let (paths, size) = (imported.paths, quantity::size(imported.nar_bytes));
        text += &format!("; imported {paths} path{}, {size}", plural(paths));
    }
    for (machine, names) in builds.by_machine() {
        let names = match names.len() {
            0..=NAMED => names.join(", "),
            count => format!("{count} derivations"),
        };
        text += &format!("\n{machine}: {names}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;
    use musher_api::coordinator as api;
    use musher_api::coordinator::build_news::News;
    use musher_api::coordinator::realise_event::Event;

    use super::summary;
    use crate::ui::Builds;

    fn ended(name: &str, end: api::BuildEnd) -> Event {
        Event::Build(api::BuildNews {
            drv_path: format!("/store/aaaa-{name}.drv"),
            news: Some(News::Ended(end)),
        })
    }

    #[test]
    fn who_built_what_is_told_at_the_end() {
        let mut builds = Builds::default();
        for (name, machine, status) in [
            ("b", "b1", 0),
            ("a", "b1", 0),
            ("c", "b2", 0),
            ("d", "b2", 3),
        ] {
            let machine = machine.to_owned();
            let end = api::BuildEnd {
                status,
                machine,
                ..api::BuildEnd::default()
            };
            builds.hear(Duration::ZERO, &ended(name, end));
        }
        builds.hear(
            Duration::ZERO,
            &Event::Imported(api::Imported {
                paths: vec![String::new()],
                nar_bytes: 4096,
                duration_ms: 1,
            }),
        );
        expect![[r#"
            built 3 derivations in 2.00 s, 1 failed; imported 1 path, 4.00 KiB
            b1: a, b
            b2: c"#]]
        .assert_eq(&summary(&builds, Duration::from_secs(2)));
        expect!["nothing was built in 12.0 ms"]
            .assert_eq(&summary(&Builds::default(), Duration::from_millis(12)));
    }
}
