//! Stores whose files we look after ourselves.

use std::path::Path;

use musher_store::local::{Access, ErrorClass, LocalError, LocalOptions, LocalStore};
use musher_store::own_home;
use musher_store::url::{DEFAULT_DAEMON_SOCKET, StoreUrl};

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
    let parsed = parse_url(url)?;
    let own = own_home(&parsed, &context.places.state);
    let own = own.map_err(|source| {
        Failure::user(OnDiskError::Url {
            url: owned(),
            source,
        })
    })?;
    own.ok_or_else(|| Failure::user(OnDiskError::NotOurs { url: owned() }).help(advice(&parsed)))
}

/// How that very store is looked after.
fn advice(url: &StoreUrl) -> String {
    let by_nix = "`nix-store --gc` and `nix-store --verify`";
    let params = match url {
        StoreUrl::Ssh(store) => {
            let host = &store.authority.host;
            return format!("run this on `{host}`, on the store's directory, or there {by_nix}");
        }
        StoreUrl::Auto(params) | StoreUrl::Local(params) => Some(params),
        // What lies behind another socket is its daemon's to know.
        StoreUrl::Daemon(daemon) => {
            let is_usual = daemon.socket() == Path::new(DEFAULT_DAEMON_SOCKET);
            (is_usual || daemon.params.root.is_some()).then_some(&daemon.params)
        }
    };
    match params {
        Some(params) => {
            let files = StoreUrl::Local(params.clone());
            format!("{by_nix} ask its daemon; as the owner of its files name them: `{files}`")
        }
        None => format!("{by_nix} ask its daemon; as the owner of its files name their directory"),
    }
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
