//! Recognises our own lines for Nix's `builders`.

use std::path::Path;

use musher_store::url::SshStore;

/// Whether a machine is one of the lines that `musher setup` writes. A machines
/// file that includes those would make the team a member of itself.
pub(super) fn is_own_entrance(store: &SshStore) -> bool {
    let words = &store.remote_program;
    let is_musher = |word: &String| Path::new(word).file_name().is_some_and(|n| n == "musher");
    store.authority.host.is_localhost()
        && words.first().is_some_and(is_musher)
        && words.iter().any(|word| word == "serve")
}
