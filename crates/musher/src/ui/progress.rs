//! What goes on for a while: on a terminal one line that changes, elsewhere
//! plain lines, one for each thing begun.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::plain_line;
use super::width::cut;

/// How often the line on a terminal changes at most.
const PACE: Duration = Duration::from_millis(100);

/// The progress of one piece of work, on standard error. What is on the
/// terminal goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    on_terminal: bool,
    drawn: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            on_terminal: io::stderr().is_terminal() && !dumb,
            drawn: None,
        }
    }

    /// Something begins that deserves a line where lines stay.
    pub(crate) fn begin(&mut self, line: impl FnOnce() -> String) {
        if !self.on_terminal {
            write(&format!("{}\n", line()));
        }
    }

    /// This is how things stand, for where the line can change.
    pub(crate) fn update(&mut self, line: impl FnOnce() -> String) {
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= PACE);
        if self.on_terminal && is_due {
            self.drawn = Some(Instant::now());
            // One column is for the cursor.
            let room = columns().saturating_sub(1);
            write(&format!("\r\x1b[K{}", cut(&plain_line(&line()), room)));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            write("\r\x1b[K");
        }
    }
}

fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    // With standard error gone there is nobody left to tell.
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

fn columns() -> usize {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        Ok(_) | Err(_) => 80,
    }
}
