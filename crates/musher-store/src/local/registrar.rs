//! Makes paths valid whose files are in place. Shared with the threads that do
//! so in time.

use std::sync::Arc;

use musher_protocol::types::PathInfo;

use super::database::Database;
use super::layout::Layout;
use super::{Durability, LocalError};

/// What registering needs of a store.
pub(super) struct Registrar {
    pub(super) database: Arc<Database>,
    pub(super) layout: Layout,
    pub(super) durability: Durability,
}

impl Registrar {
    /// Registers `infos` in one transaction, after their files are on disk where
    /// that is asked for.
    pub(super) fn register(&self, infos: &[PathInfo]) -> Result<(), LocalError> {
        match self.durability {
            Durability::Metadata => {}
            Durability::Paths => self.layout.sync()?,
        }
        self.database.session()?.register(infos, &self.layout)
    }
}
