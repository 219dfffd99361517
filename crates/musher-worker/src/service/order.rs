//! Reads an order as a coordinator sends it. Decides nothing.

use std::time::Duration;

use musher_api::coordinator;
use musher_api::worker as api;
use musher_protocol::types::BuildMode;
use nix_derivation::StoreDir;
use tonic::Status;

use super::build::{Limits, Order};
use super::{broken, parse_path};

/// What `order` says, with paths in `store_dir`.
pub(super) fn read(store_dir: &StoreDir, order: &api::Order) -> Result<Order, Status> {
    let derivation = (order.derivation.as_ref())
        .ok_or_else(|| broken("an order without its derivation"))?
        .to_value(store_dir)
        .map_err(|error| broken(&error.to_string()))?;
    let limits = order.limits.unwrap_or_default();
    let seconds = |count| (count > 0).then(|| Duration::from_secs(count));
    let mode = coordinator::BuildMode::try_from(order.mode);
    Ok(Order {
        drv_path: parse_path(store_dir, &order.drv_path)?,
        derivation,
        mode: BuildMode::from(mode.map_err(|_| broken("an unknown build mode"))?),
        limits: Limits {
            max_silent: seconds(limits.max_silent_seconds),
            timeout: seconds(limits.timeout_seconds),
            max_log: (limits.max_log_bytes > 0).then_some(limits.max_log_bytes),
        },
        cores: order.cores,
        sandbox_paths: order.sandbox_paths.clone(),
        keep_failed: order.keep_failed,
    })
}
