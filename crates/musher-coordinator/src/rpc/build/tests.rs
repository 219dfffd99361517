//! What a caller of `Build` hears, and when.

use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::{Stream, StreamExt};
use musher_api::coordinator as api;
use musher_api::coordinator::build_event::Event;
use musher_protocol::types::BuildStatus;
use nix_derivation::StoreDir;
use tokio::sync::watch;
use tonic::Status;

use super::{Follower, LogPosition, Order, Shown, build};
use crate::attempt_log::{LogWriter, attempt_log};
use crate::build::{Attempt, Ended, Limits, Progress, Stage};
use crate::core::Command;
use crate::home::{Home, Place};
use crate::kept_logs::KeptLogs;
use crate::rpc::Service;
use crate::rpc::nar::read_nar;
use crate::testing::{Team, absolute, nar, path, soon, spec};

/// A build in the test's hands.
struct Told {
    progress: watch::Sender<Progress>,
    dir: tempfile::TempDir,
}

impl Told {
    fn new() -> Self {
        Self {
            progress: watch::Sender::new(Progress {
                stage: Stage::Waiting(Arc::new("no reason".into())),
                attempt: None,
            }),
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    fn waits(&self, reason: &str) {
        let stage = Stage::Waiting(Arc::new(reason.into()));
        self.progress.send_modify(|progress| progress.stage = stage);
    }

    /// An attempt starts.
    fn starts(&self, number: u64) -> LogWriter {
        let (writer, log) = attempt_log(self.dir.path().join(number.to_string()));
        let machine = "b1".into();
        self.progress.send_modify(|progress| {
            progress.stage = Stage::Running;
            progress.attempt = Some(Attempt {
                number,
                machine,
                log,
            });
        });
        writer
    }

    fn ends(&self) {
        let ended = Ended {
            machine: Some("b1".into()),
            ..Ended::nowhere(BuildStatus::Built, "")
        };
        let stage = Stage::Ended(Arc::new(ended));
        self.progress.send_modify(|progress| progress.stage = stage);
    }

    fn follower(&self, attempt: u64, offset: u64) -> Follower {
        Follower {
            store_dir: StoreDir::default(),
            progress: self.progress.subscribe(),
            log: LogPosition { attempt, offset },
            shown: Shown::default(),
            queue: std::collections::VecDeque::new(),
            order: None,
            explain: false,
        }
    }
}

/// One event in a few words.
fn words(event: api::BuildEvent) -> String {
    match event.event.expect("an event") {
        Event::Waiting(waiting) => format!("waiting: {}", waiting.reason),
        Event::Started(started) => format!("{} started", started.attempt),
        Event::Log(log) => {
            let text = String::from_utf8(log.bytes.to_vec()).expect("text");
            format!("{} log at {}: {text:?}", log.attempt, log.offset)
        }
        Event::Ended(ended) => format!("ended: {}", ended.status),
        Event::Unread(unread) => format!("unread from {}", unread.from),
    }
}

async fn next(follower: &mut Follower) -> String {
    let event = soon(follower.next()).await.expect("no error");
    words(event.expect("an event"))
}

fn append(log: &mut LogWriter, text: &str) {
    log.append(text.as_bytes()).expect("writable");
}

#[tokio::test(start_paused = true)]
async fn all_that_happens_is_told_in_order() {
    let told = Told::new();
    let mut follower = told.follower(0, 0);
    assert_eq!(next(&mut follower).await, "waiting: no reason");
    told.waits("another");
    assert_eq!(next(&mut follower).await, "waiting: another");
    let mut log = told.starts(7);
    assert_eq!(next(&mut follower).await, "7 started");
    append(&mut log, "one\n");
    assert_eq!(next(&mut follower).await, "7 log at 0: \"one\\n\"");
    append(&mut log, "two\n");
    drop(log);
    told.ends();
    assert_eq!(next(&mut follower).await, "7 log at 4: \"two\\n\"");
    assert_eq!(next(&mut follower).await, "ended: 0");
    // The open stream is what keeps the outputs.
    let more = tokio::time::timeout(std::time::Duration::from_secs(9), follower.next());
    assert!(more.await.is_err());
    assert_eq!(told.progress.receiver_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn advice_follows_the_error() {
    let told = Told::new();
    let ended = Ended {
        help: Some("buy one".to_owned()),
        ..Ended::nowhere(BuildStatus::MiscFailure, "no machine")
    };
    let stage = Stage::Ended(Arc::new(ended));
    told.progress.send_modify(|progress| progress.stage = stage);
    let event = soon(told.follower(0, 0).next()).await.expect("no error");
    let Some(Event::Ended(ended)) = event.and_then(|event| event.event) else {
        panic!("it ended");
    };
    assert_eq!(ended.error, b"no machine\nbuy one");
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_the_whole_log() {
    let told = Told::new();
    let mut log = told.starts(7);
    // Long before anybody reads, and more than is read at once.
    let line = format!("{}\n", "x".repeat(99));
    for _ in 0..10_000 {
        append(&mut log, &line);
    }
    told.ends();
    let mut follower = told.follower(0, 0);
    assert_eq!(next(&mut follower).await, "7 started");
    let mut length = 0;
    while length < 1_000_000 {
        let event = soon(follower.next()).await.expect("no error");
        match event.and_then(|event| event.event).expect("an event") {
            Event::Log(log) => {
                assert_eq!(log.offset, length);
                assert!(log.bytes.len() <= 64 << 10);
                assert!(log.bytes.ends_with(b"\n"), "a piece ends where a line does");
                length += log.bytes.len() as u64;
            }
            Event::Ended(_) | Event::Waiting(_) | Event::Started(_) | Event::Unread(_) => {
                panic!("out of order")
            }
        }
    }
    // The log is not complete as long as someone may write it.
    append(&mut log, "last\n");
    assert_eq!(next(&mut follower).await, "7 log at 1000000: \"last\\n\"");
    drop(log);
    assert_eq!(next(&mut follower).await, "ended: 0");
}

#[tokio::test(start_paused = true)]
async fn a_line_longer_than_a_piece_is_cut() {
    let told = Told::new();
    let mut log = told.starts(7);
    append(&mut log, "short\n");
    append(&mut log, &format!("{}\n", "x".repeat(100_000)));
    drop(log);
    told.ends();
    let mut follower = told.follower(0, 0);
    let mut lengths = Vec::new();
    while lengths.len() < 4 {
        let event = soon(follower.next()).await.expect("no error");
        if let Some(Event::Log(log)) = event.and_then(|event| event.event) {
            lengths.push(log.bytes.len());
        } else if !lengths.is_empty() {
            break;
        }
    }
    assert_eq!(lengths, [6, 65536, 100_001 - 65536]);
}

#[tokio::test(start_paused = true)]
async fn a_log_goes_on_where_the_caller_has_it_from() {
    let told = Told::new();
    let mut log = told.starts(7);
    append(&mut log, "one\ntwo\n");
    let mut same = told.follower(7, 4);
    assert_eq!(next(&mut same).await, "7 started");
    assert_eq!(next(&mut same).await, "7 log at 4: \"two\\n\"");
    // What it has is another attempt's.
    let mut other = told.follower(6, 4);
    assert_eq!(next(&mut other).await, "7 started");
    assert_eq!(next(&mut other).await, "7 log at 0: \"one\\ntwo\\n\"");
}

#[tokio::test(start_paused = true)]
async fn a_new_attempt_begins_its_log_anew() {
    let told = Told::new();
    let mut first = told.starts(7);
    append(&mut first, "one\n");
    let mut follower = told.follower(0, 0);
    assert_eq!(next(&mut follower).await, "7 started");
    assert_eq!(next(&mut follower).await, "7 log at 0: \"one\\n\"");
    told.waits("b1 is away");
    assert_eq!(next(&mut follower).await, "waiting: b1 is away");
    drop(first);
    let mut second = told.starts(8);
    append(&mut second, "uno\n");
    assert_eq!(next(&mut follower).await, "8 started");
    assert_eq!(next(&mut follower).await, "8 log at 0: \"uno\\n\"");
}

#[tokio::test(start_paused = true)]
async fn a_lost_attempt_is_not_told_to_who_comes_after_it() {
    let told = Told::new();
    drop(told.starts(7));
    told.waits("b1 is away");
    let mut follower = told.follower(0, 0);
    assert_eq!(next(&mut follower).await, "waiting: b1 is away");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_core_is_told_at_once() {
    let told = Told::new();
    let log = told.starts(7);
    let mut follower = told.follower(0, 0);
    assert_eq!(next(&mut follower).await, "7 started");
    let Told { progress, dir } = told;
    drop(progress);
    let end = soon(follower.next()).await.expect_err("an end");
    assert_eq!(end.code(), tonic::Code::Unavailable);
    drop((log, dir));
}

fn service(team: &Team) -> Service {
    Service {
        core: team.core.clone(),
        home: Arc::new(Home::new(team.home.clone(), Place::Elsewhere)),
        store_dir: StoreDir::default(),
        limits: Limits::default(),
        started: SystemTime::now(),
        config: team.logs.path().join("musher.toml"),
        state: team.logs.path().to_owned(),
        logs: Arc::new(KeptLogs::new(team.logs.path().join("kept"))),
        history: team.history.clone(),
        foresight: None,
        reload: Arc::new(|| Box::pin(async { Err("not here".to_owned()) })),
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<api::BuildEvent, Status>>>>;

async fn asked(service: &Service) -> Events {
    let spec = spec("app", &[]);
    let request = api::BuildRequest {
        drv_path: absolute("app.drv"),
        derivation: Some(api::Derivation::from_value(
            &service.store_dir,
            &spec.derivation,
        )),
        ..api::BuildRequest::default()
    };
    Box::pin(build(service, request).await.expect("a stream"))
}

/// What comes until the build has ended.
async fn story(events: &mut Events) -> Vec<String> {
    let mut story = Vec::new();
    while !story
        .last()
        .is_some_and(|last: &String| last.starts_with("ended"))
    {
        let event = soon(events.next()).await.expect("an event");
        story.push(words(event.expect("no error")));
    }
    story
}

async fn read(service: &Service, offset: u64) -> Result<Vec<u8>, Status> {
    let request = api::ReadNarRequest {
        path: absolute("app"),
        machine: "b1".to_owned(),
        offset,
    };
    let mut chunks = Box::pin(read_nar(service, &request).await?);
    let mut bytes = Vec::new();
    while let Some(chunk) = soon(chunks.next()).await {
        bytes.extend_from_slice(&chunk?.bytes);
    }
    Ok(bytes)
}

#[tokio::test(start_paused = true)]
async fn a_build_is_followed_to_its_output() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let service = service(&team);
    let mut events = asked(&service).await;
    let attempt = team.next_try().await;
    attempt.says("hello");
    attempt.succeeds().await;
    let story = story(&mut events).await;
    let end = ["100 started", "100 log at 0: \"hello\\n\"", "ended: 0"];
    assert_eq!(story[story.len() - 3..], end);
    let whole = nar("app");
    // The one that came with the build, one that is asked for, a part of one.
    assert_eq!(read(&service, 0).await.expect("readable"), whole);
    assert_eq!(read(&service, 0).await.expect("readable"), whole);
    assert_eq!(read(&service, 30).await.expect("readable"), whole[30..]);
    drop(events);
    team.no_try().await;
    // With the stream the interest is gone, and with that the build.
    let _again = asked(&service).await;
    team.next_try().await;
}

#[tokio::test(start_paused = true)]
async fn who_has_all_inputs_is_not_told_that_another_had_not() {
    let mut team = Team::new(&[("b1", 1)]).await;
    let told = Told::new();
    let mut follower = told.follower(0, 0);
    follower.order = Some(Order {
        core: team.core.clone(),
        spec: spec("app", &[]),
        asking: None,
    });
    let ended = Ended {
        lost: [path("lib")].into(),
        ..Ended::nowhere(BuildStatus::TransientFailure, "they are gone")
    };
    let stage = Stage::Ended(Arc::new(ended));
    told.progress.send_modify(|progress| progress.stage = stage);
    let heard = async {
        loop {
            let news = next(&mut follower).await;
            if news.starts_with("ended") {
                return news;
            }
        }
    };
    let built = async { team.next_try().await.succeeds().await };
    let (heard, ()) = tokio::join!(heard, built);
    assert_eq!(heard, "ended: 0");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_built_anew_even_if_someone_follows_the_old_build() {
    let mut team = Team::new(&[("b1", 1), ("b2", 1)]).await;
    let service = service(&team);
    let mut alice = asked(&service).await;
    team.next_try().await.succeeds().await;
    story(&mut alice).await;
    read(&service, 0).await.expect("readable");
    team.machine("b1").reachable(false);
    team.until_away("b1", true).await;
    let error = read(&service, 0).await.expect_err("b1 is away");
    assert_eq!(error.code(), tonic::Code::Unavailable);
    let mut bob = asked(&service).await;
    let attempt = team.next_try().await;
    assert_eq!(attempt.machine, "b2");
    attempt.succeeds().await;
    story(&mut bob).await;
    let stop = |reply| Command::Stop { reply };
    soon(team.core.ask(stop)).await.expect("an answer");
}
