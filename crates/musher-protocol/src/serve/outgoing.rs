//! NARs on their way out: sees to it that what is written is what the other
//! end will look for.

use super::export::BodyKind;
use super::{BodyItem, Command, CommandError};
use crate::nar::{NarError, Scanner};
use crate::wire::Encoder;

/// What is still to be sent after a request.
#[derive(Debug)]
pub(super) enum OutgoingBody {
    /// A NAR of a size that was announced.
    Nar { announced: u64, sent: u64 },
    /// An export stream; the NAR that it is in the middle of.
    Export { nar: Option<OutgoingNar> },
}

impl OutgoingBody {
    /// The writer of such a body, before its first piece.
    pub(super) fn new(kind: BodyKind) -> Self {
        match kind {
            BodyKind::Nar { size } => Self::Nar {
                announced: size,
                sent: 0,
            },
            BodyKind::Export => Self::Export { nar: None },
        }
    }

    pub(super) fn command(&self) -> Command {
        match self {
            Self::Nar { .. } => Command::AddToStoreNar,
            Self::Export { .. } => Command::ImportPaths,
        }
    }

    /// Writes `item`; returns whether the body is complete.
    pub(super) fn write(&mut self, item: &BodyItem, e: &mut Encoder) -> Result<bool, CommandError> {
        let command = self.command();
        match (self, item) {
            (Self::Nar { announced, sent }, BodyItem::Chunk(bytes)) => {
                let total = *sent + bytes.len() as u64;
                if total > *announced {
                    return Err(CommandError::NarSize {
                        announced: *announced,
                        sent: total,
                    });
                }
                *sent = total;
                e.raw(bytes);
                Ok(false)
            }
            (Self::Nar { announced, sent }, BodyItem::End) => {
                if sent != announced {
                    return Err(CommandError::NarSize {
                        announced: *announced,
                        sent: *sent,
                    });
                }
                Ok(true)
            }
            (Self::Nar { .. }, BodyItem::Path(_)) => Err(CommandError::BodyItem {
                command,
                expected: "bytes of the NAR, or its end",
            }),
            (Self::Export { nar }, BodyItem::Chunk(bytes)) => {
                match nar {
                    Some(open) => open.write(bytes, e)?,
                    None => {
                        let mut new = OutgoingNar::default();
                        new.check(bytes)?;
                        e.u64(1);
                        e.raw(bytes);
                        *nar = Some(new);
                    }
                }
                Ok(false)
            }
            (Self::Export { nar }, BodyItem::Path(exported)) => {
                let Some(open) = nar else {
                    return Err(CommandError::BodyItem {
                        command,
                        expected: "the NAR of a path, or the end",
                    });
                };
                open.finish()?;
                exported.encode(e);
                *nar = None;
                Ok(false)
            }
            (Self::Export { nar: None }, BodyItem::End) => {
                e.u64(0);
                Ok(true)
            }
            (Self::Export { nar: Some(_) }, BodyItem::End) => Err(CommandError::BodyItem {
                command,
                expected: "the path whose NAR was sent",
            }),
        }
    }
}

/// A NAR whose length the other end finds out for itself.
#[derive(Debug, Clone, Default)]
pub(super) struct OutgoingNar(Scanner);

impl OutgoingNar {
    /// Writes the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8], e: &mut Encoder) -> Result<(), CommandError> {
        self.check(bytes)?;
        e.raw(bytes);
        Ok(())
    }

    /// Whether the NAR is whole.
    pub(super) fn is_complete(&self) -> bool {
        self.0.is_complete()
    }

    /// An error if the NAR is not whole.
    pub(super) fn finish(&self) -> Result<(), CommandError> {
        if self.0.is_complete() {
            return Ok(());
        }
        Err(CommandError::NarIncomplete {
            sent: self.0.scanned(),
        })
    }

    fn check(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let mut scanner = self.0.clone();
        let scanned = scanner.advance(bytes);
        let result = scanned.and_then(|count| match bytes.len() - count {
            0 => Ok(()),
            more => Err(NarError {
                offset: scanner.scanned(),
                expected: "the end of the NAR".to_owned(),
                found: format!("{more} more bytes"),
            }),
        });
        match result {
            Ok(()) => {
                self.0 = scanner;
                Ok(())
            }
            Err(source) => Err(CommandError::Nar { source }),
        }
    }
}
