//! `musher store add`

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use clap::Args;
use musher_protocol::types::{NarHash, PathInfo};
use musher_store::{NarStream, Store, StoreError, StoreInfo, Substitute, read_nar_file};
use nix_archive::nar::{self, CaseHack, hash_path};
use nix_derivation::{CAHash, NixHash, StoreDir, StorePath};
use serde::Serialize;

use super::StoreAt;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::remotes::{parse_url, store_failure, with_remotes};

/// Add files and directories to a store
///
/// Each is named by its contents, as by `nix-store --add`. The paths are
/// printed.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// What to add
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The name to give it, if it is one [default: the file's]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    at: StoreAt,
}

#[derive(Debug, thiserror::Error)]
enum AddError {
    #[error("`{}` has no name to give it in a store", .file.display())]
    NoName { file: PathBuf },
    #[error("only one file can have the name `{name}`")]
    OneName { name: String },
    #[error("cannot find `{}`", .file.display())]
    Find { file: PathBuf, source: io::Error },
    #[error("cannot read `{}`", .file.display())]
    Read { file: PathBuf, source: nar::Error },
    #[error("cannot add `{}`", .file.display())]
    Name {
        file: PathBuf,
        source: nix_derivation::store_path::Error,
    },
}

/// A path added, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct AddedRecord {
    path: String,
    nar_hash: String,
    nar_size: u64,
}

impl AddArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let url = parse_url(&self.at.store)?;
        if let (Some(name), 2..) = (&self.name, self.files.len()) {
            let name = name.clone();
            return Err(Failure::user(AddError::OneName { name }));
        }
        let infos = with_remotes(context, &self.at.connect, async |remotes| {
            let store = remotes.store(&url)?;
            let source = self.look(store.store_dir()).map_err(Failure::user)?;
            let infos: Vec<PathInfo> = source
                .files
                .values()
                .map(|(info, _)| info.clone())
                .collect();
            let added = store.import(&infos, &source).await;
            added.map_err(|error| store_failure("add to", &url, error))?;
            let in_order = source.order.iter().map(|path| source.files[path].0.clone());
            Ok((store.store_dir().clone(), in_order.collect::<Vec<_>>()))
        })?;
        let (store_dir, infos) = infos;
        let records: Vec<AddedRecord> = infos
            .iter()
            .map(|info| AddedRecord {
                path: store_dir.render_path(&info.path),
                nar_hash: info.nar_hash.to_string(),
                nar_size: info.nar_size,
            })
            .collect();
        if context.ui.json {
            context.ui.json(&records)?;
        } else {
            let lines: String = records
                .iter()
                .map(|added| format!("{}\n", added.path))
                .collect();
            context.ui.text(&lines)?;
        }
        Ok(Outcome::Done)
    }

    fn look(&self, store_dir: &StoreDir) -> Result<Files, AddError> {
        let mut files = Files {
            store_dir: store_dir.clone(),
            order: Vec::new(),
            files: BTreeMap::new(),
        };
        for file in &self.files {
            let info = self.describe(store_dir, file)?;
            files.order.push(info.path.clone());
            files.files.insert(info.path.clone(), (info, file.clone()));
        }
        Ok(files)
    }

    fn describe(&self, store_dir: &StoreDir, file: &Path) -> Result<PathInfo, AddError> {
        let owned = || file.to_owned();
        let full = || -> io::Result<PathBuf> {
            // `.` has a name too; a link is added as one.
            match fs::symlink_metadata(file)?.is_symlink() {
                true => std::path::absolute(file),
                false => fs::canonicalize(file),
            }
        };
        let full = full().map_err(|source| AddError::Find {
            file: owned(),
            source,
        })?;
        let name = match &self.name {
            Some(name) => name.as_str(),
            None => {
                let name = full.file_name().and_then(|name| name.to_str());
                name.ok_or_else(|| AddError::NoName { file: owned() })?
            }
        };
        let hash = hash_path(file, CaseHack::native()).map_err(|source| AddError::Read {
            file: owned(),
            source,
        })?;
        let ca = CAHash::Nar(NixHash::Sha256(hash.sha256));
        let path = store_dir.build_ca_path(name, &ca, [], false);
        let path = path.map_err(|source| AddError::Name {
            file: owned(),
            source,
        })?;
        Ok(PathInfo {
            path,
            deriver: None,
            nar_hash: NarHash(hash.sha256),
            nar_size: hash.size,
            references: BTreeSet::new(),
            registration_time: 0,
            ultimate: false,
            signatures: BTreeSet::new(),
            ca: Some(ca),
        })
    }
}

/// Files that lie anywhere, as a store to import from.
struct Files {
    store_dir: StoreDir,
    order: Vec<StorePath>,
    files: BTreeMap<StorePath, (PathInfo, PathBuf)>,
}

#[async_trait]
impl Store for Files {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    async fn ping(&self) -> Result<StoreInfo, StoreError> {
        Err(StoreError::Unsupported {
            what: "asking who it is",
        })
    }

    async fn valid_paths(
        &self,
        paths: &BTreeSet<StorePath>,
        _substitute: Substitute,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        let known = paths.iter().filter(|path| self.files.contains_key(path));
        Ok(known.cloned().collect())
    }

    async fn path_infos(&self, paths: &[StorePath]) -> Result<Vec<PathInfo>, StoreError> {
        let infos = paths.iter().filter_map(|path| self.files.get(path));
        Ok(infos.map(|(info, _)| info.clone()).collect())
    }

    async fn read_nar(&self, path: &StorePath) -> Result<NarStream, StoreError> {
        match self.files.get(path) {
            Some((_, file)) => Ok(read_nar_file(file.clone())),
            None => Err(StoreError::Invalid {
                path: self.store_dir.render_path(path),
            }),
        }
    }

    async fn import(&self, _infos: &[PathInfo], _source: &dyn Store) -> Result<(), StoreError> {
        Err(StoreError::Unsupported {
            what: "adding paths",
        })
    }
}
