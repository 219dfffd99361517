//! Who and where: `[user@]host[:port]`. What comes out is safe to hand to ssh as
//! arguments: no name that reads as an option, and nothing that a shell in a
//! user's `ProxyCommand %h %r` would act on.

use std::fmt;
use std::net::Ipv6Addr;

use super::UrlError;
use super::query::{decode, encode};

/// A host name or address that can stand as an argument of ssh.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(String);

impl Host {
    /// Takes a name, an IPv4 address, or an IPv6 address without brackets.
    pub fn new(host: &str) -> Result<Self, UrlError> {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if !host.is_empty() && !host.starts_with('-') && host.chars().all(fits) {
            Ok(Self(host.to_owned()))
        } else {
            Err(UrlError::Host { host: host.into() })
        }
    }

    /// The name or address, an IPv6 address without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is exactly `localhost`, which Nix reaches without ssh.
    pub fn is_localhost(&self) -> bool {
        self.0 == "localhost"
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[user@]host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// The user to log in as; ssh's own choice where absent.
    pub user: Option<String>,
    /// The host to connect to, or its alias in the user's ssh configuration.
    pub host: Host,
    /// The port; ssh's own choice where absent.
    pub port: Option<u16>,
}

impl Authority {
    /// Parses the percent-encoded form.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(parse_user(user)?), place),
            None => (None, text),
        };
        let (host, port) = split_port(place)?;
        Ok(Self {
            user,
            host: Host::new(&decode(host)?)?,
            port: port.map(parse_port).transpose()?,
        })
    }
}

/// Splits off the port. An IPv6 address without brackets is taken whole.
fn split_port(place: &str) -> Result<(&str, Option<&str>), UrlError> {
    let bad = || UrlError::Host { host: place.into() };
    if let Some(inner) = place.strip_prefix('[') {
        let (host, after) = inner.split_once(']').ok_or_else(bad)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(bad()),
        };
    }
    match place.split_once(':') {
        None => Ok((place, None)),
        Some((host, port)) if !port.contains(':') => Ok((host, Some(port))),
        Some(_) if place.parse::<Ipv6Addr>().is_ok() => Ok((place, None)),
        Some(_) => Err(bad()),
    }
}

fn parse_port(port: &str) -> Result<u16, UrlError> {
    match port.parse() {
        Ok(number) if number != 0 && port.bytes().all(|c| c.is_ascii_digit()) => Ok(number),
        Ok(_) | Err(_) => Err(UrlError::Port { port: port.into() }),
    }
}

fn parse_user(text: &str) -> Result<String, UrlError> {
    let user = decode(text)?;
    let unsafe_in_shells =
        |c: char| c.is_control() || c.is_whitespace() || "'\"`$\\;&|<>(){}*?!#".contains(c);
    if user.is_empty() || user.starts_with('-') || user.contains(unsafe_in_shells) {
        return Err(UrlError::User { user });
    }
    Ok(user)
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{}@", encode(user))?;
        }
        if self.host.as_str().contains(':') {
            write!(f, "[{}]", encode(self.host.as_str()))?;
        } else {
            f.write_str(&encode(self.host.as_str()))?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
