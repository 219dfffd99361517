//! The settings of `musher.toml`: everything above its machines.

use std::str::FromStr as _;
use std::time::Duration;

use musher_store::local::TrustedPublicKey;
use musher_store::url::{LocalParams, StoreUrl};
use toml::de::DeValue;

use super::error::{ConfigError, Problem};
use super::machine::Machine;
use super::quantity::{self, DURATION, SIZE};
use super::sandbox_path::{SANDBOX_PATH, SandboxPath};
use super::section::{Keys, Section, integer_value};
use super::trusted_keys;

/// What a user may set; see each field for what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `max-silent-time`: a build that prints nothing for this long is
    /// stopped. None (`0`, the default): never.
    pub max_silent_time: Option<Duration>,
    /// `timeout`: a build that runs for this long is stopped. None (`0`, the
    /// default): never.
    pub timeout: Option<Duration>,
    /// `max-log-size`: a build whose log grows beyond this many bytes is
    /// stopped; Nix's `max-build-log-size`. None (`0`, the default): never.
    pub max_log_size: Option<u64>,
    /// `connect-timeout`: how long reaching a machine may take before it
    /// counts as away. Default 10 s.
    pub connect_timeout: Duration,
    /// `keepalive-interval`: how often ssh asks a silent machine for a sign
    /// of life. Default 2 s.
    pub keepalive_interval: Duration,
    /// `builders-use-substitutes`: whether machines may fetch inputs from
    /// their own substituters instead of from us. Default true.
    pub builders_use_substitutes: bool,
    /// `build-ahead`: whether what a client of this host is going to ask for next
    /// is built before it does. Default true.
    pub build_ahead: bool,
    /// `home-store`: the store that results are imported into, as a Nix
    /// store URL. Default `auto`, this machine's own through its nix-daemon, and
    /// where no Nix is installed one of Musher's own in the state directory.
    pub home_store: StoreUrl,
    /// `store-socket`: whether stock clients of this host may have the home store
    /// as their own, through `nix.sock` in the run directory. Default true.
    pub store_socket: bool,
    /// `max-attempts`: how often a build is tried while machines (not the
    /// build itself) fail. Default 5.
    pub max_attempts: u32,
    /// `sandbox-paths`: what builds on machines of kind `musher` see besides
    /// their inputs. Default none. Stock Nix has a setting of its own.
    pub sandbox_paths: Vec<SandboxPath>,
    /// `trusted-public-keys`: where the home store is Musher's own, clients that
    /// are not trusted may add what one of these keys has signed. Default
    /// Nix's own, of its public cache.
    pub trusted_public_keys: Vec<TrustedPublicKey>,
    /// `max-store-size`: the most bytes that the store of a worker of ours
    /// holds before it collects garbage. None (`0`, the default): no limit.
    pub max_store_size: Option<u64>,
    /// `min-free`: the fewest bytes that are free on its disk before it does.
    /// None (`0`): no limit. Default 1 GiB.
    pub min_free: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_silent_time: None,
            timeout: None,
            max_log_size: None,
            connect_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(2),
            builders_use_substitutes: true,
            build_ahead: true,
            home_store: StoreUrl::Auto(LocalParams::default()),
            store_socket: true,
            max_attempts: 5,
            sandbox_paths: Vec::new(),
            trusted_public_keys: trusted_keys::default(),
            max_store_size: None,
            min_free: Some(1 << 30),
        }
    }
}

pub(super) const KNOWN: &[&str] = &[
    "max-silent-time",
    "timeout",
    "max-log-size",
    "connect-timeout",
    "keepalive-interval",
    "builders-use-substitutes",
    "build-ahead",
    "home-store",
    "store-socket",
    "max-attempts",
    "sandbox-paths",
    "trusted-public-keys",
    "max-store-size",
    "min-free",
    "machine",
];

pub(super) const KEYS: Keys = Keys {
    section: "settings",
    known: KNOWN,
    elsewhere: &[(
        super::machine_table::KNOWN,
        "belongs to one machine: put it below a `[[machine]]`",
    )],
};

const NOT_ZERO: &str = "at least one second";

impl Settings {
    /// What builds on `machine` see besides their inputs, or on one that is not
    /// configured yet.
    pub fn sandbox_paths(&self, machine: Option<&Machine>) -> Vec<String> {
        let own = machine.and_then(|machine| machine.sandbox_paths.as_ref());
        let paths = own.unwrap_or(&self.sandbox_paths).iter();
        paths.map(SandboxPath::to_string).collect()
    }

    pub(super) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        Ok(Self {
            max_silent_time: limit(section, "max-silent-time")?,
            timeout: limit(section, "timeout")?,
            max_log_size: bytes(section, "max-log-size", None)?,
            connect_timeout: interval(section, "connect-timeout")?
                .unwrap_or(default.connect_timeout),
            keepalive_interval: interval(section, "keepalive-interval")?
                .unwrap_or(default.keepalive_interval),
            builders_use_substitutes: section
                .boolean("builders-use-substitutes")?
                .unwrap_or(default.builders_use_substitutes),
            build_ahead: section
                .boolean("build-ahead")?
                .unwrap_or(default.build_ahead),
            home_store: home_store(section)?.unwrap_or(default.home_store),
            store_socket: section
                .boolean("store-socket")?
                .unwrap_or(default.store_socket),
            max_attempts: section
                .count("max-attempts", 1, "a whole number from 1 up")?
                .unwrap_or(default.max_attempts),
            sandbox_paths: sandbox_paths(section)?.unwrap_or(default.sandbox_paths),
            trusted_public_keys: trusted_keys::read(section)?
                .unwrap_or(default.trusted_public_keys),
            max_store_size: bytes(section, "max-store-size", default.max_store_size)?,
            min_free: bytes(section, "min-free", default.min_free)?,
        })
    }
}

/// `sandbox-paths`, of the settings or of a machine.
pub(super) fn sandbox_paths(
    section: &Section<'_>,
) -> Result<Option<Vec<SandboxPath>>, ConfigError> {
    const KEY: &str = "sandbox-paths";
    let Some(entries) = section.strings(KEY)? else {
        return Ok(None);
    };
    let paths = entries.into_iter().map(|entry| {
        SandboxPath::parse(entry.value)
            .ok_or_else(|| entry.bad_value(KEY, entry.value, SANDBOX_PATH))
    });
    paths.collect::<Result<_, _>>().map(Some)
}

fn home_store(section: &Section<'_>) -> Result<Option<StoreUrl>, ConfigError> {
    let Some(found) = section.string("home-store")? else {
        return Ok(None);
    };
    match StoreUrl::from_str(found.value) {
        Ok(url) => Ok(Some(url)),
        Err(source) => Err(found.problem(Problem::BadUrl {
            url: found.value.to_owned(),
            source,
        })),
    }
}

/// A duration of which zero means no limit.
fn limit(section: &Section<'_>, key: &'static str) -> Result<Option<Duration>, ConfigError> {
    Ok(duration(section, key)?.filter(|limit| !limit.is_zero()))
}

/// A duration that cannot be zero.
fn interval(section: &Section<'_>, key: &'static str) -> Result<Option<Duration>, ConfigError> {
    match (duration(section, key)?, section.value(key)) {
        (Some(Duration::ZERO), Some(found)) => Err(found.bad_value(key, "0", NOT_ZERO)),
        (interval, _) => Ok(interval),
    }
}

fn duration(section: &Section<'_>, key: &'static str) -> Result<Option<Duration>, ConfigError> {
    let seconds = |n: i64| u64::try_from(n).ok().map(Duration::from_secs);
    quantity(section, key, DURATION, seconds, quantity::duration)
}

/// A size of which zero means no limit.
fn bytes(
    section: &Section<'_>,
    key: &'static str,
    default: Option<u64>,
) -> Result<Option<u64>, ConfigError> {
    Ok(match size(section, key)? {
        Some(size) => (size > 0).then_some(size),
        None => default,
    })
}

fn size(section: &Section<'_>, key: &'static str) -> Result<Option<u64>, ConfigError> {
    let bytes = |n: i64| u64::try_from(n).ok();
    quantity(section, key, SIZE, bytes, quantity::size)
}

/// A quantity given as an integer in its base unit or as text with a unit.
fn quantity<T>(
    section: &Section<'_>,
    key: &'static str,
    expected: &'static str,
    from_integer: impl Fn(i64) -> Option<T>,
    from_text: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ConfigError> {
    let Some(found) = section.value(key) else {
        return Ok(None);
    };
    let (parsed, written) = match found.value {
        DeValue::Integer(integer) => (
            integer_value(integer).and_then(from_integer),
            integer.as_str(),
        ),
        DeValue::String(text) => (from_text(text), text.as_ref()),
        DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => return Err(found.wrong_type(key, expected)),
    };
    match parsed {
        Some(value) => Ok(Some(value)),
        None => Err(found.bad_value(key, written, expected)),
    }
}
