//! What the user configured: `musher.toml` and, beside it, `machines` in Nix's
//! own format. Parsing is pure; [`Config::load`] and [`Config::load_fleet`] alone look
//! at this host.

mod default_fleet;
mod error;
mod import;
mod machine;
mod machine_name;
mod machine_table;
mod nix_machines;
mod own_entrance;
mod position;
mod quantity;
mod sandbox_path;
mod section;
mod settings;
mod system;
#[cfg(test)]
mod tests;
mod trusted_keys;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

pub use error::{ConfigError, Problem};
pub use import::{ImportError, import_machines};
pub use machine::{Connect, Driven, Machine, MachineKind, NotDrivable};
pub use machine_name::MachineName;
use nix_machines::Included;
pub use position::Position;
pub use sandbox_path::SandboxPath;
pub use settings::Settings;
pub use system::host_system;

use toml::de::DeTable;

use position::Source;
use section::Section;

/// A configuration: settings, and machines with names of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The settings, with their defaults filled in.
    pub settings: Settings,
    machines: Vec<Machine>,
    /// Whether those are there because it names none.
    is_default_fleet: bool,
}

/// Which file to read, and what its absence means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigFile {
    /// The user named it: it must be there.
    Given(PathBuf),
    /// The usual place: without it every setting has its default.
    Usual(PathBuf),
}

impl ConfigFile {
    /// Where the file is, or would be.
    pub fn path(&self) -> &Path {
        match self {
            Self::Given(path) | Self::Usual(path) => path,
        }
    }

    /// The file of machines in Nix's format that is read along with it.
    pub fn machines_file(&self) -> PathBuf {
        self.path().with_file_name("machines")
    }
}

impl Config {
    /// Reads the text of `musher.toml`. `file` is its name in messages;
    /// `default_system` is what a machine builds for that does not say.
    pub fn parse(text: &str, file: &Path, default_system: &str) -> Result<Self, ConfigError> {
        let source = Source { file, text };
        let table = DeTable::parse(text).map_err(|error| syntax_error(source, &error))?;
        let section = Section::open(source, table.get_ref(), table.span(), &settings::KEYS)?;
        let settings = Settings::read(&section)?;
        let mut config = Self {
            settings,
            machines: Vec::new(),
            is_default_fleet: false,
        };
        config.add(machine_tables(source, &section, default_system)?)?;
        Ok(config)
    }

    /// Reads `file` and the machines file beside it.
    pub fn load(file: &ConfigFile, default_system: &str) -> Result<Self, ConfigError> {
        let path = file.path();
        let text = match (fs::read_to_string(path), file) {
            (Ok(text), _) => text,
            (Err(error), ConfigFile::Usual(_)) if error.kind() == io::ErrorKind::NotFound => {
                String::new()
            }
            (Err(error), _) => return Err(ConfigError::read(path, error)),
        };
        let mut config = Self::parse(&text, path, default_system)?;
        let beside = load_nix_machines(&file.machines_file(), default_system)?;
        config.add(beside.unwrap_or_default())?;
        Ok(config)
    }

    /// The machines of all files: those of `musher.toml` first, each file in
    /// its own order.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The machine of a name.
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines
            .iter()
            .find(|machine| machine.name.as_str() == name)
    }

    fn add(&mut self, machines: Vec<Machine>) -> Result<(), ConfigError> {
        let mut known: BTreeMap<MachineName, Position> = self
            .machines
            .iter()
            .map(|machine| (machine.name.clone(), machine.origin.clone()))
            .collect();
        for machine in machines {
            if let Some(first) = known.insert(machine.name.clone(), machine.origin.clone()) {
                return Err(ConfigError::duplicate(&machine, first));
            }
            self.machines.push(machine);
        }
        Ok(())
    }
}

/// Reads a file in Nix's machines format and those it includes; none if it
/// does not exist.
pub fn load_nix_machines(
    file: &Path,
    default_system: &str,
) -> Result<Option<Vec<Machine>>, ConfigError> {
    nix_machines::parse(file, default_system, &|path| {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Included {
            identity: fs::canonicalize(path)?,
            text,
        }))
    })
}

fn machine_tables(
    source: Source<'_>,
    settings: &Section<'_>,
    default_system: &str,
) -> Result<Vec<Machine>, ConfigError> {
    let Some(found) = settings.value("machine") else {
        return Ok(Vec::new());
    };
    let tables = found.tables("machine", "tables, each under `[[machine]]`")?;
    let machines = tables.into_iter().map(|(table, span)| {
        let section = Section::open(source, table, span, &machine_table::KEYS)?;
        Machine::read(&section, default_system)
    });
    machines.collect()
}

/// A text of `file` that cannot be edited, since it is no TOML.
pub(crate) fn syntax_error_in(
    text: &str,
    file: &Path,
    error: &toml_edit::TomlError,
) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    let problem = Problem::Syntax {
        message: error.message().to_owned(),
    };
    problem.at(Source { file, text }.at(offset))
}

fn syntax_error(source: Source<'_>, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    Problem::Syntax {
        message: error.message().to_owned(),
    }
    .at(source.at(offset))
}
