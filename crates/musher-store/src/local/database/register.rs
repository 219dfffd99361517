//! Makes paths valid, and what is known of them better known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use musher_protocol::types::PathInfo;
use nix_derivation::StorePath;
use rusqlite::params;

use super::row::PathColumns;
use super::{LocalError, Session};
use crate::local::layout::Layout;

impl Session<'_> {
    /// Registers `infos` in one transaction; what is valid gets the new
    /// metadata.
    pub(in crate::local) fn register(
        &self,
        infos: &[PathInfo],
        layout: &Layout,
    ) -> Result<(), LocalError> {
        if infos.is_empty() {
            return Ok(());
        }
        self.refuse_cycles(infos)?;
        self.atomically(|| {
            let mut ids = BTreeMap::new();
            for info in infos {
                let id = match self.path_id(&info.path)? {
                    Some(id) => {
                        self.update(id, info)?;
                        id
                    }
                    None => self.insert(info, layout)?,
                };
                ids.insert(&info.path, id);
            }
            for info in infos {
                for reference in &info.references {
                    let id = match ids.get(reference) {
                        Some(id) => *id,
                        None => {
                            self.path_id(reference)?
                                .ok_or_else(|| LocalError::NoReference {
                                    path: self.render(&info.path),
                                    reference: self.render(reference),
                                })?
                        }
                    };
                    self.refer(ids[&info.path], id)?;
                }
            }
            Ok(())
        })
    }

    pub(in crate::local) fn add_signatures(
        &self,
        path: &StorePath,
        signatures: &BTreeSet<String>,
    ) -> Result<(), LocalError> {
        self.atomically(|| {
            let not_valid = || LocalError::NotValid {
                path: self.render(path),
            };
            let mut info = self.path_info(path)?.ok_or_else(not_valid)?;
            info.signatures.extend(signatures.iter().cloned());
            let id = self.path_id(path)?.ok_or_else(not_valid)?;
            self.update(id, &info)
        })
    }

    fn insert(&self, info: &PathInfo, layout: &Layout) -> Result<i64, LocalError> {
        let columns = PathColumns::from(info);
        let time = match info.registration_time {
            0 => now(),
            time => i64::try_from(time).unwrap_or(i64::MAX),
        };
        let insert = || {
            self.prepare_cached(
                "insert into ValidPaths \
                 (path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca) \
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .insert(params![
                self.render(&info.path),
                columns.hash,
                time,
                info.deriver.as_ref().map(|deriver| self.render(deriver)),
                columns.nar_size,
                columns.ultimate,
                columns.sigs,
                columns.ca,
            ])
        };
        let id = insert().map_err(self.failed("register a path"))?;
        if info.path.is_derivation() {
            self.add_derivation_outputs(id, &info.path, layout)?;
        }
        Ok(id)
    }

    fn update(&self, id: i64, info: &PathInfo) -> Result<(), LocalError> {
        let columns = PathColumns::from(info);
        let update = || {
            self.prepare_cached(
                "update ValidPaths set narSize = ?2, hash = ?3, ultimate = ?4, sigs = ?5, \
                 ca = ?6 where id = ?1",
            )?
            .execute(params![
                id,
                columns.nar_size,
                columns.hash,
                columns.ultimate,
                columns.sigs,
                columns.ca,
            ])
        };
        update().map_err(self.failed("register a path again"))?;
        Ok(())
    }

    fn refer(&self, referrer: i64, reference: i64) -> Result<(), LocalError> {
        let insert = || {
            self.prepare_cached(
                "insert or replace into Refs (referrer, reference) values (?1, ?2)",
            )?
            .execute([referrer, reference])
        };
        insert().map_err(self.failed("register a reference"))?;
        Ok(())
    }

    /// Paths that refer to each other could never be deleted, and no build
    /// makes them but one with several outputs that do.
    fn refuse_cycles(&self, infos: &[PathInfo]) -> Result<(), LocalError> {
        let ordered = crate::references_first(infos.to_vec());
        let mut later: BTreeSet<&StorePath> = ordered.iter().map(|info| &info.path).collect();
        for info in &ordered {
            later.remove(&info.path);
            if info.references.iter().any(|path| later.contains(path)) {
                return Err(LocalError::Cycle {
                    path: self.render(&info.path),
                });
            }
        }
        Ok(())
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
