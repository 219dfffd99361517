//! The first bytes of a connection, from either end.

use std::collections::BTreeSet;

use super::error::SessionError;
use super::message::{Message, tag};
use super::remote_error::RemoteError;
use super::version::{Dialect, Feature, Version};
use super::{CLIENT_MAGIC, SERVER_MAGIC};
use crate::types::Text;
use crate::wire::{DecodeError, Decoder, Encoder};

/// Bytes of a stranger's greeting that an error repeats.
const SHOWN: usize = 200;

/// What is being read, for errors.
const HANDSHAKE: &str = "handshake";

/// Writes the client's hello.
pub(super) fn greet_server(version: Version, to: &mut Encoder) {
    to.u64(CLIENT_MAGIC);
    to.u64(version.to_wire());
}

/// Writes the server's hello.
pub(super) fn greet_client(version: Version, to: &mut Encoder) {
    to.u64(SERVER_MAGIC);
    to.u64(version.to_wire());
}

/// Reads what tells a server from anything else.
pub(super) async fn server_magic(from: &mut Decoder) -> Result<(), SessionError> {
    magic(SERVER_MAGIC, from).await
}

/// Reads what tells a client from anything else.
pub(super) async fn client_magic(from: &mut Decoder) -> Result<(), SessionError> {
    magic(CLIENT_MAGIC, from).await
}

/// Reads the peer's version: the version that both speak.
pub(super) async fn common_version(
    offered: Version,
    from: &mut Decoder,
) -> Result<Version, SessionError> {
    let peer = from.u64("version").await.map_err(decode)?;
    let peer = Version::from_wire(peer);
    if peer.major_number() != Version::MIN.major_number() || peer < Version::MIN {
        return Err(SessionError::Version { peer });
    }
    Ok(peer.min(offered))
}

async fn magic(expected: u64, from: &mut Decoder) -> Result<(), SessionError> {
    let word = from.source().peek_word().await;
    if word == Some(expected.to_le_bytes()) {
        from.u64("magic number").await.map_err(decode)?;
        return Ok(());
    }
    let found = from.source().preview(SHOWN);
    if found.is_empty() {
        let during = "before it said anything";
        return Err(SessionError::Ended { during });
    }
    let found = Text::from(found);
    Err(SessionError::NotNix { found })
}

/// The features to offer out of those wished for.
pub(super) fn offer(features: &BTreeSet<Feature>) -> BTreeSet<Feature> {
    let offered = features.iter().filter(|feature| feature.is_offered());
    offered.copied().collect()
}

/// Writes a set of features.
pub(super) fn write_features(features: &BTreeSet<Feature>, to: &mut Encoder) {
    // In the order of their names, as Nix has its sets.
    let names: BTreeSet<String> = features
        .iter()
        .map(|feature| feature.name().to_owned())
        .collect();
    to.strings(&names);
}

/// Reads the peer's features: those that were offered too.
pub(super) async fn common_features(
    offered: &BTreeSet<Feature>,
    from: &mut Decoder,
) -> Result<BTreeSet<Feature>, SessionError> {
    let names: BTreeSet<String> = from.strings("features").await.map_err(decode)?;
    let known = names.iter().filter_map(|name| Feature::parse(name));
    Ok(known.filter(|feature| offered.contains(feature)).collect())
}

/// Writes what the client says last, which once meant something: the CPU to
/// run on, and whether to reserve space.
pub(super) fn write_obsolete(to: &mut Encoder) {
    to.u64(0);
    to.u64(0);
}

/// Reads that.
pub(super) async fn read_obsolete(from: &mut Decoder) -> Result<(), SessionError> {
    async {
        if from.bool("CPU affinity").await? {
            from.u64("CPU").await?;
        }
        from.u64("reserve space").await
    }
    .await
    .map(|_| ())
    .map_err(decode)
}

/// Reads what a server says before it is ready; `None` once it is.
pub(super) async fn next_startup_message(
    dialect: &Dialect,
    from: &mut Decoder,
) -> Result<Option<Message>, SessionError> {
    let offset = from.offset();
    let word = from.u64("start of a message").await.map_err(decode)?;
    if word == tag::LAST {
        return Ok(None);
    }
    if word == tag::ERROR {
        let error = RemoteError::decode(dialect, from).await.map_err(decode)?;
        return Err(SessionError::Rejected { error });
    }
    match Message::decode(word, from).await.map_err(decode)? {
        Some(message) => Ok(Some(message)),
        None => Err(decode(from.error(
            "start of a message",
            offset,
            "a log message, an error or the end of the log",
            format!("{word:#x}"),
        ))),
    }
}

/// A faulty handshake.
pub(super) fn decode(source: DecodeError) -> SessionError {
    SessionError::decode(HANDSHAKE, source)
}
