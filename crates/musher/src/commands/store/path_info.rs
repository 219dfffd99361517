//! `musher store path-info`

use std::collections::BTreeMap;

use clap::Args;
use musher_protocol::types::PathInfo;
use musher_store::url::StoreUrl;
use nix_derivation::{CAHash, StoreDir, StorePath};
use serde::Serialize;

use super::StoreAt;
use super::paths::parse_paths;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::remotes::{Remotes, parse_url, place, store_failure, with_remotes};
use crate::ui::{Fields, quantity};

/// Show what a store knows of paths
///
/// The exit code is 1 if one of them is not valid there.
#[derive(Debug, Args)]
pub(crate) struct PathInfoArgs {
    /// The paths, something inside of them, or links to them
    #[arg(required = true)]
    paths: Vec<String>,
    #[command(flatten)]
    at: StoreAt,
}

/// A path in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PathRecord {
    path: String,
    valid: bool,
    /// What is known of it, if it is valid.
    #[serde(flatten)]
    info: Option<InfoRecord>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct InfoRecord {
    /// `sha256:` and the digest in Nix's base 32.
    nar_hash: String,
    /// In bytes.
    nar_size: u64,
    references: Vec<String>,
    deriver: Option<String>,
    signatures: Vec<String>,
    ca: Option<String>,
    /// In seconds since 1970; null where the store does not say.
    registration_time: Option<u64>,
    /// Whether the store built it itself.
    ultimate: bool,
}

impl PathInfoArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let url = parse_url(&self.at.store)?;
        let records = with_remotes(context, &self.at.connect, async |remotes| {
            self.ask(remotes, &url).await
        })?;
        if context.ui.json {
            context.ui.json(&records)?;
        } else {
            let text: String = records.iter().map(PathRecord::text).collect();
            context.ui.text(&text)?;
        }
        let invalid: Vec<_> = records.iter().filter(|record| !record.valid).collect();
        for record in &invalid {
            let path = &record.path;
            context
                .ui
                .note(&format!("`{path}` is not valid in `{}`", place(&url)));
        }
        Ok(Outcome::of(invalid.is_empty()))
    }

    async fn ask(&self, remotes: &Remotes, url: &StoreUrl) -> Result<Vec<PathRecord>, Failure> {
        let store = remotes.store(url)?;
        let store_dir = store.store_dir();
        let real_dir = remotes.own(url)?.map(|own| own.real_store_dir());
        let paths = parse_paths(store_dir, real_dir.as_deref(), &self.paths)?;
        let infos = store.path_infos(&paths).await;
        let infos = infos.map_err(|error| store_failure("ask", url, error))?;
        let mut infos: BTreeMap<StorePath, PathInfo> = infos
            .into_iter()
            .map(|info| (info.path.clone(), info))
            .collect();
        let record = |path: &StorePath| PathRecord {
            path: store_dir.render_path(path),
            valid: infos.contains_key(path),
            info: infos
                .remove(path)
                .map(|info| InfoRecord::new(store_dir, &info)),
        };
        Ok(paths.iter().map(record).collect())
    }
}

impl InfoRecord {
    fn new(store_dir: &StoreDir, info: &PathInfo) -> Self {
        let render = |path: &StorePath| store_dir.render_path(path);
        Self {
            nar_hash: info.nar_hash.to_string(),
            nar_size: info.nar_size,
            references: info.references.iter().map(render).collect(),
            deriver: info.deriver.as_ref().map(render),
            signatures: info.signatures.iter().cloned().collect(),
            ca: info.ca.as_ref().map(CAHash::to_nix_string),
            registration_time: Some(info.registration_time).filter(|time| *time > 0),
            ultimate: info.ultimate,
        }
    }
}

impl PathRecord {
    fn text(&self) -> String {
        let Some(info) = &self.info else {
            return String::new();
        };
        let lines = |list: &[String]| (!list.is_empty()).then(|| list.join("\n"));
        let mut fields = Fields::indented(2);
        fields.add("hash", &info.nar_hash);
        fields.add(
            "size",
            match info.nar_size {
                size @ 0..1024 => quantity::size(size),
                size => format!("{size} B ({})", quantity::size(size)),
            },
        );
        fields.add_some("references", lines(&info.references));
        fields.add_some("deriver", info.deriver.as_deref());
        fields.add_some("signatures", lines(&info.signatures));
        fields.add_some("ca", info.ca.as_deref());
        format!("{}\n{}", self.path, fields.render())
    }
}
