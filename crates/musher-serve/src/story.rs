//! What the client is told while its build waits and runs: the news of the
//! build as activities and results that stock Nix shows well. Knows neither
//! who builds nor how the words travel, and reads no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use musher_api::coordinator as api;
use musher_protocol::types::Text;
use musher_protocol::worker::{Activity, ActivityKind, Field, Level, Message, ResultKind};
use tokio::time::Instant;

use crate::log_line::{LogLine, lines};

/// A build that waits for less is not worth a word.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two reasons for one wait that are told: at first, and at last. Some
/// change with every attempt to reach a machine, and each is a line.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Numbers for activities that are unlike those of other processes, as Nix
/// makes them: the process in the upper half. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct ActivityIds(Arc<AtomicU64>);

impl ActivityIds {
    /// The numbers of the process `pid`.
    pub(crate) fn new(pid: u32) -> Self {
        Self::from(u64::from(pid) << 32)
    }

    fn from(first: u64) -> Self {
        Self(Arc::new(AtomicU64::new(first)))
    }

    fn take(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// What was told of one build so far.
#[derive(Debug)]
pub(crate) struct Story {
    ids: ActivityIds,
    /// The derivation's path, absolute.
    drv_path: String,
    running: Option<u64>,
    waiting: Option<Waiting>,
}

/// A reason for waiting, and whether it was told.
#[derive(Debug)]
struct Waiting {
    reason: String,
    /// When to tell it, if it was not told.
    due: Option<Instant>,
    /// What was told of this wait, perhaps for another reason.
    shown: Option<Shown>,
}

/// What was told of a wait.
#[derive(Debug, Clone, Copy)]
struct Shown {
    activity: u64,
    at: Instant,
    /// How long to say nothing else.
    pause: Duration,
}

impl Story {
    /// A story of `drv_path` of which nothing was told.
    pub(crate) fn new(ids: ActivityIds, drv_path: String) -> Self {
        Self {
            ids,
            drv_path,
            running: None,
            waiting: None,
        }
    }

    /// The build waits, for this reason.
    pub(crate) fn waits(&mut self, now: Instant, reason: String) -> Vec<Message> {
        let messages = self.stop_running();
        let shown = match self.waiting.take() {
            Some(waiting) if waiting.reason == reason => {
                self.waiting = Some(waiting);
                return messages;
            }
            Some(waiting) => waiting.shown,
            None => None,
        };
        let patient = now + PATIENCE;
        self.waiting = Some(Waiting {
            reason,
            due: Some(shown.map_or(patient, |shown| patient.max(shown.at + shown.pause))),
            shown,
        });
        messages
    }

    /// When [`waited`](Self::waited) has something to tell.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref()?.due
    }

    /// Tells of a wait that has lasted.
    pub(crate) fn waited(&mut self, now: Instant) -> Vec<Message> {
        let Some(waiting) = &mut self.waiting else {
            return Vec::new();
        };
        if waiting.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        waiting.due = None;
        let activity = self.ids.take();
        let before = waiting.shown.replace(Shown {
            activity,
            at: now,
            pause: waiting
                .shown
                .map_or(FIRST_PAUSE, |shown| (shown.pause * 2).min(LONGEST_PAUSE)),
        });
        let start = Message::StartActivity(Activity {
            id: activity,
            level: Level::INFO,
            kind: ActivityKind::BUILD_WAITING,
            text: Text::from(format!(
                "waiting to build '{}': {}",
                self.drv_path, waiting.reason
            )),
            fields: vec![Field::Text(Text::from(self.drv_path.as_str()))],
            parent: 0,
        });
        let before = before.map(|shown| shown.activity);
        stop(before).into_iter().chain([start]).collect()
    }

    /// An attempt began on `machine`.
    pub(crate) fn starts(&mut self, machine: &str) -> Vec<Message> {
        let mut messages = self.end();
        let id = self.ids.take();
        self.running = Some(id);
        messages.push(Message::StartActivity(Activity {
            id,
            level: Level::INFO,
            kind: ActivityKind::BUILD,
            text: Text::from(format!("building '{}' on '{machine}'", self.drv_path)),
            fields: vec![
                Field::Text(Text::from(self.drv_path.as_str())),
                Field::Text(Text::from(machine)),
                Field::Int(1),
                Field::Int(1),
            ],
            parent: 0,
        }));
        messages
    }

    /// The attempt wrote a piece of log.
    pub(crate) fn logs(&self, piece: Bytes) -> impl Iterator<Item = Message> + use<> {
        let id = self.running.unwrap_or_default();
        lines(piece).map(move |line| match line {
            LogLine::Text(text) => result(id, ResultKind::BUILD_LOG_LINE, Text::from(text)),
            LogLine::Phase(phase) => result(id, ResultKind::SET_PHASE, Text::from(phase)),
        })
    }

    /// Nothing more will happen.
    pub(crate) fn end(&mut self) -> Vec<Message> {
        let mut messages = self.stop_running();
        let waiting = self.waiting.take();
        let shown = waiting.and_then(|waiting| waiting.shown);
        messages.extend(stop(shown.map(|shown| shown.activity)));
        messages
    }

    fn stop_running(&mut self) -> Vec<Message> {
        stop(self.running.take()).into_iter().collect()
    }
}

/// What is said of a build that ran without a sandbox on `machine`: every
/// result says so.
pub(crate) fn without_sandbox(
    drv_path: &str,
    machine: &str,
    usage: Option<&api::Usage>,
) -> Option<Message> {
    let bare = usage.is_some_and(|usage| !usage.sandboxed);
    let text = || format!("'{drv_path}' was built without a sandbox on `{machine}`\n");
    bare.then(|| Message::Next(Text::from(text())))
}

fn stop(id: Option<u64>) -> Option<Message> {
    Some(Message::StopActivity { id: id? })
}

fn result(id: u64, kind: ResultKind, text: Text) -> Message {
    let fields = vec![Field::Text(text)];
    Message::Result { id, kind, fields }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};

    use super::*;

    /// One step of a build's life and when it happens, in seconds.
    enum Step {
        Waits(u64, &'static str),
        Starts(&'static str),
        Logs(&'static str),
        Passes(u64),
        Ends,
    }
    use Step::{Ends, Logs, Passes, Starts, Waits};

    #[track_caller]
    fn check(steps: &[Step], expected: &Expect) {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut story = Story::new(ActivityIds::from(1), "/nix/store/x.drv".to_owned());
        let mut told = String::new();
        for step in steps {
            let messages = match step {
                Waits(now, reason) => story.waits(at(*now), (*reason).to_owned()),
                Starts(machine) => story.starts(machine),
                Logs(piece) => story.logs(Bytes::from_static(piece.as_bytes())).collect(),
                Passes(now) => story.waited(at(*now)),
                Ends => story.end(),
            };
            for message in messages {
                write_message(&mut told, &message);
            }
        }
        expected.assert_eq(&told);
    }

    fn write_message(told: &mut String, message: &Message) {
        let written = match message {
            Message::Next(text) => writeln!(told, "next {text}"),
            Message::StartActivity(it) => {
                writeln!(told, "start {} kind {} {}", it.id, it.kind.0, it.text)
            }
            Message::StopActivity { id } => writeln!(told, "stop {id}"),
            Message::Result { id, kind, fields } => {
                writeln!(told, "result {id} kind {} {fields:?}", kind.0)
            }
        };
        written.expect("strings take everything");
    }

    #[test]
    fn a_build_starts_logs_and_ends() {
        check(
            &[
                Waits(0, "no slot is free"),
                Starts("big"),
                Logs("@nix {\"action\":\"setPhase\",\"phase\":\"build\"}\nmake\n"),
                Ends,
            ],
            &expect![[r#"
                start 1 kind 105 building '/nix/store/x.drv' on 'big'
                result 1 kind 104 [Text("build")]
                result 1 kind 101 [Text("make")]
                stop 1
            "#]],
        );
    }

    #[test]
    fn a_long_wait_is_told_with_its_newest_reason() {
        check(
            &[
                Waits(0, "no slot is free"),
                Passes(1),
                Waits(1, "`big` is away"),
                Passes(2),
                Passes(3),
                Passes(4),
                Waits(5, "no slot is free"),
                Passes(7),
                // It was told of another reason at 3.
                Passes(13),
                Starts("big"),
                Ends,
            ],
            &expect![[r#"
                start 1 kind 111 waiting to build '/nix/store/x.drv': `big` is away
                stop 1
                start 2 kind 111 waiting to build '/nix/store/x.drv': no slot is free
                stop 2
                start 3 kind 105 building '/nix/store/x.drv' on 'big'
                stop 3
            "#]],
        );
    }

    #[test]
    fn a_lost_attempt_is_stopped_before_the_next() {
        check(
            &[
                Starts("big"),
                Waits(0, "`big` is lost"),
                Starts("small"),
                Starts("other"),
                Ends,
            ],
            &expect![[r#"
                start 1 kind 105 building '/nix/store/x.drv' on 'big'
                stop 1
                start 2 kind 105 building '/nix/store/x.drv' on 'small'
                stop 2
                start 3 kind 105 building '/nix/store/x.drv' on 'other'
                stop 3
            "#]],
        );
    }
}
