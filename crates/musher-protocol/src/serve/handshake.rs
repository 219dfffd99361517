//! The first words of a session: who speaks, and in which version.

use super::version::{CLIENT_MAGIC, SERVER_MAGIC};
use super::{SessionError, Version};
use crate::types::Text;
use crate::wire::{DecodeError, Decoder, Encoder};

/// The most bytes of a wrong greeting that an error shows.
const GREETING: usize = 256;

/// Writes what a client says first.
pub(super) fn greet_server(e: &mut Encoder, offered: Version) {
    e.u64(CLIENT_MAGIC);
    e.u64(offered.number());
}

/// Writes what a server says first.
pub(super) fn greet_client(e: &mut Encoder, offered: Version) {
    e.u64(SERVER_MAGIC);
    e.u64(offered.number());
}

/// Reads the server's first words, and settles on a version.
pub(super) async fn server_greeting(
    d: &mut Decoder,
    offered: Version,
) -> Result<Version, SessionError> {
    magic(d, SERVER_MAGIC).await?;
    version(d, offered).await
}

/// Reads the client's first word.
pub(super) async fn client_magic(d: &mut Decoder) -> Result<(), SessionError> {
    magic(d, CLIENT_MAGIC).await
}

/// Reads the peer's version, and settles on the lower one.
pub(super) async fn version(d: &mut Decoder, offered: Version) -> Result<Version, SessionError> {
    let number = d.u64("version").await.map_err(no_handshake)?;
    match Version::from_number(number) {
        Some(version) if version >= Version::MIN => Ok(version.min(offered)),
        Some(_) | None => Err(SessionError::Version { number }),
    }
}

async fn magic(d: &mut Decoder, expected: u64) -> Result<(), SessionError> {
    let Some(word) = d.source().peek_word().await else {
        return Err(match d.source().waiting() {
            0 => SessionError::NoHandshake,
            _ => not_serve(d),
        });
    };
    if u64::from_le_bytes(word) != expected {
        return Err(not_serve(d));
    }
    d.u64("magic").await.map_err(no_handshake)?;
    Ok(())
}

fn not_serve(d: &Decoder) -> SessionError {
    let greeting = d.source().preview(GREETING);
    let line = greeting.split(|byte| *byte == b'\n').next();
    let greeting = greeting.slice_ref(line.unwrap_or_default().trim_ascii_end());
    SessionError::NotServe {
        greeting: Text::from(greeting),
    }
}

/// An integer can only be bad by not being there.
fn no_handshake(_: DecodeError) -> SessionError {
    SessionError::NoHandshake
}
