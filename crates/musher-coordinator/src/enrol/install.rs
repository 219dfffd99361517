//! Copies a program to a machine through its shim. Knows nothing of how the key
//! got there.

use std::io::{self, Read as _};
use std::time::Duration;

use musher_store::ssh::{Link, SshError};
use musher_store::transport::{PeerEnd, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::binary::Binary;
use super::shim::install_command;

/// How long the machine may take for one chunk, and for the check at the end.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long to wait for the words of a session that has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How much is sent between two words on progress, in bytes.
const CHUNK: usize = 256 << 10;

/// A program that did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No session with the key.
    #[error("cannot log in with the key")]
    Ssh {
        /// Why not.
        #[source]
        source: SshError,
    },
    /// The program cannot be read.
    #[error("cannot read the program to copy")]
    Read {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The machine did not take it.
    #[error("the machine did not take the program")]
    Refused {
        /// How its end of the session ended.
        #[source]
        source: PeerEnd,
    },
    /// It went silent.
    #[error("the machine took nothing for {} s", PATIENCE.as_secs())]
    Silent,
}

impl InstallError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Ssh { source } => source.help(),
            Self::Refused { .. } | Self::Read { .. } | Self::Silent => None,
        }
    }
}

/// Has the shim at the other end of `link` take `binary`; only on a machine of
/// `architecture`, if it is given. `told` hears how many bytes are sent.
pub async fn install(
    link: &Link,
    binary: &Binary,
    architecture: Option<&str>,
    mut told: impl FnMut(u64),
) -> Result<(), InstallError> {
    let command = install_command(&binary.hash, binary.size, architecture);
    let session = link.channel(&command).await;
    let session = session.map_err(|source| InstallError::Ssh { source })?;
    let Transport {
        reader,
        mut writer,
        peer,
    } = session;
    let mut content = (binary.content()).map_err(|source| InstallError::Read { source })?;
    let mut chunk = vec![0; CHUNK];
    let mut sent = 0;
    while sent < binary.size {
        let read = content.read(&mut chunk);
        let count = read.map_err(|source| InstallError::Read { source })?;
        if count == 0 {
            break;
        }
        let written = timeout(PATIENCE, writer.write_all(&chunk[..count])).await;
        if written.map_err(|_| InstallError::Silent)?.is_err() {
            // It has ended, and says why.
            break;
        }
        sent += count as u64;
        told(sent);
    }
    // Tells the shim that this was all.
    let _ = writer.shutdown().await;
    drop(writer);
    let mut said = String::new();
    let mut limited = reader.take(4096);
    let heard = timeout(PATIENCE, limited.read_to_string(&mut said)).await;
    // What else it says does not matter: only that line means success.
    let _ = heard.map_err(|_| InstallError::Silent)?;
    match said.trim_end() == format!("installed {}", binary.hash) {
        true => Ok(()),
        false => Err(InstallError::Refused {
            source: peer.ended(LAST_WORDS).await,
        }),
    }
}
