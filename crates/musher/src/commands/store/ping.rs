//! `musher store ping`

use clap::Args;
use musher_protocol::worker::Trust;
use musher_store::StoreInfo;
use musher_store::url::StoreUrl;
use serde::Serialize;

use super::StoreAt;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::remotes::{parse_url, ping, place, store_failure, with_remotes};
use crate::ui::{Fields, quantity};

/// Ask a store whether it answers, and who it is
#[derive(Debug, Args)]
pub(crate) struct PingArgs {
    #[command(flatten)]
    at: StoreAt,
}

/// What a store said, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PingRecord {
    /// The URL as it was given.
    store: String,
    /// Null where the store does not say.
    nix_version: Option<String>,
    protocol: String,
    /// Null where the store cannot say.
    trusted: Option<bool>,
    round_trip_ms: f64,
}

impl PingArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let url = parse_url(&self.at.store)?;
        let info = with_remotes(context, &self.at.connect, async |remotes| {
            let pinged = ping(&*remotes.store(&url)?).await;
            pinged.map_err(|error| store_failure("reach", &url, error))
        })?;
        let record = PingRecord::new(self.at.store, &info);
        if context.ui.json {
            context.ui.json(&record)?;
        } else {
            let mut fields = Fields::default();
            record.describe(&url, &info, &mut fields);
            context.ui.text(&fields.render())?;
        }
        Ok(Outcome::Done)
    }
}

impl PingRecord {
    pub(super) fn new(store: String, info: &StoreInfo) -> Self {
        Self {
            store,
            nix_version: info.nix_version.clone(),
            protocol: info.protocol.clone(),
            trusted: info.trust.map(|trust| trust == Trust::Trusted),
            round_trip_ms: info.round_trip.as_secs_f64() * 1e3,
        }
    }

    pub(super) fn describe(&self, url: &StoreUrl, info: &StoreInfo, fields: &mut Fields) {
        // Only that protocol and very old daemons leave anything out.
        let unsaid = match self.protocol.starts_with("serve") {
            true => "unknown (the serve protocol does not say)",
            false => "unknown (it does not say)",
        };
        fields.add("store", place(url));
        fields.add("nix version", self.nix_version.as_deref().unwrap_or(unsaid));
        fields.add("protocol", &self.protocol);
        fields.add(
            "trusted",
            match info.trust {
                Some(Trust::Trusted) => "yes",
                Some(Trust::NotTrusted) => "no",
                None => unsaid,
            },
        );
        fields.add("round trip", quantity::duration(info.round_trip));
    }
}
