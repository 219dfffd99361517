//! Nix's own machines format, as in `/etc/nix/machines` and `builders`.
//!
//! ```text
//! file    = { line newline }
//! line    = [ entry ] { ";" [ entry ] } [ "#" comment ]
//! entry   = "@" path | column { blank column }
//! columns = store-URI systems ssh-key maxJobs speedFactor
//!           supportedFeatures mandatoryFeatures publicHostKey
//! ```
//!
//! `-` or nothing stands for a column's default, columns after the eighth
//! mean nothing, systems and features are separated by commas, and a missing
//! `@` file counts as an empty one. Files are read through a function given
//! from outside.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use musher_scheduler::SpeedFactor;
use musher_store::url::{HostKey, StoreUrl};

use super::error::{ConfigError, Problem};
use super::machine::{Connect, Machine, MachineKind};
use super::machine_name::MachineName;
use super::machine_table::checked_speed;
use super::own_entrance::is_own_entrance;
use super::position::{Position, Source};

/// A file that `@` names.
#[derive(Debug, Clone)]
pub(super) struct Included {
    /// What identifies it, whatever name it was reached by.
    pub(super) identity: PathBuf,
    /// What it holds.
    pub(super) text: String,
}

/// Reads an `@` file; none if there is none. Relative paths have been joined
/// to the directory of the file that names them.
pub(super) type ReadFile<'a> = dyn Fn(&Path) -> io::Result<Option<Included>> + 'a;

/// Reads the machines of one file and of those it includes, in their order;
/// none if the file does not exist.
///
/// Machines are named after their hosts; of several on one host the second
/// gets `-2` behind its name, and so on. `default_system` is what a machine
/// builds for whose second column says nothing.
pub(super) fn parse(
    file: &Path,
    default_system: &str,
    read: &ReadFile<'_>,
) -> Result<Option<Vec<Machine>>, ConfigError> {
    let Some(included) = read(file).map_err(|source| ConfigError::read(file, source))? else {
        return Ok(None);
    };
    let mut reader = Reader {
        default_system,
        read,
        open: Vec::new(),
        machines: Vec::new(),
        names: BTreeSet::new(),
    };
    reader.file(file, included)?;
    Ok(Some(reader.machines))
}

struct Reader<'a> {
    default_system: &'a str,
    read: &'a ReadFile<'a>,
    /// The identities of the files being read, the outermost first.
    open: Vec<PathBuf>,
    machines: Vec<Machine>,
    names: BTreeSet<MachineName>,
}

impl Reader<'_> {
    fn file(&mut self, file: &Path, included: Included) -> Result<(), ConfigError> {
        let source = Source {
            file,
            text: &included.text,
        };
        self.open.push(included.identity);
        for (offset, entry) in entries(source.text) {
            match entry.strip_prefix('@') {
                Some(path) => self.include(source, offset, path.trim())?,
                None => {
                    let machine = self.machine(source, offset, entry)?;
                    self.machines.push(machine);
                }
            }
        }
        self.open.pop();
        Ok(())
    }

    fn include(
        &mut self,
        source: Source<'_>,
        offset: usize,
        path: &str,
    ) -> Result<(), ConfigError> {
        // Nix takes a relative path from wherever its process happens to be.
        let path = source
            .file
            .parent()
            .map_or_else(|| PathBuf::from(path), |parent| parent.join(path));
        let included = (self.read)(&path).map_err(|cause| {
            Problem::Read {
                path: path.clone(),
                source: cause,
            }
            .at(source.at(offset))
        })?;
        let Some(included) = included else {
            return Ok(());
        };
        if self.open.contains(&included.identity) {
            return Err(Problem::IncludeLoop { path }.at(source.at(offset)));
        }
        self.file(&path, included)
    }

    fn machine(
        &mut self,
        source: Source<'_>,
        offset: usize,
        entry: &str,
    ) -> Result<Machine, ConfigError> {
        let columns = Columns::split(source, offset, entry);
        let url = columns.store()?;
        let host = match &url {
            StoreUrl::Ssh(store) => store.authority.host.as_str(),
            StoreUrl::Daemon(_) => "daemon",
            StoreUrl::Auto(_) => "auto",
            StoreUrl::Local(_) => "local",
        };
        let name = self.fresh_name(&MachineName::from_host(host));
        Ok(Machine {
            name,
            kind: MachineKind::Nix,
            connect: Connect::Store(url),
            systems: match columns.get(2) {
                Some(column) => column.words(),
                None => BTreeSet::from([self.default_system.to_owned()]),
            },
            max_jobs: columns.get(4).map_or(Ok(1), |column| {
                column.parse("maxJobs", "a whole number", integer)
            })?,
            speed_factor: columns.get(5).map_or(Ok(SpeedFactor::ONE), |column| {
                column.parse("speedFactor", "a number from 0 up", speed)
            })?,
            supported_features: columns.words(6),
            mandatory_features: columns.words(7),
            sandbox_paths: None,
            origin: source.at(offset),
        })
    }

    fn fresh_name(&mut self, name: &MachineName) -> MachineName {
        let mut fresh = name.clone();
        let mut number = 2;
        while !self.names.insert(fresh.clone()) {
            fresh = name.numbered(number);
            number += 1;
        }
        fresh
    }
}

/// The entries of a text and the byte offset of each.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let offset_of = |part: &str| part.as_ptr().addr() - text.as_ptr().addr();
    text.split('\n')
        .map(|line| line.split_once('#').map_or(line, |(before, _)| before))
        .flat_map(|line| line.split(';'))
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .map(move |entry| (offset_of(entry), entry))
}

/// The columns of one entry.
struct Columns<'a> {
    source: Source<'a>,
    offset: usize,
    uri: &'a str,
    /// Those after the first, each with its byte offset.
    rest: Vec<(usize, &'a str)>,
}

/// One column that says something.
struct Column<'a> {
    source: Source<'a>,
    number: usize,
    offset: usize,
    text: &'a str,
}

impl<'a> Columns<'a> {
    fn split(source: Source<'a>, offset: usize, entry: &'a str) -> Self {
        let offset_of = |part: &str| offset + part.as_ptr().addr() - entry.as_ptr().addr();
        let mut columns = entry.split_whitespace();
        Self {
            source,
            offset,
            uri: columns.next().unwrap_or(entry),
            rest: columns.map(|column| (offset_of(column), column)).collect(),
        }
    }

    /// The store that columns 1, 3 and 8 name together.
    fn store(&self) -> Result<StoreUrl, ConfigError> {
        let mut url = StoreUrl::from_str(self.uri).map_err(|source| {
            self.problem(Problem::BadUrl {
                url: self.uri.to_owned(),
                source,
            })
        })?;
        if let StoreUrl::Ssh(store) = &mut url {
            if is_own_entrance(store) {
                return Err(self.problem(Problem::OwnEntrance {
                    url: self.uri.to_owned(),
                }));
            }
            if let Some(column) = self.get(3) {
                store.key = Some(PathBuf::from(column.text));
            }
            if let Some(column) = self.get(8) {
                store.host_key = Some(column.host_key()?);
            }
        }
        Ok(url)
    }

    fn problem(&self, problem: Problem) -> ConfigError {
        problem.at(self.source.at(self.offset))
    }

    /// A column by its number from 2 up, unless it stands for its default.
    fn get(&self, number: usize) -> Option<Column<'a>> {
        let (offset, text) = *self.rest.get(number - 2)?;
        (text != "-").then_some(Column {
            source: self.source,
            number,
            offset,
            text,
        })
    }

    fn words(&self, number: usize) -> BTreeSet<String> {
        self.get(number)
            .map_or_else(BTreeSet::new, |column| column.words())
    }
}

impl Column<'_> {
    fn words(&self) -> BTreeSet<String> {
        self.text
            .split(',')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn parse<T>(
        &self,
        field: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        parse(self.text).ok_or_else(|| {
            Problem::BadColumn {
                number: self.number,
                field,
                text: self.text.to_owned(),
                expected,
            }
            .at(self.position())
        })
    }

    fn host_key(&self) -> Result<HostKey, ConfigError> {
        HostKey::from_base64(self.text)
            .map_err(|source| Problem::bad_host_key(self.text, source).at(self.position()))
    }

    fn position(&self) -> Position {
        self.source.at(self.offset)
    }
}

fn integer(text: &str) -> Option<u32> {
    text.parse().ok()
}

fn speed(text: &str) -> Option<SpeedFactor> {
    checked_speed(text.parse().ok()?)
}
