//! `Foresee`: what a client is going to have built.

use std::collections::BTreeSet;

use musher_api::coordinator as api;
use tonic::Status;

use super::Service;
use crate::request::{ClientProcess, Intended};

/// Takes note of what `request` says.
pub(super) fn foresee(service: &Service, request: &api::ForeseeRequest) -> Result<(), Status> {
    let client = request.client.as_ref();
    let client = client.ok_or_else(|| Status::invalid_argument("no `client`"))?;
    let Some(foresight) = &service.foresight else {
        return Ok(());
    };
    // What is no path of the store is nothing that could be built.
    let parse = |path: &String| service.store_dir.parse_path(path.as_bytes()).ok();
    let intended = request.derivations.iter().filter_map(|derivation| {
        let outputs: BTreeSet<_> = derivation.outputs.iter().filter_map(parse).collect();
        let drv = parse(&derivation.drv_path)?;
        Some(Intended { drv, outputs })
    });
    let read = request.read.map(|read| (read.length, read.resume));
    foresight.told(ClientProcess::of(client), intended.collect(), read);
    Ok(())
}
