//! A machine's table in `musher.toml`: put in, brought up to date, taken out.
//! Everything else stays as the user wrote it, comments included. Pure.

use std::path::Path;

use musher_store::url::{Authority, HostKey};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, TableLike, Value, value};

use crate::config::{ConfigError, MachineName, syntax_error_in};

/// A machine of kind `musher` as it is to stand in `musher.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is called.
    pub name: MachineName,
    /// Who to log in as, and where.
    pub authority: Authority,
    /// The systems it builds for.
    pub systems: Vec<String>,
    /// How many builds it runs at once.
    pub max_jobs: u32,
    /// The system features it offers.
    pub features: Vec<String>,
    /// The private key to log in with.
    pub ssh_key: String,
    /// The key that it proves itself by.
    pub host_key: HostKey,
}

/// How a text changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The whole text now.
    pub text: String,
    /// Whether there was a table for the machine.
    pub existed: bool,
}

const TABLES: &str = "machine";

impl Entry {
    /// The table alone.
    pub fn text(&self) -> String {
        let mut document = DocumentMut::new();
        let tables = ArrayOfTables::from_iter([self.table()]);
        document.insert(TABLES, Item::ArrayOfTables(tables));
        document.to_string()
    }

    /// Puts the machine into `text`, which is that of `file`. In a table that is
    /// there already only what leads to the machine is brought up to date: the
    /// rest is the user's.
    pub fn write(&self, text: &str, file: &Path) -> Result<Written, ConfigError> {
        let mut document = parse(text, file)?;
        let existed = match document.entry(TABLES).or_insert(Item::None) {
            Item::ArrayOfTables(tables) => {
                let at = tables.iter().position(|table| named(table, &self.name));
                match at.and_then(|at| tables.get_mut(at)) {
                    Some(found) => self.update(found),
                    None => tables.push(self.table()),
                }
                at.is_some()
            }
            Item::Value(Value::Array(tables)) => {
                let at = tables.iter().position(|item| is_of(item, &self.name));
                let found = at.and_then(|at| tables.get_mut(at));
                match found.and_then(Value::as_inline_table_mut) {
                    Some(found) => self.update(found),
                    None => tables.push(self.table().into_inline_table()),
                }
                at.is_some()
            }
            other @ (Item::None | Item::Value(_) | Item::Table(_)) => {
                *other = Item::ArrayOfTables(ArrayOfTables::from_iter([self.table()]));
                false
            }
        };
        Ok(Written {
            text: document.to_string(),
            existed,
        })
    }

    /// Brings up to date what leads to the machine.
    fn update(&self, found: &mut dyn TableLike) {
        let table = self.table();
        for key in LEADS_THERE {
            if let Some(new) = table.get(key).and_then(Item::as_value) {
                update(found.entry(key).or_insert(Item::None), new);
            }
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table["name"] = value(self.name.as_str());
        table["connect"] = value(format!("ssh://{}", self.authority));
        table["kind"] = value("musher");
        table["systems"] = words(&self.systems);
        table["max-jobs"] = value(i64::from(self.max_jobs));
        if !self.features.is_empty() {
            table["supported-features"] = words(&self.features);
        }
        table["ssh-key"] = value(self.ssh_key.as_str());
        table["public-host-key"] = value(self.host_key.as_base64());
        table
    }
}

/// The keys that say how a machine is reached.
const LEADS_THERE: [&str; 4] = ["connect", "kind", "ssh-key", "public-host-key"];

/// Takes the machine `name` out of `text`, with the comment right above it; none
/// if it is not there.
pub fn remove(text: &str, file: &Path, name: &MachineName) -> Result<Option<String>, ConfigError> {
    let mut document = parse(text, file)?;
    let found = match document.get_mut(TABLES) {
        Some(Item::ArrayOfTables(tables)) => {
            let at = tables.iter().position(|table| named(table, name));
            let above = at.map(|at| take(tables, at));
            if let Some(Some(above)) = &above {
                let trailing = document.trailing().as_str().unwrap_or_default();
                document.set_trailing(format!("{above}{trailing}"));
            }
            above.is_some()
        }
        Some(Item::Value(Value::Array(tables))) => {
            let before = tables.len();
            tables.retain(|item| !is_of(item, name));
            tables.len() != before
        }
        Some(Item::None | Item::Value(_) | Item::Table(_)) | None => false,
    };
    let after = found.then(|| document.to_string());
    // The empty line between two tables is none at the top.
    let trimmed = |after: String| after.trim_start_matches('\n').to_owned();
    Ok(match text.starts_with('\n') {
        true => after,
        false => after.map(trimmed),
    })
}

/// Takes out a table. What stands above it and is not about it goes above the
/// next; it is returned where there is none.
fn take(tables: &mut ArrayOfTables, at: usize) -> Option<String> {
    let above = comments_apart(tables.get(at));
    tables.remove(at);
    let Some(next) = tables.get_mut(at) else {
        return Some(above);
    };
    let own = prefix(Some(next));
    next.decor_mut().set_prefix(above + &own);
    None
}

fn is_of(item: &Value, name: &MachineName) -> bool {
    item.as_inline_table()
        .is_some_and(|table| named(table, name))
}

fn named(table: &dyn TableLike, name: &MachineName) -> bool {
    table.get("name").and_then(Item::as_str) == Some(name.as_str())
}

/// What stands above a table up to the last empty line: it is not about that
/// table.
fn comments_apart(table: Option<&Table>) -> String {
    let text = prefix(table);
    let end = text.rfind("\n\n").map_or(0, |at| at + 1);
    text[..end].to_owned()
}

fn prefix(table: Option<&Table>) -> String {
    let prefix = table.and_then(|table| table.decor().prefix());
    let text = prefix.and_then(toml_edit::RawString::as_str);
    text.unwrap_or_default().to_owned()
}

/// Gives a key another value, and leaves the comment behind it.
fn update(item: &mut Item, new: &Value) {
    let decor = item.as_value().map(|old| old.decor().clone());
    let mut new = new.clone();
    if let Some(decor) = decor {
        *new.decor_mut() = decor;
    }
    *item = Item::Value(new);
}

fn parse(text: &str, file: &Path) -> Result<DocumentMut, ConfigError> {
    text.parse()
        .map_err(|error| syntax_error_in(text, file, &error))
}

fn words(words: &[String]) -> Item {
    value(words.iter().map(String::as_str).collect::<Array>())
}

#[cfg(test)]
mod tests;
