//! What passes between the process that asks for a sandbox and the one that
//! makes it, over one socket: a plan one way, what became of it the other. Each
//! is a length (8 bytes, little endian) and as many bytes of JSON.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ended::Ended;
use crate::error::SetupError;

/// The longest message: an environment of a few megabytes, with room.
const LIMIT: u64 = 64 << 20;

/// What the process that makes a sandbox says. One of them, once; the end of the
/// stream without any means that it was killed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Report {
    /// The set-up failed, the build program never ran.
    Failed(SetupError),
    /// The build program ran and ended.
    Ended(Ended),
}

pub(crate) fn send<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    let mut bytes = vec![0; 8];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() as u64 - 8;
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    to.write_all(&bytes)
}

/// The next message, or none at the end of the stream.
pub(crate) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 8];
    let mut head = from.take(8);
    let got = io::copy(&mut head, &mut length.as_mut_slice())?;
    if got == 0 {
        return Ok(None);
    }
    let length = u64::from_le_bytes(length);
    if got < 8 || length > LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no message of a sandbox",
        ));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}
