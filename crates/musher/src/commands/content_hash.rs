//! `musher content-hash`

use std::io;

use clap::Args;
use musher_coordinator::enrol::ContentHash;

use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;

/// Print the SHA-256 of standard input
///
/// What a machine without a tool for that checks its copy of musher with.
#[derive(Debug, Args)]
pub(crate) struct ContentHashArgs {}

#[derive(Debug, thiserror::Error)]
#[error("cannot read standard input")]
struct InputError {
    source: io::Error,
}

impl ContentHashArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let Self {} = self;
        let hash = ContentHash::read(&mut io::stdin().lock());
        let hash = hash.map_err(|source| Failure::environment(InputError { source }))?;
        context.ui.text(&format!("{hash}\n"))?;
        Ok(Outcome::Done)
    }
}
