//! The lines that change on a terminal: one a running build, and a count.

use std::time::Duration;

use super::{Build, Builds, State, short_name};
use crate::ui::quantity;
use crate::ui::width::{cut, fit, width};

/// A time left that is shorter is not said.
const WORTH_SAYING: Duration = Duration::from_secs(8);
/// Columns that the name of a build or a machine may take of a line.
const NAME: usize = 32;

impl Builds {
    /// The lines as they are at `now`, at most `rows` of them and each at most
    /// `columns` wide. The newest builds are left out first: the old ones are
    /// those to wonder about.
    pub(crate) fn lines(&self, now: Duration, rows: usize, columns: usize) -> Vec<String> {
        let mut running: Vec<_> = (self.builds.iter())
            .filter_map(|(drv, build)| match &build.state {
                State::Running {
                    turn,
                    machine,
                    since,
                } => Some((*turn, short_name(drv), machine.as_str(), *since, build)),
                State::Unknown
                | State::Waiting(_)
                | State::Built { .. }
                | State::Found
                | State::Failed { .. } => None,
            })
            .collect();
        running.sort_by_key(|(turn, ..)| *turn);
        let room = rows.saturating_sub(1);
        let shown = match running.len() > room {
            true => room.saturating_sub(1),
            false => running.len(),
        };
        let widest = |texts: &mut dyn Iterator<Item = &str>| texts.map(width).max().unwrap_or(0);
        let names = widest(&mut running[..shown].iter().map(|line| line.1)).min(NAME);
        let machines = widest(&mut running[..shown].iter().map(|line| line.2)).min(NAME);
        let mut lines: Vec<_> = running[..shown]
            .iter()
            .map(|(_, name, machine, since, build)| {
                let (name, machine) = (fit(name, names), fit(machine, machines));
                let time = clock(now.saturating_sub(*since));
                let said = said(build);
                let line = format!("{name}  {machine}  {time:>7}  {said}");
                cut(line.trim_end(), columns)
            })
            .collect();
        if running.len() > shown {
            lines.push(cut(&format!("and {} more", running.len() - shown), columns));
        }
        lines.push(cut(&self.summary(now, running.len()), columns));
        lines
    }

    /// `3 of 12 built, 2 running, 1 failed, about 3 min left; importing 1.2 MiB`
    fn summary(&self, now: Duration, running: usize) -> String {
        let built = self.built() + self.found();
        let failed = self.count(|state| matches!(state, State::Failed { .. }));
        let mut parts = vec![match self.planned {
            Some(planned) => format!("{built} of {planned} built"),
            None => format!("looking what is to be built; {built} built"),
        }];
        if running > 0 {
            parts.push(format!("{running} running"));
        }
        if failed > 0 {
            parts.push(format!("{failed} failed"));
        }
        // What is nearly over, or should be, is not worth a guess.
        if let Some(expected) = self.expected
            && let left = expected.end.saturating_sub(now)
            && left >= WORTH_SAYING
        {
            parts.push(quantity::left(left, expected.is_guess));
        }
        let mut text = parts.join(", ");
        if let Some(bytes) = self.importing {
            text += &format!("; importing {}", quantity::size(bytes));
        } else if running == 0
            && let Some((_, reason)) = self.waiting()
        {
            text += &format!("; {reason}");
        }
        text
    }

    /// The first of those that wait, and for what.
    pub(super) fn waiting(&self) -> Option<(&str, &str)> {
        let mut builds = self.builds.iter();
        builds.find_map(|(drv_path, build)| match &build.state {
            State::Waiting(reason) => Some((drv_path.as_str(), reason.as_str())),
            State::Unknown
            | State::Running { .. }
            | State::Built { .. }
            | State::Found
            | State::Failed { .. } => None,
        })
    }
}

/// The phase and the last line of a build's log.
fn said(build: &Build) -> String {
    let line = build.log.newest().unwrap_or_default();
    match build.log.phase() {
        Some(phase) => format!("[{phase}] {line}"),
        None => line.to_owned(),
    }
}

/// A time that grows: whole seconds, so that it is not restless.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}
