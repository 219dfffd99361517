//! Columns of Nix's tables, to values and back.

use std::collections::BTreeSet;

use musher_protocol::types::{NarHash, PathInfo};
use nix_derivation::{CAHash, NixHash, StorePath};
use rusqlite::Row;

use super::{LocalError, Session};

/// A row of `ValidPaths` as it is in the table.
pub(super) struct PathRow {
    pub(super) id: i64,
    hash: String,
    registration_time: i64,
    deriver: Option<String>,
    nar_size: Option<i64>,
    ultimate: Option<i64>,
    sigs: Option<String>,
    ca: Option<String>,
}

impl PathRow {
    pub(super) const COLUMNS: &str =
        "id, hash, registrationTime, deriver, narSize, ultimate, sigs, ca";

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            hash: row.get(1)?,
            registration_time: row.get(2)?,
            deriver: row.get(3)?,
            nar_size: row.get(4)?,
            ultimate: row.get(5)?,
            sigs: row.get(6)?,
            ca: row.get(7)?,
        })
    }

    /// The path's metadata.
    pub(super) fn into_info(
        self,
        session: &Session<'_>,
        path: &StorePath,
        references: BTreeSet<StorePath>,
    ) -> Result<PathInfo, LocalError> {
        let key = || session.render(path);
        let bad = |what, found: &str| session.bad_row(what, &key(), found);
        let nar_hash = match NixHash::parse(&self.hash) {
            Ok(NixHash::Sha256(digest)) => NarHash(digest),
            Ok(_) | Err(_) => return Err(bad("hash", &self.hash)),
        };
        let deriver = self.deriver.filter(|deriver| !deriver.is_empty());
        let deriver = deriver
            .map(|deriver| session.parse_path("deriver", &key(), &deriver))
            .transpose()?;
        let ca = match self.ca.filter(|ca| !ca.is_empty()) {
            Some(ca) => Some(ca.parse::<CAHash>().map_err(|_| bad("ca", &ca))?),
            None => None,
        };
        Ok(PathInfo {
            path: path.clone(),
            deriver,
            nar_hash,
            // Very old stores have no size.
            nar_size: u64::try_from(self.nar_size.unwrap_or(0)).unwrap_or(0),
            references,
            registration_time: u64::try_from(self.registration_time).unwrap_or(0),
            ultimate: self.ultimate == Some(1),
            signatures: words(self.sigs.as_deref()),
            ca,
        })
    }
}

/// The values that a path's metadata has in the table.
pub(super) struct PathColumns {
    pub(super) hash: String,
    pub(super) nar_size: Option<i64>,
    pub(super) ultimate: Option<i64>,
    pub(super) sigs: Option<String>,
    pub(super) ca: Option<String>,
}

impl From<&PathInfo> for PathColumns {
    fn from(info: &PathInfo) -> Self {
        Self {
            hash: NixHash::Sha256(info.nar_hash.0).to_nix_base16_string(),
            nar_size: i64::try_from(info.nar_size).ok().filter(|size| *size > 0),
            ultimate: info.ultimate.then_some(1),
            sigs: Some(join(&info.signatures)).filter(|sigs| !sigs.is_empty()),
            ca: info.ca.as_ref().map(CAHash::to_nix_string),
        }
    }
}

impl Session<'_> {
    /// A path as the tables have it.
    pub(super) fn parse_path(
        &self,
        what: &'static str,
        key: &str,
        text: &str,
    ) -> Result<StorePath, LocalError> {
        let parsed = self.database.store_dir.parse_path(text.as_bytes());
        parsed.map_err(|_| self.bad_row(what, key, text))
    }
}

/// A list as the tables have it: with spaces between.
pub(super) fn words(text: Option<&str>) -> BTreeSet<String> {
    let words = text.unwrap_or_default().split_ascii_whitespace();
    words.map(str::to_owned).collect()
}

/// A list for the tables.
pub(super) fn join(words: &BTreeSet<String>) -> String {
    words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}
