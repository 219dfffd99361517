//! What a server says while a request runs: log lines, activities and their
//! results.
//!
//! ```text
//! message  = 0x6f6c6d67 text
//!          | 0x53545254 id, level, kind, text, fields, parent
//!          | 0x53544f50 id
//!          | 0x52534c54 id, kind, fields
//! fields   = count, (0, u64 | 1, string)*
//! ```

use crate::types::Text;
use crate::wire::{DecodeError, Decoder, Encoder};

/// The words that begin each part of a reply.
pub(super) mod tag {
    pub(in crate::worker) const NEXT: u64 = 0x6f6c_6d67;
    pub(in crate::worker) const READ: u64 = 0x6461_7461;
    pub(in crate::worker) const LAST: u64 = 0x616c_7473;
    pub(in crate::worker) const ERROR: u64 = 0x6378_7470;
    pub(in crate::worker) const START_ACTIVITY: u64 = 0x5354_5254;
    pub(in crate::worker) const STOP_ACTIVITY: u64 = 0x5354_4f50;
    pub(in crate::worker) const RESULT: u64 = 0x5253_4c54;
}

/// How important something is. Unknown numbers pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Level(pub u64);

impl Level {
    /// Something went wrong.
    pub const ERROR: Self = Self(0);
    /// Something is odd.
    pub const WARN: Self = Self(1);
    /// Said as a matter of course, even to the quiet.
    pub const NOTICE: Self = Self(2);
    /// Shown by default.
    pub const INFO: Self = Self(3);
    /// Shown on `-v`.
    pub const TALKATIVE: Self = Self(4);
    /// Shown on `-vv`.
    pub const CHATTY: Self = Self(5);
    /// Shown on `--debug`.
    pub const DEBUG: Self = Self(6);
    /// Everything.
    pub const VOMIT: Self = Self(7);
}

/// What kind of work an activity is. Unknown numbers pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ActivityKind(pub u64);

impl ActivityKind {
    /// Not said.
    pub const UNKNOWN: Self = Self(0);
    /// Fields: store path, source, destination.
    pub const COPY_PATH: Self = Self(100);
    /// Fields: URL.
    pub const FILE_TRANSFER: Self = Self(101);
    /// The realisation of a set of paths.
    pub const REALISE: Self = Self(102);
    /// The copying of a set of paths.
    pub const COPY_PATHS: Self = Self(103);
    /// All builds together.
    pub const BUILDS: Self = Self(104);
    /// Fields: derivation, machine, current round, number of rounds.
    pub const BUILD: Self = Self(105);
    /// Optimisation of the store.
    pub const OPTIMISE_STORE: Self = Self(106);
    /// Verification of paths.
    pub const VERIFY_PATHS: Self = Self(107);
    /// Fields: store path, substituter.
    pub const SUBSTITUTE: Self = Self(108);
    /// Fields: store path, substituter.
    pub const QUERY_PATH_INFO: Self = Self(109);
    /// Fields: derivation.
    pub const POST_BUILD_HOOK: Self = Self(110);
    /// Fields: derivation, path resolved to, outputs' paths.
    pub const BUILD_WAITING: Self = Self(111);
    /// Fetching of a tree.
    pub const FETCH_TREE: Self = Self(112);
    /// Fields: source path, whether it is only hashed.
    pub const FETCH_TO_STORE: Self = Self(113);
}

/// What a result says of its activity. Unknown numbers pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ResultKind(pub u64);

impl ResultKind {
    /// Fields: bytes, blocks.
    pub const FILE_LINKED: Self = Self(100);
    /// Fields: line.
    pub const BUILD_LOG_LINE: Self = Self(101);
    /// Fields: path.
    pub const UNTRUSTED_PATH: Self = Self(102);
    /// Fields: path.
    pub const CORRUPTED_PATH: Self = Self(103);
    /// Fields: phase.
    pub const SET_PHASE: Self = Self(104);
    /// Fields: done, expected, running, failed.
    pub const PROGRESS: Self = Self(105);
    /// Fields: kind of activity, expected.
    pub const SET_EXPECTED: Self = Self(106);
    /// Fields: line.
    pub const POST_BUILD_LOG_LINE: Self = Self(107);
    /// Fields: status.
    pub const FETCH_STATUS: Self = Self(108);
    /// Fields: store path.
    pub const FETCH_TO_STORE: Self = Self(109);
}

/// One value of an activity or a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// A number.
    Int(u64),
    /// A text.
    Text(Text),
}

/// Some work that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// What later messages call it.
    pub id: u64,
    /// How important it is.
    pub level: Level,
    /// What kind of work it is.
    pub kind: ActivityKind,
    /// What to show for it.
    pub text: Text,
    /// Its particulars, as the kind has them.
    pub fields: Vec<Field>,
    /// The activity that it is a part of, or 0.
    pub parent: u64,
}

/// Something said while a request runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text for the user, usually a line with its newline.
    Next(Text),
    /// Work began.
    StartActivity(Activity),
    /// Work ended.
    StopActivity {
        /// The activity.
        id: u64,
    },
    /// News of an activity.
    Result {
        /// The activity.
        id: u64,
        /// What kind of news.
        kind: ResultKind,
        /// The news, as the kind has them.
        fields: Vec<Field>,
    },
}

impl Message {
    /// Writes the message with its tag.
    pub fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Next(text) => {
                to.u64(tag::NEXT);
                to.bytes(text.as_bytes());
            }
            Self::StartActivity(activity) => {
                to.u64(tag::START_ACTIVITY);
                to.u64(activity.id);
                to.u64(activity.level.0);
                to.u64(activity.kind.0);
                to.bytes(activity.text.as_bytes());
                encode_fields(&activity.fields, to);
                to.u64(activity.parent);
            }
            Self::StopActivity { id } => {
                to.u64(tag::STOP_ACTIVITY);
                to.u64(*id);
            }
            Self::Result { id, kind, fields } => {
                to.u64(tag::RESULT);
                to.u64(*id);
                to.u64(kind.0);
                encode_fields(fields, to);
            }
        }
    }

    /// Reads the message that `tag` began; `None` if it begins none.
    pub(super) async fn decode(tag: u64, from: &mut Decoder) -> Result<Option<Self>, DecodeError> {
        let message = match tag {
            tag::NEXT => Self::Next(from.text("log line").await?),
            tag::START_ACTIVITY => Self::StartActivity(Activity {
                id: from.u64("activity").await?,
                level: Level(from.u64("activity level").await?),
                kind: ActivityKind(from.u64("activity kind").await?),
                text: from.text("activity text").await?,
                fields: fields(from).await?,
                parent: from.u64("parent activity").await?,
            }),
            tag::STOP_ACTIVITY => Self::StopActivity {
                id: from.u64("stopped activity").await?,
            },
            tag::RESULT => Self::Result {
                id: from.u64("activity of a result").await?,
                kind: ResultKind(from.u64("result kind").await?),
                fields: fields(from).await?,
            },
            _ => return Ok(None),
        };
        Ok(Some(message))
    }
}

fn encode_fields(fields: &[Field], to: &mut Encoder) {
    to.count(fields.len());
    for field in fields {
        match field {
            Field::Int(value) => {
                to.u64(0);
                to.u64(*value);
            }
            Field::Text(text) => {
                to.u64(1);
                to.bytes(text.as_bytes());
            }
        }
    }
}

async fn fields(from: &mut Decoder) -> Result<Vec<Field>, DecodeError> {
    let mut fields = Vec::new();
    for _ in 0..from.count("fields").await? {
        let offset = from.offset();
        fields.push(match from.u64("field type").await? {
            0 => Field::Int(from.u64("number field").await?),
            1 => Field::Text(from.text("text field").await?),
            other => {
                return Err(from.error("field type", offset, "0 or 1", other.to_string()));
            }
        });
    }
    Ok(fields)
}
