//! Lines at the end of a terminal that change, above them lines that stay. Where
//! nothing reads but a file or a pipe, only the latter.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rustix::process;
use rustix::termios::{tcgetpgrp, tcgetwinsize};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the lines change at most.
const PACE: Duration = Duration::from_millis(100);

/// The end of standard error. What changes is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Live {
    on_terminal: bool,
    drawn: Drawn,
    last: Option<Instant>,
    /// Tells that Ctrl-Z was pressed; where no line changes that just stops us.
    stops: Option<Signal>,
}

/// The lines that are there and will change. The cursor is at their beginning:
/// wherever a terminal puts them when its size changes, that is found again.
#[derive(Debug, Default)]
struct Drawn {
    lines: Vec<String>,
    /// The terminal's columns when they were drawn.
    columns: usize,
}

impl Live {
    /// Lines that change only where standard error is a terminal, and if `may`.
    ///
    /// Must be called within a tokio runtime.
    pub(super) fn new(may: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let on_terminal = may && io::stderr().is_terminal() && !dumb;
        let stop = SignalKind::from_raw(process::Signal::TSTP.as_raw());
        Self {
            on_terminal,
            drawn: Drawn::default(),
            last: None,
            // Without it the lines stay while we are stopped.
            stops: on_terminal.then(|| signal(stop).ok()).flatten(),
        }
    }

    /// Whether lines can change.
    pub(crate) fn is_live(&self) -> bool {
        self.on_terminal
    }

    /// How long until the lines may change again; none where they never do.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let since = self.last.map_or(PACE, |last| last.elapsed());
        self.on_terminal.then(|| PACE.saturating_sub(since))
    }

    /// Says lines that stay.
    pub(crate) fn say(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let mut text = self.drawn.erased();
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        write(&text);
        self.last = None;
    }

    /// Draws the lines that change, given how many rows and columns there are.
    pub(crate) fn draw(&mut self, lines: impl FnOnce(usize, usize) -> Vec<String>) {
        if !self.on_terminal {
            return;
        }
        let stops = self.stops.as_mut();
        if stops.is_some_and(|stops| stops.recv().now_or_never().is_some()) {
            self.step_aside();
            // Returns once we are to go on.
            let _ = process::kill_process(process::getpid(), process::Signal::STOP);
        }
        self.last = Some(Instant::now());
        if is_in_background() {
            return;
        }
        let (rows, columns) = size();
        // A line and a column are for the cursor, and half of a high terminal
        // for what was there before.
        let rows = rows.saturating_sub(1).min((rows / 2).max(10));
        let text = self
            .drawn
            .replaced(lines(rows, columns.saturating_sub(1)), columns);
        write(&text);
    }

    /// Leaves the terminal to others until the lines are drawn again.
    fn step_aside(&mut self) {
        write(&self.drawn.erased());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.step_aside();
    }
}

impl Drawn {
    /// What removes the lines.
    fn erased(&mut self) -> String {
        match std::mem::take(&mut self.lines).len() {
            0 => "",
            1 => "\r\x1b[J",
            // From the first row of a terminal to its end is all of it, which
            // tmux keeps above.
            _ => "\r\x1b[K\n\x1b[J\x1b[A\r",
        }
        .to_owned()
    }

    /// What puts `lines` in their place; nothing if they stand there. Each is
    /// written over the one before it, since an empty moment would flicker.
    fn replaced(&mut self, lines: Vec<String>, columns: usize) -> String {
        if (&lines, columns) == (&self.lines, self.columns) {
            return String::new();
        }
        let text = lines.join("\x1b[K\r\n");
        let up = match lines.len().saturating_sub(1) {
            0 => String::new(),
            rows => format!("\x1b[{rows}A"),
        };
        *self = Self { lines, columns };
        format!("\r{text}\x1b[J{up}\r")
    }
}

fn write(text: &str) {
    if text.is_empty() {
        return;
    }
    let mut stderr = io::stderr().lock();
    // With standard error gone there is nobody left to tell.
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

/// The terminal's rows and columns.
fn size() -> (usize, usize) {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_row), usize::from(size.ws_col))
        }
        Ok(_) | Err(_) => (24, 80),
    }
}

/// Whether the terminal is somebody else's for now.
fn is_in_background() -> bool {
    // Where it controls no job, none is in the background.
    tcgetpgrp(io::stderr()).is_ok_and(|foreground| foreground != process::getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_written_over_those_before() {
        let mut drawn = Drawn::default();
        let two = drawn.replaced(lines("one\ntwo"), 80);
        assert_eq!(two, "\rone\x1b[K\r\ntwo\x1b[J\x1b[1A\r");
        assert_eq!(drawn.replaced(lines("one\ntwo"), 80), "");
        assert_eq!(drawn.replaced(lines("3"), 80), "\r3\x1b[J\r");
        // They stand elsewhere now.
        assert_eq!(drawn.replaced(lines("3"), 40), "\r3\x1b[J\r");
        assert_eq!(drawn.erased(), "\r\x1b[J");
        assert_eq!(drawn.erased(), "");
        drawn.replaced(lines("one\ntwo"), 80);
        assert_eq!(drawn.erased(), "\r\x1b[K\n\x1b[J\x1b[A\r");
    }
}
