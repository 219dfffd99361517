//! Content that is added by its address: its path follows from it.

use std::collections::BTreeSet;

use musher_protocol::types::{PathInfo, Text};
use musher_protocol::worker::{RemoteError, Response};
use nix_derivation::{ContentAddressMethod, HashAlgorithm, StorePath};

use super::answer::{Answer, failed};
use super::body::Body;
use super::rooted::Rooted;
use crate::local::{Dump, NewPath};

/// `AddToStore`, from 1.25
pub(super) fn add(
    store: &Rooted,
    name: &str,
    method: &str,
    references: &BTreeSet<StorePath>,
    repair: bool,
    body: &mut Body,
) -> Answer {
    let (method, algorithm) = parse_method(method)?;
    let new = NewPath {
        name,
        method,
        algorithm,
        references,
        repair,
    };
    let dump = match method {
        ContentAddressMethod::Flat | ContentAddressMethod::Text => Dump::Flat,
        ContentAddressMethod::Nar | ContentAddressMethod::Git => Dump::Nar,
    };
    add_ca(store, &new, dump, body).map(Response::Added)
}

/// `AddToStore`, before: always an archive, if only of a file
pub(super) fn add_nar(
    store: &Rooted,
    name: &str,
    recursive: bool,
    algorithm: &str,
    body: &mut Body,
) -> Answer {
    let references = BTreeSet::new();
    let new = NewPath {
        name,
        method: match recursive {
            true => ContentAddressMethod::Nar,
            false => ContentAddressMethod::Flat,
        },
        algorithm: parse_algorithm(algorithm)?,
        references: &references,
        repair: false,
    };
    let info = add_ca(store, &new, Dump::Nar, body)?;
    Ok(Response::Path(info.path))
}

/// `AddTextToStore`
pub(super) fn add_text(
    store: &Rooted,
    name: &str,
    text: &Text,
    references: &BTreeSet<StorePath>,
) -> Answer {
    let roots = store.roots().map_err(failed)?;
    let added = (store.store).add_text(name, text.as_bytes(), references, roots);
    Ok(Response::Path(added.map_err(failed)?.path))
}

fn add_ca(
    store: &Rooted,
    new: &NewPath<'_>,
    dump: Dump,
    body: &mut Body,
) -> Result<PathInfo, RemoteError> {
    let roots = store.roots().map_err(failed)?;
    let added = store.store.add_ca(new, dump, body, roots);
    added.map_err(failed)
}

/// Reads `text:sha256`, `fixed:sha256`, `fixed:r:sha256`, `fixed:git:sha1`, ….
fn parse_method(method: &str) -> Result<(ContentAddressMethod, HashAlgorithm), RemoteError> {
    let prefixes = [
        ("text:", ContentAddressMethod::Text),
        ("fixed:r:", ContentAddressMethod::Nar),
        ("fixed:git:", ContentAddressMethod::Git),
        ("fixed:", ContentAddressMethod::Flat),
    ];
    let found = prefixes.into_iter().find_map(|(prefix, found)| {
        let algorithm = method.strip_prefix(prefix)?;
        Some((found, algorithm))
    });
    let Some((found, algorithm)) = found else {
        let text = format!("`{method}` is no way of addressing content that is known here");
        return Err(RemoteError::new(text));
    };
    Ok((found, parse_algorithm(algorithm)?))
}

fn parse_algorithm(algorithm: &str) -> Result<HashAlgorithm, RemoteError> {
    algorithm
        .parse()
        .map_err(|_| RemoteError::new(format!("`{algorithm}` is no hash algorithm known here")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_told_apart() {
        let read = |method| parse_method(method).ok();
        let sha256 = HashAlgorithm::Sha256;
        assert_eq!(
            read("text:sha256"),
            Some((ContentAddressMethod::Text, sha256))
        );
        assert_eq!(
            read("fixed:sha256"),
            Some((ContentAddressMethod::Flat, sha256))
        );
        assert_eq!(
            read("fixed:r:sha256"),
            Some((ContentAddressMethod::Nar, sha256))
        );
        assert_eq!(
            read("fixed:git:sha1"),
            Some((ContentAddressMethod::Git, HashAlgorithm::Sha1))
        );
        assert_eq!(read("sha256"), None);
        assert_eq!(read("fixed:r:crc32"), None);
    }
}
