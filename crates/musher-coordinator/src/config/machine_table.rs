//! The `[[machine]]` tables of `musher.toml`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr as _;

use musher_scheduler::SpeedFactor;
use musher_store::url::{HostKey, SshStore, StoreUrl};
use toml::de::DeValue;

use super::error::{ConfigError, Problem};
use super::machine::{Connect, Machine, MachineKind};
use super::machine_name::{MACHINE_NAME, MachineName};
use super::own_entrance::is_own_entrance;
use super::section::{Found, Keys, Section, integer_value};
use super::settings;

pub(super) const KNOWN: &[&str] = &[
    "name",
    "connect",
    "kind",
    "systems",
    "max-jobs",
    "speed-factor",
    "supported-features",
    "mandatory-features",
    "ssh-key",
    "public-host-key",
    "remote-program",
    "sandbox-paths",
];

pub(super) const KEYS: Keys = Keys {
    section: "machine",
    known: KNOWN,
    elsewhere: &[(
        settings::KNOWN,
        "is a setting: put it above the first `[[machine]]`",
    )],
};

const SPEED: &str = "a number from 0 up";
const CONNECT: &str = "`ssh://HOST`, `ssh-ng://HOST`, `local` or { exec = [...] }";

impl Machine {
    /// Reads one table. `default_system` is what a machine builds for when it
    /// does not say.
    pub(super) fn read(section: &Section<'_>, default_system: &str) -> Result<Self, ConfigError> {
        let mut connect = connect(section)?;
        read_ssh_keys(section, &mut connect)?;
        let name = section.required("name")?.string("name")?;
        Ok(Self {
            name: MachineName::parse(name.value)
                .ok_or_else(|| name.bad_value("name", name.value, MACHINE_NAME))?,
            kind: kind(section, &connect)?,
            connect,
            systems: match word_set(section, "systems")? {
                Some(systems) => systems,
                None => BTreeSet::from([default_system.to_owned()]),
            },
            max_jobs: section.count("max-jobs", 0, "a whole number")?.unwrap_or(1),
            speed_factor: speed_factor(section)?.unwrap_or(SpeedFactor::ONE),
            supported_features: word_set(section, "supported-features")?.unwrap_or_default(),
            mandatory_features: word_set(section, "mandatory-features")?.unwrap_or_default(),
            sandbox_paths: settings::sandbox_paths(section)?,
            origin: section.position(),
        })
    }
}

fn connect(section: &Section<'_>) -> Result<Connect, ConfigError> {
    const KEY: &str = "connect";
    let found = section.required(KEY)?;
    match found.value {
        DeValue::String(text) if text == "local" => Ok(Connect::Local),
        DeValue::String(text) => match StoreUrl::from_str(text) {
            Ok(url) if !text.contains("://") || !matches!(url, StoreUrl::Ssh(_)) => {
                Err(found.bad_value(KEY, text, CONNECT))
            }
            Ok(StoreUrl::Ssh(store)) if is_own_entrance(&store) => {
                Err(found.problem(Problem::OwnEntrance {
                    url: text.to_string(),
                }))
            }
            Ok(url) => Ok(Connect::Store(url)),
            Err(source) => Err(found.problem(Problem::BadUrl {
                url: text.to_string(),
                source,
            })),
        },
        DeValue::Table(table) => match table.iter().next() {
            Some((key, words)) if table.len() == 1 && key.get_ref() == "exec" => {
                exec(&found, words.get_ref())
            }
            _ => Err(found.wrong_type(KEY, CONNECT)),
        },
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_) => Err(found.wrong_type(KEY, CONNECT)),
    }
}

fn exec<'a>(
    found: &Found<'a, &'a DeValue<'a>>,
    words: &'a DeValue<'a>,
) -> Result<Connect, ConfigError> {
    let words = found.within(words).strings("exec")?;
    match words.first() {
        Some(program) if !program.value.is_empty() => Ok(Connect::Exec(
            words.iter().map(|word| word.value.to_owned()).collect(),
        )),
        _ => Err(found.bad_value("connect", "exec", "a program and its arguments")),
    }
}

fn kind(section: &Section<'_>, connect: &Connect) -> Result<MachineKind, ConfigError> {
    let only_nix = connect.is_worker_protocol();
    let Some(found) = section.string("kind")? else {
        return Ok(if only_nix {
            MachineKind::Nix
        } else {
            MachineKind::Musher
        });
    };
    match found.value {
        "nix" => Ok(MachineKind::Nix),
        "musher" if only_nix => Err(found.problem(Problem::KindMismatch)),
        "musher" => Ok(MachineKind::Musher),
        other => Err(found.bad_value("kind", other, "`musher` or `nix`")),
    }
}

fn speed_factor(section: &Section<'_>) -> Result<Option<SpeedFactor>, ConfigError> {
    const KEY: &str = "speed-factor";
    let Some(found) = section.value(KEY) else {
        return Ok(None);
    };
    let (parsed, written) = match found.value {
        DeValue::Float(float) => (float.as_str().parse().ok(), float.as_str()),
        DeValue::Integer(integer) => (
            integer_value(integer)
                .and_then(|n| u32::try_from(n).ok())
                .map(f64::from),
            integer.as_str(),
        ),
        DeValue::String(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => return Err(found.wrong_type(KEY, "a number")),
    };
    match parsed.and_then(checked_speed) {
        Some(speed) => Ok(Some(speed)),
        None => Err(found.bad_value(KEY, written, SPEED)),
    }
}

/// A speed factor as Nix reads it: 0 means 1, and a negative one is none.
pub(super) fn checked_speed(speed: f64) -> Option<SpeedFactor> {
    if speed == 0.0 {
        Some(SpeedFactor::ONE)
    } else {
        SpeedFactor::new(speed).ok()
    }
}

/// A list of systems or features. Nix writes them with spaces and commas in
/// between, so that neither can be part of one.
fn word_set(
    section: &Section<'_>,
    key: &'static str,
) -> Result<Option<BTreeSet<String>>, ConfigError> {
    let Some(words) = section.strings(key)? else {
        return Ok(None);
    };
    let checked = words.into_iter().map(|word| {
        let separators = |c: char| c.is_whitespace() || matches!(c, ',' | '#' | ';');
        if word.value.is_empty() || word.value == "-" || word.value.contains(separators) {
            Err(word.bad_value(key, word.value, "one word an item, without commas"))
        } else {
            Ok(word.value.to_owned())
        }
    });
    checked.collect::<Result<_, _>>().map(Some)
}

/// The keys that say how ssh logs in. They win over the same in the URL, as
/// the columns of Nix's machines format do.
fn read_ssh_keys(section: &Section<'_>, connect: &mut Connect) -> Result<(), ConfigError> {
    if let Some(found) = section.string("ssh-key")? {
        ssh_of(connect, "ssh-key", &found)?.key = Some(PathBuf::from(found.value));
    }
    if let Some(found) = section.string("public-host-key")? {
        let key = HostKey::from_base64(found.value)
            .map_err(|source| found.problem(Problem::bad_host_key(found.value, source)))?;
        ssh_of(connect, "public-host-key", &found)?.host_key = Some(key);
    }
    if let Some(found) = section.string("remote-program")? {
        ssh_of(connect, "remote-program", &found)?.remote_program =
            found.value.split_whitespace().map(str::to_owned).collect();
    }
    Ok(())
}

fn ssh_of<'c>(
    connect: &'c mut Connect,
    key: &'static str,
    found: &Found<'_, &str>,
) -> Result<&'c mut SshStore, ConfigError> {
    match connect {
        Connect::Store(StoreUrl::Ssh(store)) => Ok(store),
        Connect::Store(_) | Connect::Local | Connect::Exec(_) => {
            Err(found.problem(Problem::OnlyForSsh { key }))
        }
    }
}
