//! What the client is told while a graph is built for it: the stories of the
//! builds that run, and while none does, why one of them waits. Knows neither
//! who builds nor how the words travel, and reads no clock.

use std::collections::BTreeMap;

use bytes::Bytes;
use musher_protocol::worker::Message;
use tokio::time::Instant;

use crate::story::{ActivityIds, Story};

/// What was told of one request so far.
#[derive(Debug)]
pub(crate) struct RequestStory {
    ids: ActivityIds,
    /// By derivation.
    running: BTreeMap<String, Story>,
    /// The reasons, by derivation.
    waiting: BTreeMap<String, String>,
    /// The derivation whose wait is told, as all others are behind it.
    shown: Option<(String, Story)>,
}

impl RequestStory {
    /// A story of which nothing was told.
    pub(crate) fn new(ids: ActivityIds) -> Self {
        Self {
            ids,
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            shown: None,
        }
    }

    /// A build waits, for this reason.
    pub(crate) fn waits(&mut self, now: Instant, drv_path: String, reason: String) -> Vec<Message> {
        let mut messages = self.stop_running(&drv_path);
        self.waiting.insert(drv_path, reason);
        messages.extend(self.show_waiting(now));
        messages
    }

    /// An attempt at a build began on `machine`.
    pub(crate) fn starts(&mut self, drv_path: String, machine: &str) -> Vec<Message> {
        self.waiting.remove(&drv_path);
        let mut messages = self.hide_waiting();
        let ids = self.ids.clone();
        let story = Story::new(ids, drv_path.clone());
        let story = self.running.entry(drv_path).or_insert(story);
        messages.extend(story.starts(machine));
        messages
    }

    /// The attempt wrote a piece of log.
    pub(crate) fn logs(&self, drv_path: &str, piece: Bytes) -> Vec<Message> {
        let story = self.running.get(drv_path);
        story.map_or_else(Vec::new, |story| story.logs(piece).collect())
    }

    /// A build ended.
    pub(crate) fn ends(&mut self, now: Instant, drv_path: &str) -> Vec<Message> {
        self.waiting.remove(drv_path);
        let mut messages = self.stop_running(drv_path);
        if self.shown.as_ref().is_some_and(|(of, _)| of == drv_path) {
            messages.extend(self.hide_waiting());
        }
        messages.extend(self.show_waiting(now));
        messages
    }

    /// When [`waited`](Self::waited) has something to tell.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.shown.as_ref()?.1.deadline()
    }

    /// Tells of a wait that has lasted.
    pub(crate) fn waited(&mut self, now: Instant) -> Vec<Message> {
        let story = self.shown.as_mut();
        story.map_or_else(Vec::new, |(_, story)| story.waited(now))
    }

    /// Nothing more will happen.
    pub(crate) fn end(&mut self) -> Vec<Message> {
        self.waiting.clear();
        let mut messages = self.hide_waiting();
        for (_, mut story) in std::mem::take(&mut self.running) {
            messages.extend(story.end());
        }
        messages
    }

    fn stop_running(&mut self, drv_path: &str) -> Vec<Message> {
        let story = self.running.remove(drv_path);
        story.map_or_else(Vec::new, |mut story| story.end())
    }

    /// Says why the request does not go on, if nothing of it runs.
    fn show_waiting(&mut self, now: Instant) -> Vec<Message> {
        if !self.running.is_empty() {
            return Vec::new();
        }
        if self.shown.is_none() {
            let Some(drv_path) = self.waiting.keys().next().cloned() else {
                return Vec::new();
            };
            let story = Story::new(self.ids.clone(), drv_path.clone());
            self.shown = Some((drv_path, story));
        }
        let Some((drv_path, story)) = &mut self.shown else {
            return Vec::new();
        };
        let reason = self.waiting.get(drv_path).cloned();
        story.waits(now, reason.unwrap_or_default())
    }

    fn hide_waiting(&mut self) -> Vec<Message> {
        let shown = self.shown.take();
        shown.map_or_else(Vec::new, |(_, mut story)| story.end())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What was told, in short.
    fn told(messages: Vec<Message>) -> Vec<String> {
        let short = |message| match message {
            Message::StartActivity(it) => it.text.to_string(),
            Message::StopActivity { .. } => "stop".to_owned(),
            other @ (Message::Next(_) | Message::Result { .. }) => format!("{other:?}"),
        };
        messages.into_iter().map(short).collect()
    }

    #[test]
    fn while_something_runs_no_wait_is_told() {
        let start = Instant::now();
        let later = start + Duration::from_secs(60);
        let mut story = RequestStory::new(ActivityIds::new(1));
        assert!(told(story.waits(start, "a.drv".into(), "no slot".into())).is_empty());
        assert!(told(story.waits(start, "b.drv".into(), "no slot".into())).is_empty());
        assert!(story.deadline().is_some());
        let started = told(story.starts("b.drv".into(), "big"));
        assert_eq!(started, ["building 'b.drv' on 'big'"]);
        assert_eq!(story.deadline(), None);
        assert_eq!(told(story.ends(later, "b.drv")), ["stop"]);
        let waited = told(story.waited(later + Duration::from_secs(2)));
        assert_eq!(waited, ["waiting to build 'a.drv': no slot"]);
        assert_eq!(told(story.end()), ["stop"]);
    }

    #[test]
    fn the_next_wait_is_told_when_one_is_over() {
        let start = Instant::now();
        let mut story = RequestStory::new(ActivityIds::new(1));
        story.waits(start, "a.drv".into(), "no slot".into());
        story.waits(start, "b.drv".into(), "`big` is away".into());
        assert!(told(story.ends(start, "a.drv")).is_empty());
        let waited = told(story.waited(start + Duration::from_secs(2)));
        assert_eq!(waited, ["waiting to build 'b.drv': `big` is away"]);
    }
}
