//! What can be wrong with a store URL.

use super::HostKeyError;

/// A store URL that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing was written at all.
    #[error("the store URL is empty")]
    Empty,
    /// A scheme that names no store we speak to.
    #[error("unknown kind of store `{scheme}://`")]
    Scheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// A path that does not begin with `/`.
    #[error("`{path}` is not an absolute path")]
    RelativePath {
        /// The path as written.
        path: String,
    },
    /// A path and a `root=` parameter.
    #[error("the store's root is given twice, as the path and as `root`")]
    TwoRoots,
    /// `%` without two hexadecimal digits, or bytes that are no text.
    #[error("`{text}` is not valid percent-encoding")]
    Percent {
        /// The part that cannot be decoded.
        text: String,
    },
    /// A parameter occurs twice.
    #[error("parameter `{name}` is given twice")]
    Repeated {
        /// The parameter's name.
        name: String,
    },
    /// A parameter that this kind of store does not take.
    #[error("unknown parameter `{name}` for a store of kind `{kind}`")]
    UnknownParameter {
        /// The parameter's name.
        name: String,
        /// The kind of store.
        kind: &'static str,
        /// The names that this kind takes.
        known: &'static [&'static str],
    },
    /// A parameter whose value cannot be read.
    #[error("parameter `{name}` is `{value}`, expected {expected}")]
    Value {
        /// The parameter's name.
        name: &'static str,
        /// The value as written, decoded.
        value: String,
        /// What would have been a value.
        expected: &'static str,
    },
    /// `base64-ssh-public-host-key` that is no key.
    #[error("parameter `base64-ssh-public-host-key` cannot be read")]
    HostKey {
        /// What is wrong with it.
        #[source]
        source: HostKeyError,
    },
    /// A host name that is missing or not safe to give to ssh.
    #[error("`{host}` is not a host name")]
    Host {
        /// The host as written.
        host: String,
    },
    /// A user name that is not safe to give to ssh.
    #[error("`{user}` is not a user name")]
    User {
        /// The user as written.
        user: String,
    },
    /// A port that is not a number from 1 to 65535.
    #[error("`{port}` is not a port")]
    Port {
        /// The port as written.
        port: String,
    },
    /// A path behind the host, which has no meaning.
    #[error("an ssh store takes no path, found `{path}` after the host")]
    HostPath {
        /// The path as written.
        path: String,
    },
}

impl UrlError {
    pub(super) fn value(name: &'static str, value: &str, expected: &'static str) -> Self {
        Self::Value {
            name,
            value: value.into(),
            expected,
        }
    }

    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Scheme { .. } => Some(
                "stores are `ssh-ng://HOST`, `ssh://HOST`, `unix:///SOCKET`, `daemon`, \
                 `auto`, `local` or an absolute path"
                    .into(),
            ),
            Self::UnknownParameter { name, known, .. } => Some(match nearest(name, known) {
                Some(near) => format!("did you mean `{near}`? known: {}", known.join(", ")),
                None => format!("known: {}", known.join(", ")),
            }),
            Self::Host { .. } | Self::User { .. } => {
                Some("names begin with a letter or digit and hold nothing a shell reads".into())
            }
            Self::HostPath { .. } => {
                Some("a store's root on the other host is given by `remote-store`".into())
            }
            Self::HostKey { source } => Some(source.help()),
            Self::RelativePath { .. } => Some("write the path in full, from `/` on".into()),
            Self::Percent { .. } => Some("a literal `%` is written `%25`".into()),
            Self::Empty
            | Self::TwoRoots
            | Self::Repeated { .. }
            | Self::Value { .. }
            | Self::Port { .. } => None,
        }
    }
}

/// The known name that is most like `name`, where one is close enough to be
/// what was meant.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let distance = |other: &&str| strsim::damerau_levenshtein(name, other);
    let best = known.iter().copied().min_by_key(distance)?;
    (distance(&best) <= best.len().div_ceil(3)).then_some(best)
}
