//! What builds without a sandbox need of the machine: the store where its paths
//! say, and a way to where they write.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use musher_store::local::LocalStore;

use super::Identities;
use super::room::{RoomError, Rooms};

/// Lets builds by other users than ours into `store` and to their `rooms`, as
/// Nix does for its group of build users: they may make paths, and touch no
/// others'.
pub(super) fn let_builds_in(
    store: &LocalStore,
    rooms: &Rooms,
    identities: Identities,
) -> Result<(), RoomError> {
    let real = store.real_store_dir();
    if real != Path::new(store.store_dir().as_str()) {
        return Err(RoomError::Diverted {
            store: real.to_owned(),
        });
    }
    let Some(group) = identities.group() else {
        return Ok(());
    };
    chown(real, None, Some(group))
        .and_then(|()| set_permissions(real, Permissions::from_mode(0o1775)))
        .map_err(RoomError::io("open to builds", real))?;
    rooms.let_through()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use musher_sandbox::Launcher;
    use musher_store::local::LocalOptions;

    use super::*;
    use crate::executor::{Executor, Sandboxing, Settings};

    #[test]
    fn without_a_sandbox_a_store_must_be_where_its_paths_say() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = LocalStore::open(LocalOptions::below(dir.path().join("store")));
        let store = Arc::new(store.expect("a store"));
        let open = |sandboxing| {
            let mut settings = Settings::new(dir.path().join("builds"), Launcher::this_program());
            settings.sandboxing = sandboxing;
            Executor::open(store.clone(), settings).map(drop)
        };
        let refused = open(Sandboxing::Never);
        assert!(matches!(refused, Err(RoomError::Diverted { .. })));
        open(Sandboxing::Always).expect("an executor");
    }
}
