//! What a client sends: requests in order, each with its body, as far as the
//! handshake and the server allow. Knows nothing of what comes back but when.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use nix_derivation::StoreDir;

use crate::session::CHUNK;
use crate::wire::Encoder;
use crate::worker::body::BodyItem;
use crate::worker::error::CommandError;
use crate::worker::request::{Asked, BodyForm, Request, Unsupported};
use crate::worker::upload::BodyCheck;
use crate::worker::version::{Dialect, Version};
use crate::worker::{handshake, path_info};

/// A request that waits for its answer.
#[derive(Debug, Clone)]
pub(super) enum Sent {
    /// It is on its way.
    Request(Asked),
    /// It could not be.
    Refused(Unsupported),
}

/// How the body that is being sent travels.
#[derive(Debug)]
enum Upload {
    Framed,
    /// A bare NAR.
    Bare,
    /// Sent when the server asks for it.
    Pulled {
        held: VecDeque<Bytes>,
        /// What the server asked for and did not get yet.
        demand: Option<u64>,
        ended: bool,
    },
    /// Of a request that was refused.
    Discarded,
}

/// The sending half of a client.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) output: Encoder,
    /// Known once the handshake is done.
    dialect: Option<Arc<Dialect>>,
    /// Requests that were not written yet.
    requests: VecDeque<Request>,
    /// Pieces of bodies that were not written yet, of the open upload first.
    bodies: VecDeque<BodyItem>,
    /// The bodies that were not given to their end, the first one first.
    owed: VecDeque<BodyCheck>,
    /// The body being written. It belongs to the last request in flight.
    upload: Option<Upload>,
    /// Requests that were written and not answered.
    sent: VecDeque<Sent>,
    /// Whether the rest of a body may still come, and is to be dropped.
    stray: bool,
    over: bool,
}

impl Outbox {
    pub(super) fn new(store_dir: StoreDir, offered: Version) -> Self {
        let mut output = Encoder::new(store_dir);
        handshake::greet_server(offered, &mut output);
        Self {
            output,
            dialect: None,
            requests: VecDeque::new(),
            bodies: VecDeque::new(),
            owed: VecDeque::new(),
            upload: None,
            sent: VecDeque::new(),
            stray: false,
            over: false,
        }
    }

    /// Takes note that the handshake is done.
    pub(super) fn begin(&mut self, dialect: Arc<Dialect>) {
        self.dialect = Some(dialect);
        self.pump();
    }

    /// Takes note that the session is over.
    pub(super) fn close(&mut self) {
        self.over = true;
        self.requests.clear();
        self.bodies.clear();
    }

    pub(super) fn request(&mut self, request: Request) -> Result<(), CommandError> {
        if self.over {
            return Err(CommandError::Over);
        }
        if let Some(dialect) = &self.dialect {
            request.check(dialect).map_err(CommandError::Unsupported)?;
        }
        if request.has_body() {
            self.stray = false;
            self.owed.push_back(BodyCheck::new(&request));
        }
        self.requests.push_back(request);
        self.pump();
        Ok(())
    }

    pub(super) fn body(&mut self, item: BodyItem) -> Result<(), CommandError> {
        let Some(check) = self.owed.front_mut() else {
            return self.drop_stray(&item);
        };
        if check.accept(&item)? {
            self.owed.pop_front();
        }
        self.bodies.push_back(item);
        self.pump();
        Ok(())
    }

    fn drop_stray(&mut self, item: &BodyItem) -> Result<(), CommandError> {
        if self.over {
            return Err(CommandError::Over);
        }
        if !self.stray {
            return Err(CommandError::NoBody);
        }
        self.stray = !matches!(item, BodyItem::End);
        Ok(())
    }

    pub(super) fn wants_body(&self) -> bool {
        match &self.upload {
            None => false,
            Some(Upload::Framed | Upload::Bare | Upload::Discarded) => true,
            Some(Upload::Pulled {
                held,
                demand,
                ended,
            }) => {
                let held = held.iter().map(Bytes::len).sum::<usize>();
                !ended && (demand.is_some() || held < CHUNK)
            }
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.requests.len() + self.sent.len()
    }

    /// The request whose answer comes next.
    pub(super) fn first_in_flight(&self) -> Option<Sent> {
        self.sent.front().cloned()
    }

    /// Takes note that the first request in flight was answered, and ends its
    /// upload if that is still open. Returns whether the connection can go on:
    /// a bare NAR cannot be cut short.
    pub(super) fn answered(&mut self) -> bool {
        self.sent.pop_front();
        // Only the last request that was sent can have an open upload.
        let mut whole = true;
        if self.sent.is_empty()
            && let Some(upload) = self.upload.take()
        {
            match upload {
                Upload::Framed => self.output.end_frames(),
                Upload::Bare => whole = false,
                Upload::Pulled { demand, ended, .. } => {
                    if demand.is_some() {
                        // The server still waits for what it gave up on.
                        self.output.bytes(b"");
                    }
                    if ended {
                        self.pump();
                        return true;
                    }
                }
                Upload::Discarded => {}
            }
            self.drop_body();
        }
        self.pump();
        whole
    }

    /// Drops what was given of the body being sent, and what will be.
    fn drop_body(&mut self) {
        while let Some(item) = self.bodies.pop_front() {
            if matches!(item, BodyItem::End) {
                return;
            }
        }
        self.owed.pop_front();
        self.stray = self.owed.is_empty();
    }

    /// Answers the server's demand for up to `most` bytes of a body, now or
    /// when there are some. Returns whether there is a body to take them from.
    pub(super) fn demand(&mut self, most: u64) -> bool {
        let Some(Upload::Pulled { demand, .. }) = &mut self.upload else {
            return false;
        };
        // Only the last request that was sent can be the one that is served.
        if self.sent.len() != 1 {
            return false;
        }
        *demand = Some(most);
        self.supply();
        true
    }

    /// Sends what a server asked for, once there is some or never will be.
    fn supply(&mut self) {
        let Some(Upload::Pulled {
            held,
            demand,
            ended,
        }) = &mut self.upload
        else {
            return;
        };
        let Some(most) = *demand else { return };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        match held.front_mut() {
            Some(chunk) => {
                let count = chunk.len().min(most);
                self.output.bytes(&chunk[..count]);
                chunk.advance(count);
                if chunk.is_empty() {
                    held.pop_front();
                }
                *demand = None;
            }
            None if *ended => {
                self.output.bytes(b"");
                *demand = None;
            }
            None => {}
        }
    }

    /// Writes all that may be written now.
    fn pump(&mut self) {
        let Some(dialect) = self.dialect.clone() else {
            return;
        };
        loop {
            while let Some(upload) = &self.upload {
                // What comes after it is not part of it any more.
                if let Upload::Pulled { ended: true, .. } = upload {
                    return;
                }
                match self.bodies.pop_front() {
                    Some(item) => self.write_body(item),
                    None => return,
                }
            }
            match self.requests.pop_front() {
                Some(request) => self.write_request(&request, &dialect),
                None => return,
            }
        }
    }

    fn write_request(&mut self, request: &Request, dialect: &Dialect) {
        if let Err(unsupported) = request.encode(dialect, &mut self.output) {
            self.sent.push_back(Sent::Refused(unsupported));
            if request.has_body() {
                self.upload = Some(Upload::Discarded);
            }
            return;
        }
        self.sent.push_back(Sent::Request(request.asked()));
        self.upload = match request.body_form(dialect) {
            BodyForm::Absent => None,
            BodyForm::Framed => Some(Upload::Framed),
            BodyForm::FramedPaths { count } => {
                self.output.frame(&count.to_le_bytes());
                Some(Upload::Framed)
            }
            BodyForm::Nar => Some(Upload::Bare),
            BodyForm::Pulled { .. } => Some(Upload::Pulled {
                held: VecDeque::new(),
                demand: None,
                ended: false,
            }),
        };
    }

    fn write_body(&mut self, item: BodyItem) {
        match (&mut self.upload, item) {
            (Some(Upload::Framed), BodyItem::Path(info)) => {
                let mut piece = Encoder::new(self.output.store_dir().clone());
                path_info::encode(&info, &mut piece);
                self.output.frame(&piece.take());
            }
            (Some(Upload::Framed), BodyItem::Chunk(chunk)) => self.output.frame(&chunk),
            (Some(Upload::Framed), BodyItem::End) => {
                self.output.end_frames();
                self.upload = None;
            }
            (Some(Upload::Bare), BodyItem::Chunk(chunk)) => self.output.raw(&chunk),
            (Some(Upload::Pulled { held, .. }), BodyItem::Chunk(chunk)) => {
                if !chunk.is_empty() {
                    held.push_back(chunk);
                    self.supply();
                }
            }
            // It stays open until the server has answered: until then it reads
            // its input only for this.
            (Some(Upload::Pulled { ended, .. }), BodyItem::End) => {
                *ended = true;
                self.supply();
            }
            (Some(Upload::Bare | Upload::Discarded), BodyItem::End) => self.upload = None,
            (Some(Upload::Discarded), _) => {}
            (Some(Upload::Bare | Upload::Pulled { .. }), BodyItem::Path(_)) | (None, _) => {
                unreachable!("bug: a body piece was accepted that has no place")
            }
        }
    }
}
