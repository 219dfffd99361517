//! Content addresses: whether a path's name follows from the address it claims,
//! and whether its contents have that address.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use musher_protocol::types::PathInfo;
use nix_archive::nar::{CaseHack, encode_path};
use nix_derivation::{
    CAHash, ContentAddressMethod, HashAlgorithm, NixHash, NixHasher, StoreDir, nixbase32,
};

use super::{LocalError, ModuloHasher};

/// Bytes hashed at a time.
const CHUNK: usize = 64 << 10;

/// Whether the path's name follows from the content address that `info` claims,
/// if it claims one.
pub(super) fn check_claim(store_dir: &StoreDir, info: &PathInfo) -> Result<(), LocalError> {
    let Some(ca) = &info.ca else {
        return Ok(());
    };
    let others = info.references.iter().filter(|path| **path != info.path);
    let to_itself = info.references.contains(&info.path);
    let name = store_dir.build_ca_path(info.path.name(), ca, others, to_itself);
    match name {
        Ok(path) if path == info.path => Ok(()),
        Ok(_) | Err(_) => Err(LocalError::FalseClaim {
            path: store_dir.render_path(&info.path),
            ca: ca.to_nix_string(),
        }),
    }
}

/// Whether what lies at `place` has the content address that `info` claims, if
/// it claims one; `info`'s NAR hash is known to be right.
pub(super) fn check(store_dir: &StoreDir, info: &PathInfo, place: &Path) -> Result<(), LocalError> {
    let Some(ca) = &info.ca else {
        return Ok(());
    };
    let found = match ca {
        // The NAR's hash has been checked already.
        CAHash::Nar(NixHash::Sha256(_)) if !info.references.contains(&info.path) => {
            NixHash::Sha256(info.nar_hash.0)
        }
        CAHash::Flat(_) | CAHash::Nar(_) | CAHash::Text(_) | CAHash::Git(_) => {
            hash_of(ca, &info.path, place).map_err(LocalError::io("hash", place))?
        }
    };
    let expected = ca.hash();
    if found == expected {
        return Ok(());
    }
    if let CAHash::Nar(_) = ca
        && info.references.contains(&info.path)
    {
        // As Nix 2.17 to 2.34 have it.
        let found = hash_modulo(expected.algorithm(), &info.path, place, false);
        if found.map_err(LocalError::io("hash", place))? == expected {
            return Ok(());
        }
    }
    Err(LocalError::OtherHash {
        path: store_dir.render_path(&info.path),
        expected: expected.to_nix_nixbase32_string(),
        found: found.to_nix_nixbase32_string(),
    })
}

/// The content address that contents with this hash have.
pub(super) fn address(
    method: ContentAddressMethod,
    hash: &NixHash,
    name: &str,
) -> Result<CAHash, LocalError> {
    let made = CAHash::from_parts(method, hash.algorithm(), hash.digest_as_bytes());
    made.map_err(|source| LocalError::Address {
        name: name.to_owned(),
        source,
    })
}

/// The hash that what lies at `place` has, which does not mention itself.
pub(super) fn hash_new(
    method: ContentAddressMethod,
    algorithm: HashAlgorithm,
    place: &Path,
) -> io::Result<NixHash> {
    match method {
        ContentAddressMethod::Flat | ContentAddressMethod::Text => hash_file(algorithm, place),
        ContentAddressMethod::Nar => {
            let mut hasher = Hasher(NixHasher::new(algorithm));
            encode_path(&mut hasher, place, CaseHack::native()).map_err(io::Error::other)?;
            Ok(hasher.0.finalize())
        }
        ContentAddressMethod::Git => hash_git(algorithm, place),
    }
}

/// The hash that what lies at `place` has, by the method of `ca`.
fn hash_of(ca: &CAHash, path: &nix_derivation::StorePath, place: &Path) -> io::Result<NixHash> {
    let algorithm = ca.hash().algorithm();
    match ca {
        CAHash::Text(_) | CAHash::Flat(_) => hash_file(algorithm, place),
        CAHash::Nar(_) => hash_modulo(algorithm, path, place, true),
        CAHash::Git(_) => hash_git(algorithm, place),
    }
}

/// The hash of the NAR of what lies at `place`, modulo the hash part of `path`.
fn hash_modulo(
    algorithm: HashAlgorithm,
    path: &nix_derivation::StorePath,
    place: &Path,
    with_places: bool,
) -> io::Result<NixHash> {
    let hash_part = nixbase32::encode(path.digest());
    let mut hasher = ModuloHasher::new(algorithm, &hash_part);
    encode_path(&mut hasher, place, CaseHack::native()).map_err(io::Error::other)?;
    match with_places {
        true => hasher.finish(),
        false => hasher.finish_without_places(),
    }
}

fn hash_file(algorithm: HashAlgorithm, place: &Path) -> io::Result<NixHash> {
    if !std::fs::symlink_metadata(place)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut file = File::open(place)?;
    let mut hasher = NixHasher::new(algorithm);
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn hash_git(algorithm: HashAlgorithm, place: &Path) -> io::Result<NixHash> {
    use nix_archive::git::hash_path;

    let digest: Vec<u8> = match algorithm {
        HashAlgorithm::Sha1 => hash_path::<sha1::Sha1>(place).map(|found| found.hash.to_vec()),
        HashAlgorithm::Sha256 => hash_path::<sha2::Sha256>(place).map(|found| found.hash.to_vec()),
        other @ (HashAlgorithm::Md5 | HashAlgorithm::Sha512 | HashAlgorithm::Blake3) => {
            return Err(io::Error::other(format!("git does not hash with {other}")));
        }
    }
    .map_err(io::Error::other)?;
    NixHash::from_algorithm_and_digest(algorithm, &digest).map_err(io::Error::other)
}

struct Hasher(NixHasher);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
