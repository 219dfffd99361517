//! What the database says of paths.

use std::collections::{BTreeMap, BTreeSet};

use musher_protocol::types::PathInfo;
use nix_derivation::{StoreDir, StorePath};
use rusqlite::{OptionalExtension, Params};

use super::row::PathRow;
use super::{LocalError, Session};

/// Digits of a path's hash part.
const HASH_PART: usize = 32;

impl Session<'_> {
    /// The row of a valid path.
    pub(in crate::local) fn path_id(&self, path: &StorePath) -> Result<Option<i64>, LocalError> {
        let select = || {
            self.prepare_cached("select id from ValidPaths where path = ?1")?
                .query_row([self.render(path)], |row| row.get(0))
                .optional()
        };
        select().map_err(self.failed("look for a path"))
    }

    pub(in crate::local) fn path_info(
        &self,
        path: &StorePath,
    ) -> Result<Option<PathInfo>, LocalError> {
        let select = || {
            let columns = PathRow::COLUMNS;
            self.prepare_cached(&format!("select {columns} from ValidPaths where path = ?1"))?
                .query_row([self.render(path)], PathRow::read)
                .optional()
        };
        let Some(row) = select().map_err(self.failed("look for a path"))? else {
            return Ok(None);
        };
        let references = self.paths(
            "select path from Refs join ValidPaths on reference = id where referrer = ?1",
            [row.id],
        )?;
        row.into_info(self, path, references).map(Some)
    }

    pub(in crate::local) fn referrers(
        &self,
        path: &StorePath,
    ) -> Result<BTreeSet<StorePath>, LocalError> {
        self.paths(
            "select path from Refs join ValidPaths on referrer = id \
             where reference = (select id from ValidPaths where path = ?1)",
            [self.render(path)],
        )
    }

    pub(in crate::local) fn valid_derivers(
        &self,
        path: &StorePath,
    ) -> Result<BTreeSet<StorePath>, LocalError> {
        self.paths(
            "select v.path from DerivationOutputs d join ValidPaths v on d.drv = v.id \
             where d.path = ?1",
            [self.render(path)],
        )
    }

    /// The outputs of a valid derivation whose paths are known before it is
    /// built.
    pub(in crate::local) fn static_outputs(
        &self,
        drv: &StorePath,
    ) -> Result<BTreeMap<String, StorePath>, LocalError> {
        let select = || -> rusqlite::Result<Vec<(String, String)>> {
            self.prepare_cached(
                "select d.id, d.path from DerivationOutputs d join ValidPaths v on d.drv = v.id \
                 where v.path = ?1",
            )?
            .query_map([self.render(drv)], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        };
        let rows = select().map_err(self.failed("look for a derivation's outputs"))?;
        rows.into_iter()
            .map(|(name, path)| {
                let path = self.parse_path("output path", &self.render(drv), &path)?;
                Ok((name, path))
            })
            .collect()
    }

    pub(in crate::local) fn path_from_hash_part(
        &self,
        hash_part: &str,
    ) -> Result<Option<StorePath>, LocalError> {
        if hash_part.len() != HASH_PART
            || !hash_part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return Err(LocalError::BadHashPart {
                found: hash_part.chars().take(100).collect(),
            });
        }
        let prefix = hash_part_prefix(&self.database.store_dir, hash_part);
        let select = || {
            self.prepare_cached("select path from ValidPaths where path >= ?1 limit 1")?
                .query_row([&prefix], |row| row.get::<_, String>(0))
                .optional()
        };
        let found = select().map_err(self.failed("look for a path"))?;
        found
            .filter(|path| path.starts_with(&prefix))
            .map(|path| self.parse_path("path", &prefix, &path))
            .transpose()
    }

    pub(in crate::local) fn all_paths(&self) -> Result<BTreeSet<StorePath>, LocalError> {
        self.paths("select path from ValidPaths", [])
    }

    /// The paths that a query of one column gives.
    pub(super) fn paths(
        &self,
        query: &str,
        params: impl Params,
    ) -> Result<BTreeSet<StorePath>, LocalError> {
        let select = || -> rusqlite::Result<Vec<String>> {
            self.prepare_cached(query)?
                .query_map(params, |row| row.get(0))?
                .collect()
        };
        let texts = select().map_err(self.failed("look for paths"))?;
        let parse = |text: &String| self.parse_path("path", "ValidPaths", text);
        texts.iter().map(parse).collect()
    }
}

fn hash_part_prefix(store_dir: &StoreDir, hash_part: &str) -> String {
    format!("{}/{hash_part}", store_dir.as_str().trim_end_matches('/'))
}
