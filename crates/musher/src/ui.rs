//! The one place that prints: data on standard output, everything else on
//! standard error, colours only on a terminal and never the only sign.

mod builds;
mod diff;
mod failed_build;
mod fields;
mod live;
mod plain;
mod progress;
pub(crate) mod quantity;
mod question;
pub(crate) mod status;
mod table;
mod width;

use std::env;
use std::io::{self, IsTerminal, Write as _};

use serde::Serialize;

use crate::failure::Failure;

pub(crate) use builds::{Builds, FailedBuild, Line, short_name};
pub(crate) use fields::Fields;
pub(crate) use live::Live;
pub(crate) use plain::{plain, plain_line};
pub(crate) use progress::Progress;
pub(crate) use table::Table;

/// How to speak to the user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    /// Whether data is wanted as JSON.
    pub(crate) json: bool,
    colour_out: bool,
    colour_err: bool,
}

/// What a piece of text is, for those who see colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Error,
    Advice,
    Note,
    Added,
    Removed,
}

impl Ui {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            colour_out: colours(&io::stdout()),
            colour_err: colours_on_stderr(),
        }
    }

    /// Prints text as it is on standard output.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(Failure::output)
    }

    /// Prints a value as JSON on standard output.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Failure::output(e.into()))?;
        self.text(&format!("{text}\n"))
    }

    /// Prints how a file changes, as a unified diff, on standard output.
    pub(crate) fn diff(&self, diff: &str) -> Result<(), Failure> {
        if self.colour_out {
            self.text(&diff::coloured(diff))
        } else {
            self.text(diff)
        }
    }

    /// Shows how work goes on, from now until it is dropped.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new()
    }

    /// Prints bytes as they are on standard output.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(Failure::output)
    }

    /// Prints a value as JSON in one line on standard output.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|e| Failure::output(e.into()))?;
        self.text(&format!("{text}\n"))
    }

    /// Shows how many things go on side by side, from now until it is dropped.
    pub(crate) fn live(&self) -> Live {
        // Data on the same terminal would come between them.
        Live::new(!(self.json && io::stdout().is_terminal()))
    }

    /// Says how a build failed; `log_told` if its log was printed already.
    pub(crate) fn failed_build(&self, failed: &FailedBuild<'_>, log_told: bool) {
        self.say(&failed_build::story(failed, log_told, self.colour_err));
    }

    /// Says something by the way.
    pub(crate) fn note(&self, text: &str) {
        self.say(&labelled("note:", Tone::Note, text, self.colour_err));
    }

    /// Says why a command stopped.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.is_worth_telling() {
            self.say(&story(failure, self.colour_err));
        }
    }

    /// Says that an invariant of ours is broken; the details were printed.
    pub(crate) fn bug(&self) {
        let text = "this is a bug in musher; please report it with the lines above";
        self.say(&labelled("error:", Tone::Error, text, self.colour_err));
    }

    fn say(&self, text: &str) {
        // With standard error gone there is nobody left to tell.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

pub(crate) use diff::unified_diff;

/// Whether text on standard error may have colours.
pub(crate) fn colours_on_stderr() -> bool {
    colours(&io::stderr())
}

/// See <https://no-color.org>.
fn colours(stream: &impl IsTerminal) -> bool {
    let forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !forbidden && !dumb
}

fn story(failure: &Failure, colour: bool) -> String {
    let texts = failure.texts();
    let mut story = String::new();
    for (at, text) in texts.iter().enumerate() {
        let label = if at == 0 { "error:" } else { "cause:" };
        story += &labelled(label, Tone::Error, text, colour);
    }
    if let Some(advice) = failure.advice() {
        story += &labelled("help:", Tone::Advice, advice, colour);
    }
    story
}

/// A label and a text, further lines of which are indented under the first.
fn labelled(label: &str, tone: Tone, text: &str, colour: bool) -> String {
    const WIDTH: usize = "error: ".len();
    let padding = " ".repeat(WIDTH.saturating_sub(label.len()));
    let label = painted(label, tone, colour);
    let text = text
        .trim_end()
        .replace('\n', &format!("\n{}", " ".repeat(WIDTH)));
    format!("{label}{padding}{text}\n")
}

fn painted(text: &str, tone: Tone, colour: bool) -> String {
    if !colour {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Error => "1;31",
        Tone::Advice => "1;36",
        Tone::Note => "1",
        Tone::Added => "32",
        Tone::Removed => "31",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use std::io;

    use expect_test::expect;
    use musher_coordinator::setup::ReplaceError;

    use super::*;

    fn failure() -> Failure {
        ReplaceError {
            path: "/etc/nix/nix.conf".into(),
            source: io::Error::new(io::ErrorKind::PermissionDenied, "no\nreally"),
        }
        .into()
    }

    #[test]
    fn a_failure_tells_its_causes_and_advice() {
        expect![[r#"
            error: cannot write `/etc/nix/nix.conf`
            cause: no
                   really
            help:  run this as the user who owns the file, mostly root
        "#]]
        .assert_eq(&story(&failure(), false));
    }

    #[test]
    fn colours_add_nothing_but_colour() {
        let mut plain = String::new();
        let mut coloured = story(&failure(), true);
        while let Some((before, after)) = coloured.split_once('\x1b') {
            plain += before;
            coloured = after
                .split_once('m')
                .expect("the end of a code")
                .1
                .to_owned();
        }
        assert_eq!(plain + &coloured, story(&failure(), false));
    }
}
