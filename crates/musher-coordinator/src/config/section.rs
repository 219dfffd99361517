//! One TOML table, read key by key with errors that know their place. Knows
//! nothing of what the keys mean.

use std::ops::Range;

use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::error::{ConfigError, Problem};
use super::position::{Position, Source};

/// A value and where it stands.
pub(super) struct Found<'a, T> {
    pub(super) value: T,
    span: Range<usize>,
    source: Source<'a>,
}

/// A table and the keys that it may have.
pub(super) struct Section<'a> {
    source: Source<'a>,
    table: &'a DeTable<'a>,
    name: &'static str,
    span: Range<usize>,
}

/// The keys of one kind of table.
pub(super) struct Keys {
    /// What the table is called in messages.
    pub(super) section: &'static str,
    /// The keys it may have.
    pub(super) known: &'static [&'static str],
    /// Keys of other tables, each with advice on where it belongs.
    pub(super) elsewhere: &'static [(&'static [&'static str], &'static str)],
}

impl<'a> Section<'a> {
    /// Opens a table, refusing keys that are not in `keys`.
    pub(super) fn open(
        source: Source<'a>,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        keys: &Keys,
    ) -> Result<Self, ConfigError> {
        let unknown = table
            .keys()
            .filter(|key| !keys.known.contains(&key.get_ref().as_ref()))
            .min_by_key(|key| key.span().start);
        if let Some(key) = unknown {
            let at = source.at(key.span().start);
            return Err(Problem::UnknownKey {
                section: keys.section,
                key: key.get_ref().to_string(),
                advice: keys.advice(key.get_ref()),
            }
            .at(at));
        }
        Ok(Self {
            source,
            table,
            name: keys.section,
            span,
        })
    }

    /// Where the table begins.
    pub(super) fn position(&self) -> Position {
        self.source.at(self.span.start)
    }

    /// The value of a key, if it is there.
    pub(super) fn value(&self, key: &'static str) -> Option<Found<'a, &'a DeValue<'a>>> {
        self.table.get(key).map(|value| Found {
            value: value.get_ref(),
            span: value.span(),
            source: self.source,
        })
    }

    /// The value of a key that must be there.
    pub(super) fn required(
        &self,
        key: &'static str,
    ) -> Result<Found<'a, &'a DeValue<'a>>, ConfigError> {
        self.value(key).ok_or_else(|| {
            Problem::MissingKey {
                section: self.name,
                key,
            }
            .at(self.position())
        })
    }

    /// A string, if the key is there.
    pub(super) fn string(
        &self,
        key: &'static str,
    ) -> Result<Option<Found<'a, &'a str>>, ConfigError> {
        self.value(key).map(|found| found.string(key)).transpose()
    }

    /// A boolean, if the key is there.
    pub(super) fn boolean(&self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        let Some(found) = self.value(key) else {
            return Ok(None);
        };
        match found.value.as_bool() {
            Some(value) => Ok(Some(value)),
            None => Err(found.wrong_type(key, "true or false")),
        }
    }

    /// A whole number of at least `least`, if the key is there.
    pub(super) fn count(
        &self,
        key: &'static str,
        least: u32,
        expected: &'static str,
    ) -> Result<Option<u32>, ConfigError> {
        let Some(found) = self.value(key) else {
            return Ok(None);
        };
        let Some(integer) = found.value.as_integer() else {
            return Err(found.wrong_type(key, expected));
        };
        match integer_value(integer).and_then(|n| u32::try_from(n).ok()) {
            Some(count) if count >= least => Ok(Some(count)),
            _ => Err(found.bad_value(key, integer.as_str(), expected)),
        }
    }

    /// An array of strings, if the key is there.
    pub(super) fn strings(
        &self,
        key: &'static str,
    ) -> Result<Option<Vec<Found<'a, &'a str>>>, ConfigError> {
        self.value(key).map(|found| found.strings(key)).transpose()
    }
}

impl<'a> Found<'a, &'a DeValue<'a>> {
    /// This value, which must be a string.
    pub(super) fn string(self, key: &str) -> Result<Found<'a, &'a str>, ConfigError> {
        match self.value.as_str() {
            Some(value) => Ok(Found {
                value,
                span: self.span,
                source: self.source,
            }),
            None => Err(self.wrong_type(key, "a string")),
        }
    }

    /// This value, which must be an array of strings.
    pub(super) fn strings(self, key: &str) -> Result<Vec<Found<'a, &'a str>>, ConfigError> {
        let Some(array) = self.value.as_array() else {
            return Err(self.wrong_type(key, "a list of strings"));
        };
        self.items(array).map(|item| item.string(key)).collect()
    }

    /// This value, which must be an array of tables; each with its span.
    pub(super) fn tables(
        self,
        key: &str,
        expected: &'static str,
    ) -> Result<Vec<(&'a DeTable<'a>, Range<usize>)>, ConfigError> {
        let Some(array) = self.value.as_array() else {
            return Err(self.wrong_type(key, expected));
        };
        self.items(array)
            .map(|item| match item.value.as_table() {
                Some(table) => Ok((table, item.span.clone())),
                None => Err(item.wrong_type(key, expected)),
            })
            .collect()
    }

    /// A value inside this one, reported at this one's place.
    pub(super) fn within(&self, value: &'a DeValue<'a>) -> Self {
        Found {
            value,
            span: self.span.clone(),
            source: self.source,
        }
    }

    fn items(&self, array: &'a DeArray<'a>) -> impl Iterator<Item = Self> {
        let source = self.source;
        array.iter().map(move |item| Found {
            value: item.get_ref(),
            span: item.span(),
            source,
        })
    }

    pub(super) fn wrong_type(&self, key: &str, expected: &'static str) -> ConfigError {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(Problem::WrongType {
            key: key.to_owned(),
            expected,
            found,
        })
    }
}

impl<T> Found<'_, T> {
    /// Where the value stands.
    pub(super) fn position(&self) -> Position {
        self.source.at(self.span.start)
    }

    /// A problem with this value.
    pub(super) fn problem(&self, problem: Problem) -> ConfigError {
        problem.at(self.position())
    }

    pub(super) fn bad_value(
        &self,
        key: &'static str,
        value: &str,
        expected: &'static str,
    ) -> ConfigError {
        self.problem(Problem::BadValue {
            key,
            value: value.to_owned(),
            expected,
        })
    }
}

/// The value of a TOML integer; none if it does not fit.
pub(super) fn integer_value(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl Keys {
    fn advice(&self, key: &str) -> String {
        for (keys, place) in self.elsewhere {
            if keys.contains(&key) {
                return format!("`{key}` {place}");
            }
        }
        // A third of the letters may differ; beyond that a guess misleads.
        let nearest = self
            .known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(key, known), known))
            .min()
            .filter(|(distance, known)| distance * 3 <= known.len().max(key.len()));
        match nearest {
            Some((_, known)) => format!("did you mean `{known}`?"),
            None => format!("known keys: {}", self.known.join(", ")),
        }
    }
}
