//! Hashes an output for its content address.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use musher_store::local::ModuloHasher;
use nix_archive::git;
use nix_archive::nar::{self, CaseHack};
use nix_derivation::{CAHash, ContentAddressMethod, HashAlgorithm, NixHash, StorePath, nixbase32};
use rustix::fs::{CWD, Mode, OFlags, openat};
use sha1::Sha1;
use sha2::Sha256;

use super::kind::Addressing;

/// Why an output has no content address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DigestError {
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    #[error("it cannot be written as a NAR")]
    Nar(#[source] nar::Error),
    #[error("it cannot be hashed as Git does")]
    Git(#[source] git::Error),
}

/// The content address of what is at `location`. Wherever the hash part of
/// `own` is, it counts as zeros, and where it is counts too: so the address
/// does not depend on the name the output had during the build.
///
/// Nix 2.17 to 2.34 leave out where it is, by mistake; their addresses of
/// outputs that refer to themselves differ from those of all others.
pub(crate) fn content_address(
    location: &Path,
    addressing: Addressing,
    own: &StorePath,
) -> Result<CAHash, DigestError> {
    let algorithm = addressing.algorithm;
    let hash = match addressing.method {
        ContentAddressMethod::Flat | ContentAddressMethod::Text => {
            modulo(algorithm, own, |hasher| {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(CWD, location, flags, Mode::empty());
                let mut file = File::from(file.map_err(|error| DigestError::Read(error.into()))?);
                io::copy(&mut file, hasher).map_err(DigestError::Read)?;
                Ok(())
            })?
        }
        ContentAddressMethod::Nar => modulo(algorithm, own, |hasher| {
            nar::encode_path(hasher, location, CaseHack::Disabled).map_err(DigestError::Nar)
        })?,
        ContentAddressMethod::Git => git_hash(location, algorithm)?,
    };
    let address = addressing.address(&hash);
    Ok(address.expect("bug: method and algorithm were found to go together"))
}

/// The digest of what `write` writes, modulo the hash part of `own`.
fn modulo(
    algorithm: HashAlgorithm,
    own: &StorePath,
    write: impl FnOnce(&mut dyn Write) -> Result<(), DigestError>,
) -> Result<NixHash, DigestError> {
    let mut hasher = ModuloHasher::new(algorithm, &nixbase32::encode(own.digest()));
    write(&mut hasher)?;
    hasher.finish().map_err(DigestError::Read)
}

fn git_hash(location: &Path, algorithm: HashAlgorithm) -> Result<NixHash, DigestError> {
    let digest = if algorithm == HashAlgorithm::Sha1 {
        let hashed = git::hash_path::<Sha1>(location).map_err(DigestError::Git)?;
        hashed.hash.to_vec()
    } else {
        // Whatever is neither was refused with the derivation.
        let hashed = git::hash_path::<Sha256>(location).map_err(DigestError::Git)?;
        hashed.hash.to_vec()
    };
    let hash = NixHash::from_algorithm_and_digest(algorithm, &digest);
    Ok(hash.expect("bug: Git content addresses are made with SHA-1 and SHA-256 only"))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use std::fs;

    const OWN: &str = "dc04vv14dak1c1r48qa0m23vr9jy8sm0-x";
    const OTHER: &str = "zc842j0rz61mjsp3h3wp5ly71ak6qgdn-x";

    fn address(text: &str, addressing: Addressing, own: &str) -> String {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, text).unwrap();
        let own = StorePath::from_basename(own.as_bytes()).unwrap();
        content_address(&file, addressing, &own)
            .unwrap()
            .to_nix_string()
    }

    const FLAT: Addressing = Addressing {
        method: ContentAddressMethod::Flat,
        algorithm: HashAlgorithm::Sha256,
    };
    const NAR: Addressing = Addressing {
        method: ContentAddressMethod::Nar,
        ..FLAT
    };

    #[test]
    fn the_name_during_the_build_does_not_count() {
        for addressing in [FLAT, NAR] {
            assert_eq!(
                address(&format!("me: {OWN}"), addressing, OWN),
                address(&format!("me: {OTHER}"), addressing, OTHER),
            );
            // Another path of the same length is not oneself.
            assert_ne!(
                address(&format!("me: {OWN}"), addressing, OWN),
                address(&format!("me: {OTHER}"), addressing, OWN),
            );
        }
    }

    #[test]
    fn zeros_are_not_taken_for_oneself() {
        let zeros = "\0".repeat(32);
        assert_ne!(
            address(OWN, FLAT, OWN),
            address(&OWN.replace(&OWN[..32], &zeros), FLAT, OWN),
        );
    }

    #[test]
    fn without_self_references_it_is_the_plain_hash() {
        let plain = nix_derivation::hash_bytes(HashAlgorithm::Sha256, b"hello\n");
        assert_eq!(
            address("hello\n", FLAT, OWN),
            format!("fixed:{}", plain.to_nix_nixbase32_string())
        );
    }

    #[test]
    fn git_hashes_blobs_as_git_does() {
        let git = Addressing {
            method: ContentAddressMethod::Git,
            algorithm: HashAlgorithm::Sha1,
        };
        let hash = NixHash::parse("sha1:ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        assert_eq!(
            address("hello\n", git, OWN),
            CAHash::Git(hash).to_nix_string()
        );
    }
}
