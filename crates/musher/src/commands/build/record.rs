//! What happens to a request, as `--json` prints it: one object a line, told
//! apart by `event`.

use std::collections::BTreeMap;

use musher_api::coordinator as api;
use musher_api::coordinator::build_news::News;
use musher_api::coordinator::realise_event::Event;
use serde::Serialize;

use super::Home;
use super::links::Links;
use super::summary::SummaryRecord;
use crate::commands::why::record::WaitingRecord;
use crate::ui::status;

/// Something that happened.
#[derive(Debug, Serialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub(super) enum EventRecord<'a> {
    /// All is known that is to be done.
    Planned {
        derivations: &'a [String],
        valid: u64,
    },
    /// No attempt of a build runs, for this reason.
    Waiting {
        derivation: &'a str,
        reason: &'a str,
        /// The same piece by piece; null where no machine is waited for.
        waiting: Option<WaitingRecord>,
    },
    /// An attempt began.
    Started {
        derivation: &'a str,
        machine: &'a str,
        attempt: u64,
    },
    /// A piece of a log.
    Log {
        derivation: &'a str,
        attempt: u64,
        offset: u64,
        text: String,
    },
    /// A build ended.
    Ended {
        derivation: &'a str,
        /// In Nix's words, like `built` and `permanent-failure`.
        status: String,
        error: Option<String>,
        /// What can be done about it.
        help: Option<&'a str>,
        /// Where on the machine its build directory was kept.
        kept_dir: Option<&'a str>,
        machine: Option<&'a str>,
        duration_ms: u64,
        /// Whether it ran in a sandbox; none where that is not known, or
        /// nothing ran.
        sandboxed: Option<bool>,
        /// The derivation whose failure is the reason.
        culprit: Option<&'a str>,
        outputs: &'a BTreeMap<String, String>,
    },
    /// Outputs are brought home.
    Importing { paths: &'a [String], bytes: u64 },
    /// They are there.
    Imported {
        paths: &'a [String],
        bytes: u64,
        duration_ms: u64,
    },
    /// How far the request is; said now and then.
    Outlook {
        /// Builds that need others first, that wait for a machine, and that run.
        planned: u64,
        waiting: u64,
        running: u64,
        /// How long it is expected to take from now on; null where nobody knows.
        left_ms: Option<u64>,
        /// Whether that is mostly a guess, and rather too long.
        guess: bool,
    },
    /// News of a kind that this release does not know.
    Unknown,
}

/// The end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct DoneRecord {
    event: &'static str,
    /// In the order of the targets.
    targets: Vec<TargetRecord>,
    /// Where the time went; null if nothing was built.
    summary: Option<SummaryRecord>,
}

/// What came of one target.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct TargetRecord {
    derivation: String,
    /// By name; empty if it failed.
    outputs: BTreeMap<String, OutputRecord>,
    /// The derivation because of which it failed.
    culprit: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct OutputRecord {
    /// The store path.
    path: String,
    /// Where its files are on this host.
    real_path: String,
    /// The link to it.
    link: Option<String>,
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

impl<'a> From<&'a Event> for EventRecord<'a> {
    fn from(event: &'a Event) -> Self {
        match event {
            Event::Planned(planned) => Self::Planned {
                derivations: &planned.drv_paths,
                valid: planned.valid,
            },
            Event::Importing(importing) => Self::Importing {
                paths: &importing.paths,
                bytes: importing.nar_bytes,
            },
            Event::Imported(imported) => Self::Imported {
                paths: &imported.paths,
                bytes: imported.nar_bytes,
                duration_ms: imported.duration_ms,
            },
            Event::Build(news) => Self::news(&news.drv_path, news.news.as_ref()),
            Event::Outlook(outlook) => Self::Outlook {
                planned: outlook.planned,
                waiting: outlook.waiting,
                running: outlook.running,
                left_ms: outlook.left_ms,
                guess: outlook.guess,
            },
            Event::Done(_) => Self::Unknown,
        }
    }
}

impl<'a> EventRecord<'a> {
    fn news(derivation: &'a str, news: Option<&'a News>) -> Self {
        match news {
            Some(News::Waiting(waiting)) => Self::Waiting {
                derivation,
                reason: &waiting.reason,
                waiting: waiting.details.as_ref().map(Into::into),
            },
            Some(News::Started(started)) => Self::Started {
                derivation,
                machine: &started.machine,
                attempt: started.attempt,
            },
            Some(News::Log(log)) => Self::Log {
                derivation,
                attempt: log.attempt,
                offset: log.offset,
                text: String::from_utf8_lossy(&log.bytes).into_owned(),
            },
            Some(News::Ended(end)) => Self::Ended {
                derivation,
                status: status::words(end.status),
                error: some(&String::from_utf8_lossy(&end.error)).map(str::to_owned),
                help: some(&end.help),
                kept_dir: some(&end.kept_dir),
                machine: some(&end.machine),
                duration_ms: end.duration_ms,
                sandboxed: end.usage.as_ref().map(|usage| usage.sandboxed),
                culprit: some(&end.culprit),
                outputs: &end.outputs,
            },
            None => Self::Unknown,
        }
    }
}

/// The record of the end.
pub(super) fn done(home: &Home, links: &Links, done: &api::Done) -> DoneRecord {
    let output = |path: &String| OutputRecord {
        path: path.clone(),
        real_path: home.real_path(path).display().to_string(),
        link: links.of(path).map(|link| link.display().to_string()),
    };
    let target = |root: &api::RootEnd| TargetRecord {
        derivation: root.drv_path.clone(),
        outputs: (root.outputs.iter())
            .map(|(name, path)| (name.clone(), output(path)))
            .collect(),
        culprit: some(&root.culprit).map(str::to_owned),
    };
    DoneRecord {
        event: "done",
        targets: done.roots.iter().map(target).collect(),
        summary: done.summary.as_ref().map(Into::into),
    }
}
