//! Gives each new output the path it is to have, and makes it say so of itself
//! and of the others.

use std::collections::BTreeSet;
use std::path::Path;

use musher_protocol::types::PathInfo;
use nix_derivation::{
    CAHash, ContentAddressMethod, HashAlgorithm, NixHash, StoreDir, StorePath, store_path,
};

use super::Rejection;
use super::digest::{DigestError, content_address};
use super::error::{OutputError, Stop};
use super::held::Held;
use super::kind::{Addressing, OutputKind};
use super::rewrite::Rewrites;

/// What is the same for all outputs of a derivation, and what was settled of
/// them so far.
pub(crate) struct Settling<'a> {
    /// The store directory on this host.
    pub(crate) store: &'a Path,
    pub(crate) store_dir: &'a StoreDir,
    pub(crate) drv_path: &'a StorePath,
    /// The derivation, absolute.
    pub(crate) drv: &'a str,
    /// The paths outputs had during the build, to those they have.
    pub(crate) rewrites: Rewrites,
}

/// What is asked of one output.
pub(crate) struct Wanted<'a> {
    pub(crate) kind: &'a OutputKind,
    /// The path it had during the build.
    pub(crate) scratch: &'a StorePath,
    /// The name its path is to have.
    pub(crate) name: &'a str,
    /// Whether its references do not count, and were not looked for.
    pub(crate) undisclosed: bool,
}

impl Settling<'_> {
    /// Settles `held`, all of the outputs it refers to being settled.
    pub(crate) fn settle(
        &mut self,
        wanted: &Wanted<'_>,
        held: &mut Held,
    ) -> Result<PathInfo, Stop> {
        match wanted.kind {
            OutputKind::InputAddressed(path) => {
                self.rewrites.add(wanted.scratch, path);
                self.rewrite_where_needed(wanted, held)?;
                let references = held.references.iter();
                let references = references.map(|path| self.rewrites.path(path)).collect();
                Ok(self.info(path.clone(), references, None, held))
            }
            OutputKind::Fixed { ca, .. } => {
                let addressing = Addressing {
                    method: ca.method(),
                    algorithm: ca.hash().algorithm(),
                };
                self.address(addressing, wanted, held)
            }
            OutputKind::Floating(addressing) | OutputKind::Impure(addressing) => {
                self.address(*addressing, wanted, held)
            }
        }
    }

    fn address(
        &mut self,
        addressing: Addressing,
        wanted: &Wanted<'_>,
        held: &mut Held,
    ) -> Result<PathInfo, Stop> {
        if addressing.is_flat() && !held.is_plain_file {
            return Err(Stop::Rejected(Rejection::NotFlat {
                location: held.origin.display().to_string(),
            }));
        }
        self.rewrite_where_needed(wanted, held)?;
        let own = wanted.scratch;
        let mut others = held.references.clone();
        let refers_to_itself = others.remove(own);
        let may_refer_to_itself = refers_to_itself || wanted.undisclosed;
        let is_nar_hash = addressing.method == ContentAddressMethod::Nar
            && addressing.algorithm == HashAlgorithm::Sha256;
        let ca = if is_nar_hash && !may_refer_to_itself {
            CAHash::Nar(NixHash::Sha256(held.nar.hash.0))
        } else {
            let address = content_address(&held.location, addressing, own);
            address.map_err(|error| self.no_address(held, error))?
        };
        let others: BTreeSet<StorePath> =
            others.iter().map(|path| self.rewrites.path(path)).collect();
        let path = self
            .store_dir
            .build_ca_path(wanted.name, &ca, &others, refers_to_itself);
        let path = path.map_err(|error| self.no_path(wanted, held, error))?;
        self.rewrites.add(own, &path);
        if may_refer_to_itself && own.digest() != path.digest() {
            let mut own_name = Rewrites::default();
            own_name.add(own, &path);
            held.rewrite(self.store, &own_name, self.drv)?;
        }
        let mut references = others;
        if refers_to_itself {
            references.insert(path.clone());
        }
        Ok(self.info(path, references, Some(ca), held))
    }

    /// Rewrites the names that other outputs had, where there are any in it.
    fn rewrite_where_needed(&self, wanted: &Wanted<'_>, held: &mut Held) -> Result<(), Stop> {
        let mut references = held.references.iter();
        let concerned = wanted.undisclosed || references.any(|path| self.rewrites.concern(path));
        if concerned && !self.rewrites.is_empty() {
            held.rewrite(self.store, &self.rewrites, self.drv)?;
        }
        Ok(())
    }

    fn info(
        &self,
        path: StorePath,
        references: BTreeSet<StorePath>,
        ca: Option<CAHash>,
        held: &Held,
    ) -> PathInfo {
        PathInfo {
            path,
            deriver: Some(self.drv_path.clone()),
            nar_hash: held.nar.hash,
            nar_size: held.nar.size,
            references,
            // The store says when it registers it.
            registration_time: 0,
            ultimate: true,
            signatures: BTreeSet::new(),
            ca,
        }
    }

    fn no_address(&self, held: &Held, error: DigestError) -> Stop {
        match error {
            DigestError::Read(source) => OutputError::file("read", &held.location)(source).into(),
            DigestError::Nar(error) => held.unreadable(self.drv, error),
            DigestError::Git(error) => Stop::Rejected(Rejection::NotArchivable {
                drv: self.drv.to_owned(),
                output: held.output.clone(),
                reason: error.to_string(),
            }),
        }
    }

    fn no_path(&self, wanted: &Wanted<'_>, held: &Held, error: store_path::Error) -> Stop {
        use store_path::Error;

        if let Error::ReferencesNotAllowed { .. } | Error::TextSelfReference = error {
            return Stop::Rejected(Rejection::ReferencesNotAllowed {
                name: wanted.name.to_owned(),
            });
        }
        Stop::Failed(OutputError::Path {
            drv: self.drv.to_owned(),
            output: held.output.clone(),
            source: error,
        })
    }
}
