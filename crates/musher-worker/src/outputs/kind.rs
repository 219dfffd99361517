//! What kind of output each of a derivation's is. Pure.

use musher_protocol::types::BasicOutput;
use nix_derivation::hash::Error as HashError;
use nix_derivation::{
    CAHash, ContentAddressMethod, HashAlgorithm, NixHash, StoreDir, StorePath, store_path,
};

/// What decides an output's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// Its derivation.
    InputAddressed(StorePath),
    /// A content address that is known beforehand.
    Fixed {
        /// The content address it is to have.
        ca: CAHash,
        /// The path that gives.
        path: StorePath,
    },
    /// A content address that is found out, and remembered.
    Floating(Addressing),
    /// A content address that is found out anew each time.
    Impure(Addressing),
}

/// How a content address is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addressing {
    /// What is hashed.
    pub(crate) method: ContentAddressMethod,
    /// With what.
    pub(crate) algorithm: HashAlgorithm,
}

/// An output that says nothing sensible of itself.
#[derive(Debug, thiserror::Error)]
pub enum KindError {
    /// Neither a path nor a way to find one: its inputs are not resolved.
    #[error("output `{output}` has neither a path nor a hash algorithm")]
    Deferred {
        /// The output's name.
        output: String,
    },
    /// The path is not what its hash gives.
    #[error("output `{output}` has path `{path}`, but its hash gives `{expected}`")]
    Path {
        /// The output's name.
        output: String,
        /// What it says.
        path: String,
        /// What it should say.
        expected: String,
    },
    /// The hash or its algorithm is not understood.
    #[error("output `{output}` has hash `{hash}` with algorithm `{algorithm}`")]
    Hash {
        /// The output's name.
        output: String,
        /// The algorithm, with what is before it.
        algorithm: String,
        /// The hash.
        hash: String,
        /// What is wrong with it.
        source: HashError,
    },
    /// The output's path cannot be made.
    #[error("output `{output}` has no path")]
    Name {
        /// The output's name.
        output: String,
        /// Why not.
        source: store_path::Error,
    },
}

impl OutputKind {
    /// The kind of output `name`, whose path is called `path_name`.
    pub(crate) fn of(
        store_dir: &StoreDir,
        name: &str,
        path_name: &str,
        output: &BasicOutput,
    ) -> Result<Self, KindError> {
        if output.hash_algo.is_empty() {
            let path = output.path.clone();
            return path
                .map(Self::InputAddressed)
                .ok_or_else(|| KindError::Deferred {
                    output: name.to_owned(),
                });
        }
        let hash = |source| KindError::Hash {
            output: name.to_owned(),
            algorithm: output.hash_algo.clone(),
            hash: output.hash.clone(),
            source,
        };
        let addressing = Addressing::parse(&output.hash_algo).map_err(hash)?;
        match output.hash.as_str() {
            "" => Ok(Self::Floating(addressing)),
            "impure" => Ok(Self::Impure(addressing)),
            digits => {
                let digest = format!("{}:{digits}", addressing.algorithm);
                let digest = NixHash::parse(&digest).map_err(hash)?;
                let ca = addressing.address(&digest).map_err(hash)?;
                let path = store_dir.build_ca_path(path_name, &ca, [], false);
                let path = path.map_err(|source| KindError::Name {
                    output: name.to_owned(),
                    source,
                })?;
                match &output.path {
                    Some(given) if *given != path => Err(KindError::Path {
                        output: name.to_owned(),
                        path: store_dir.render_path(given),
                        expected: store_dir.render_path(&path),
                    }),
                    _ => Ok(Self::Fixed { ca, path }),
                }
            }
        }
    }

    /// The path, where it is known before the build.
    pub(crate) fn known_path(&self) -> Option<&StorePath> {
        match self {
            Self::InputAddressed(path) | Self::Fixed { path, .. } => Some(path),
            Self::Floating(_) | Self::Impure(_) => None,
        }
    }
}

impl Addressing {
    /// `[r:|text:|git:]algorithm`.
    fn parse(text: &str) -> Result<Self, HashError> {
        let (method, algorithm) = match text.split_once(':') {
            Some(("r", rest)) => (ContentAddressMethod::Nar, rest),
            Some(("text", rest)) => (ContentAddressMethod::Text, rest),
            Some(("git", rest)) => (ContentAddressMethod::Git, rest),
            Some(_) | None => (ContentAddressMethod::Flat, text),
        };
        let addressing = Self {
            method,
            algorithm: algorithm.parse()?,
        };
        // Not every method goes with every algorithm.
        let length = match addressing.algorithm {
            HashAlgorithm::Md5 => 16,
            HashAlgorithm::Sha1 => 20,
            HashAlgorithm::Sha256 | HashAlgorithm::Blake3 => 32,
            HashAlgorithm::Sha512 => 64,
        };
        CAHash::from_parts(method, addressing.algorithm, &[0; 64][..length])?;
        Ok(addressing)
    }

    /// The content address that has digest `hash`.
    pub(crate) fn address(self, hash: &NixHash) -> Result<CAHash, HashError> {
        CAHash::from_parts(self.method, hash.algorithm(), hash.digest_as_bytes())
    }

    /// Whether a single file without execute permission is asked for.
    pub(crate) fn is_flat(self) -> bool {
        matches!(
            self.method,
            ContentAddressMethod::Flat | ContentAddressMethod::Text
        )
    }
}
