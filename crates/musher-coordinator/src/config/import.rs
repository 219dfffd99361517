//! Writes machines into the text of `musher.toml`, leaving everything that is
//! there as it is.

use std::path::Path;

use musher_store::url::{SshStore, StoreUrl};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value, value};

use super::error::ConfigError;
use super::machine::{Connect, Machine, MachineKind};
use super::position::Position;
use super::syntax_error_in;

/// A machine that `musher.toml` cannot take over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is one of that name already.
    #[error("{origin}: machine `{name}` is already defined at {first}")]
    Exists {
        /// The name.
        name: String,
        /// Where it stands in the imported file.
        origin: Position,
        /// Where the other one stands.
        first: Position,
    },
    /// It is a store of this host.
    #[error("{origin}: machine `{connect}` is not reached by ssh")]
    NotSsh {
        /// Its store URL.
        connect: String,
        /// Where it stands in the imported file.
        origin: Position,
    },
    /// The text they were to be added to is no configuration.
    #[error("cannot add machines to the configuration")]
    Config {
        /// What is wrong with it.
        #[source]
        source: ConfigError,
    },
}

impl ImportError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => {
                Some("remove one of the two; nothing has been imported".to_owned())
            }
            Self::NotSsh { .. } => {
                Some("this host builds for others by `max-jobs` in its own nix.conf".to_owned())
            }
            Self::Config { source } => source.help(),
        }
    }
}

/// Adds a `[[machine]]` table for each of `machines` behind what `text` holds.
/// `file` is its name in messages; none of the names may be among `existing`.
pub fn import_machines(
    text: &str,
    file: &Path,
    existing: &[Machine],
    machines: &[Machine],
) -> Result<String, ImportError> {
    let mut document: DocumentMut = text.parse().map_err(|error| ImportError::Config {
        source: syntax_error_in(text, file, &error),
    })?;
    let mut tables = Vec::new();
    for machine in machines {
        if let Some(first) = existing.iter().find(|known| known.name == machine.name) {
            return Err(ImportError::Exists {
                name: machine.name.to_string(),
                origin: machine.origin.clone(),
                first: first.origin.clone(),
            });
        }
        tables.push(table(machine)?);
    }
    match document.entry("machine").or_insert(Item::None) {
        Item::Value(Value::Array(inline)) => {
            inline.extend(tables.into_iter().map(Table::into_inline_table));
        }
        Item::ArrayOfTables(array) => array.extend(tables),
        other @ (Item::None | Item::Value(_) | Item::Table(_)) => {
            *other = Item::ArrayOfTables(ArrayOfTables::from_iter(tables));
        }
    }
    Ok(document.to_string())
}

/// A machine as a table, without what has its default.
fn table(machine: &Machine) -> Result<Table, ImportError> {
    let Connect::Store(StoreUrl::Ssh(store)) = &machine.connect else {
        return Err(ImportError::NotSsh {
            connect: machine.connect.to_string(),
            origin: machine.origin.clone(),
        });
    };
    // What has a key of its own leaves the URL.
    let url = SshStore {
        key: None,
        host_key: None,
        remote_program: Vec::new(),
        ..store.clone()
    };
    let mut table = Table::new();
    table["name"] = value(machine.name.as_str());
    table["connect"] = value(url.to_string());
    if machine.kind == MachineKind::Nix && !machine.connect.is_worker_protocol() {
        table["kind"] = value(machine.kind.as_str());
    }
    table["systems"] = words(&machine.systems);
    if machine.max_jobs != 1 {
        table["max-jobs"] = value(i64::from(machine.max_jobs));
    }
    let speed = machine.speed_factor.value();
    if (speed - 1.0).abs() > f64::EPSILON {
        table["speed-factor"] = value(speed);
    }
    if !machine.supported_features.is_empty() {
        table["supported-features"] = words(&machine.supported_features);
    }
    if !machine.mandatory_features.is_empty() {
        table["mandatory-features"] = words(&machine.mandatory_features);
    }
    if let Some(key) = &store.key {
        table["ssh-key"] = value(key.to_string_lossy().as_ref());
    }
    if let Some(key) = &store.host_key {
        table["public-host-key"] = value(key.as_base64());
    }
    if !store.remote_program.is_empty() {
        table["remote-program"] = value(store.remote_program.join(" "));
    }
    Ok(table)
}

fn words<'a>(words: impl IntoIterator<Item = &'a String>) -> Item {
    value(words.into_iter().map(String::as_str).collect::<Array>())
}
