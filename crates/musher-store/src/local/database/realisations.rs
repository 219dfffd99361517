//! Realisations: `Realisations` by hash modulo, `BuildTraceV3` by path. Both
//! are read and written, so that every Nix finds what it looks for.

use std::collections::BTreeSet;

use nix_derivation::StorePath;
use rusqlite::{OptionalExtension, params};

use super::row::{join, words};
use super::{LocalError, Session};
use crate::local::{RealisationKey, StoredRealisation};

/// A row of either table.
struct Known {
    id: i64,
    path: String,
    signatures: BTreeSet<String>,
}

impl Session<'_> {
    pub(in crate::local) fn register_realisation(
        &self,
        realisation: &StoredRealisation,
    ) -> Result<(), LocalError> {
        self.atomically(|| {
            let path = self.path_id(&realisation.path)?;
            let path = path.ok_or_else(|| LocalError::NotValid {
                path: self.render(&realisation.path),
            })?;
            for key in &realisation.keys {
                self.register_under(key, realisation, path)?;
            }
            Ok(())
        })
    }

    pub(in crate::local) fn realisation(
        &self,
        key: &RealisationKey,
        output: &str,
    ) -> Result<Option<StoredRealisation>, LocalError> {
        let Some(known) = self.known(key, output)? else {
            return Ok(None);
        };
        let path = self.parse_path("realisation", output, &known.path)?;
        // The newer table outlives the paths it names.
        if self.path_id(&path)?.is_none() {
            return Ok(None);
        }
        Ok(Some(StoredRealisation {
            keys: BTreeSet::from([key.clone()]),
            output: output.to_owned(),
            path,
            signatures: known.signatures,
        }))
    }

    fn register_under(
        &self,
        key: &RealisationKey,
        realisation: &StoredRealisation,
        path_id: i64,
    ) -> Result<(), LocalError> {
        let output = &realisation.output;
        let new = self.render(&realisation.path);
        match self.known(key, output)? {
            Some(known) if known.path == new => {
                let mut signatures = known.signatures;
                signatures.extend(realisation.signatures.iter().cloned());
                self.update_signatures(key, known.id, &signatures)
            }
            Some(known) => {
                let old = self.parse_path("realisation", output, &known.path)?;
                if self.path_id(&old)?.is_some() {
                    return Err(LocalError::OtherRealisation {
                        output: format!("{}!{output}", self.key_text(key)),
                        known: known.path,
                        new,
                    });
                }
                self.forget(key, known.id)?;
                self.insert_realisation(key, realisation, path_id)
            }
            None => self.insert_realisation(key, realisation, path_id),
        }
    }

    fn known(&self, key: &RealisationKey, output: &str) -> Result<Option<Known>, LocalError> {
        let query = match key {
            RealisationKey::Hash(_) => {
                "select r.id, v.path, r.signatures from Realisations r \
                 join ValidPaths v on v.id = r.outputPath where drvPath = ?1 and outputName = ?2"
            }
            RealisationKey::Path(_) => {
                "select id, outputPath, signatures from BuildTraceV3 \
                 where drvPath = ?1 and outputName = ?2"
            }
        };
        if !self.has_table(key)? {
            return Ok(None);
        }
        let select = || {
            self.prepare_cached(query)?
                .query_row([&*self.key_text(key), output], |row| {
                    let signatures: Option<String> = row.get(2)?;
                    Ok(Known {
                        id: row.get(0)?,
                        path: row.get(1)?,
                        signatures: words(signatures.as_deref()),
                    })
                })
                .optional()
        };
        select().map_err(self.failed("look for a realisation"))
    }

    /// A store of Nix's that we only read may lack the table.
    fn has_table(&self, key: &RealisationKey) -> Result<bool, LocalError> {
        let table = table(key);
        let exists = self.table_exists(None, table);
        exists.map_err(self.failed("look for a table"))
    }

    fn insert_realisation(
        &self,
        key: &RealisationKey,
        realisation: &StoredRealisation,
        path_id: i64,
    ) -> Result<(), LocalError> {
        let (drv, output) = (self.key_text(key), &realisation.output);
        let signatures = join(&realisation.signatures);
        let table = table(key);
        let insert = || {
            let mut statement = self.prepare_cached(&format!(
                "insert into {table} (drvPath, outputName, outputPath, signatures) \
                 values (?1, ?2, ?3, ?4)"
            ))?;
            match key {
                RealisationKey::Hash(_) => {
                    statement.execute(params![drv, output, path_id, signatures])
                }
                RealisationKey::Path(_) => {
                    let path = self.render(&realisation.path);
                    statement.execute(params![drv, output, path, signatures])
                }
            }
        };
        insert().map_err(self.failed("register a realisation"))?;
        Ok(())
    }

    fn update_signatures(
        &self,
        key: &RealisationKey,
        id: i64,
        signatures: &BTreeSet<String>,
    ) -> Result<(), LocalError> {
        let table = table(key);
        let update = || {
            self.prepare_cached(&format!("update {table} set signatures = ?2 where id = ?1"))?
                .execute(params![id, join(signatures)])
        };
        update().map_err(self.failed("sign a realisation"))?;
        Ok(())
    }

    fn forget(&self, key: &RealisationKey, id: i64) -> Result<(), LocalError> {
        let table = table(key);
        let delete = || {
            self.prepare_cached(&format!("delete from {table} where id = ?1"))?
                .execute([id])
        };
        delete().map_err(self.failed("forget a realisation"))?;
        Ok(())
    }

    /// The derivation's name as the tables have it.
    fn key_text(&self, key: &RealisationKey) -> String {
        match key {
            RealisationKey::Hash(hash) => hash.clone(),
            RealisationKey::Path(path) => StorePath::to_basename(path),
        }
    }
}

fn table(key: &RealisationKey) -> &'static str {
    match key {
        RealisationKey::Hash(_) => "Realisations",
        RealisationKey::Path(_) => "BuildTraceV3",
    }
}
