//! Stores whose files we look after ourselves.

use musher_store::local::{Access, ErrorClass, LocalError, LocalOptions, LocalStore};
use musher_store::own_home;

use crate::context::Context;
use crate::failure::Failure;
use crate::remotes::parse_url;

#[derive(Debug, thiserror::Error)]
enum OnDiskError {
    #[error("the store `{url}` is behind a daemon or on another host, which looks after it itself")]
    NotOurs { url: String },
    #[error("cannot use the store `{url}`")]
    Url {
        url: String,
        source: musher_store::OpenError,
    },
    #[error("cannot {attempt} the store `{url}`")]
    Store {
        attempt: &'static str,
        url: String,
        source: LocalError,
    },
}

/// Opens the store on this disk that `url` means, which must exist already.
pub(super) fn open(context: &Context, url: &str, access: Access) -> Result<LocalStore, Failure> {
    let options = options(context, url)?;
    // A directory that is mistyped shall not become a store.
    let read_only = LocalOptions {
        access: Access::ReadOnly,
        ..options.clone()
    };
    let store = LocalStore::open(read_only).and_then(|store| match access {
        Access::ReadOnly => Ok(store),
        Access::ReadWrite => LocalStore::open(options),
    });
    store.map_err(|source| failure("open", url, source))
}

fn options(context: &Context, url: &str) -> Result<LocalOptions, Failure> {
    let owned = || url.to_owned();
    let own = own_home(&parse_url(url)?, &context.places.state);
    let own = own.map_err(|source| {
        Failure::user(OnDiskError::Url {
            url: owned(),
            source,
        })
    })?;
    own.ok_or_else(|| {
        let help = "name it by its directory, as in `--store /`".to_owned();
        Failure::user(OnDiskError::NotOurs { url: owned() }).help(help)
    })
}

/// What a store on disk did not do.
pub(super) fn failure(attempt: &'static str, url: &str, source: LocalError) -> Failure {
    let is_users = source.class() == ErrorClass::User;
    let help = source.help();
    let url = url.to_owned();
    let error = OnDiskError::Store {
        attempt,
        url,
        source,
    };
    Failure::of(is_users, error).help(help)
}
