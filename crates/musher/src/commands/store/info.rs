//! `musher store info`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use musher_store::url::{LocalParams, SshProtocol, SshStore, StoreUrl};
use serde::Serialize;

use super::StoreAt;
use super::ping::PingRecord;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::remotes::{parse_url, ping, store_failure, with_remotes};
use crate::ui::{Fields, quantity};

/// Show what a store's URL means, and what the store says of itself
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    at: StoreAt,
}

/// A store, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct InfoRecord {
    #[serde(flatten)]
    ping: PingRecord,
    store_dir: String,
    /// From nothing to the first answer.
    connect_ms: f64,
    connect_timeout_s: u64,
    #[serde(flatten)]
    way: Way,
}

/// How a store is reached.
#[derive(Debug, Serialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    tag = "kind"
)]
enum Way {
    /// A program on another host.
    Ssh {
        protocol_asked: &'static str,
        user: Option<String>,
        host: String,
        port: Option<u16>,
        ssh_key: Option<PathBuf>,
        /// Whether the URL has the host's key; otherwise known_hosts does.
        has_host_key: bool,
        compress: bool,
        max_connections: Option<u32>,
        /// What is started there.
        command: Vec<String>,
        system_features: Vec<String>,
    },
    /// A daemon on this host.
    Daemon {
        socket: PathBuf,
        root: Option<PathBuf>,
        system_features: Vec<String>,
    },
    /// The daemon if one listens, otherwise one that is started.
    Auto {
        root: Option<PathBuf>,
        system_features: Vec<String>,
    },
    /// Its files on this host's disk.
    Local {
        root: Option<PathBuf>,
        system_features: Vec<String>,
    },
}

impl InfoArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let url = parse_url(&self.at.store)?;
        with_remotes(context, &self.at.connect, async |remotes| {
            let store = remotes.store(&url)?;
            let failed = |error| store_failure("reach", &url, error);
            let started = Instant::now();
            store.ping().await.map_err(failed)?;
            let connect = started.elapsed();
            let info = ping(&*store).await.map_err(failed)?;
            let record = InfoRecord {
                ping: PingRecord::new(self.at.store, &info),
                store_dir: store.store_dir().to_string(),
                connect_ms: connect.as_secs_f64() * 1e3,
                connect_timeout_s: remotes.connect_timeout().as_secs(),
                way: match (&url, remotes.own(&url)?) {
                    (StoreUrl::Auto(params), Some(own)) => Way::Local {
                        root: own.root,
                        system_features: params.system_features.clone(),
                    },
                    _ => Way::from(&url),
                },
            };
            if context.ui.json {
                context.ui.json(&record)?;
            } else {
                let mut fields = Fields::default();
                record.ping.describe(&url, &info, &mut fields);
                record.describe(connect, &mut fields);
                context.ui.text(&fields.render())?;
            }
            Ok(Outcome::Done)
        })
    }
}

impl InfoRecord {
    fn describe(&self, connect: Duration, fields: &mut Fields) {
        fields.add("connecting", quantity::duration(connect));
        fields.add("at most", format!("{} s", self.connect_timeout_s));
        fields.add("store directory", &self.store_dir);
        self.way.describe(fields);
    }
}

impl From<&StoreUrl> for Way {
    fn from(url: &StoreUrl) -> Self {
        let rest = |params: &LocalParams| (params.root.clone(), params.system_features.clone());
        match url {
            StoreUrl::Ssh(store) => Self::ssh(store),
            StoreUrl::Daemon(daemon) => {
                let (root, system_features) = rest(&daemon.params);
                Self::Daemon {
                    socket: daemon.socket(),
                    root,
                    system_features,
                }
            }
            StoreUrl::Auto(params) => {
                let (root, system_features) = rest(params);
                Self::Auto {
                    root,
                    system_features,
                }
            }
            StoreUrl::Local(params) => {
                let (root, system_features) = rest(params);
                Self::Local {
                    root,
                    system_features,
                }
            }
        }
    }
}

impl Way {
    fn ssh(store: &SshStore) -> Self {
        Self::Ssh {
            protocol_asked: match store.protocol {
                SshProtocol::Worker => "worker",
                SshProtocol::Serve => "serve",
            },
            user: store.authority.user.clone(),
            host: store.authority.host.to_string(),
            port: store.authority.port,
            ssh_key: store.key.clone(),
            has_host_key: store.host_key.is_some(),
            compress: store.compress,
            max_connections: store.max_connections.map(u32::from),
            command: store.remote_command(),
            system_features: store.system_features.clone(),
        }
    }

    fn describe(&self, fields: &mut Fields) {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let yes_no = |yes| if yes { "yes" } else { "no" };
        let (way, features) = match self {
            Self::Ssh {
                system_features, ..
            } => ("a program on another host, by ssh", system_features),
            Self::Daemon {
                system_features, ..
            } => ("a daemon on this host", system_features),
            Self::Auto {
                system_features, ..
            } => (
                "this host's daemon, or one started for this",
                system_features,
            ),
            Self::Local {
                system_features, ..
            } => ("its files on this disk", system_features),
        };
        fields.add("reached by", way);
        match self {
            Self::Ssh {
                user,
                host,
                port,
                ssh_key,
                has_host_key,
                compress,
                max_connections,
                command,
                ..
            } => {
                fields.add_some("user", user.as_deref());
                fields.add("host", host);
                fields.add_some("port", port.map(|port| port.to_string()));
                fields.add_some("ssh key", path(ssh_key));
                fields.add(
                    "host key",
                    match has_host_key {
                        true => "of the URL",
                        false => "of known_hosts",
                    },
                );
                fields.add("compress", yes_no(*compress));
                fields.add_some("max connections", max_connections.map(|n| n.to_string()));
                fields.add("command", command.join(" "));
            }
            Self::Daemon { socket, root, .. } => {
                fields.add("socket", socket.display().to_string());
                fields.add_some("root", path(root));
            }
            Self::Auto { root, .. } | Self::Local { root, .. } => {
                fields.add_some("root", path(root));
            }
        }
        if !features.is_empty() {
            fields.add("system features", features.join(" "));
        }
    }
}
