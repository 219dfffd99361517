//! How strings of the system travel as JSON: as text where they are UTF-8, as
//! a list of bytes where they are not, so that none is lost.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::marker::PhantomData;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: AsRef<OsStr>,
    S: Serializer,
{
    let value = value.as_ref();
    match value.to_str() {
        Some(text) => serializer.serialize_str(text),
        None => serializer.collect_seq(value.as_bytes()),
    }
}

pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: From<OsString>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Either(PhantomData))
}

struct Either<T>(PhantomData<T>);

impl<'de, T: From<OsString>> Visitor<'de> for Either<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok(T::from(OsString::from(text)))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<T, E> {
        Ok(T::from(OsString::from(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(T::from(OsString::from_vec(bytes)))
    }
}

/// One such string, where a collection needs a type of its own.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Text(#[serde(with = "self")] OsString);

/// A list of such strings.
pub(crate) mod list {
    use std::ffi::{OsStr, OsString};

    use serde::{Deserialize as _, Deserializer, Serialize, Serializer};

    use super::Text;

    pub(crate) fn serialize<T, S>(values: &[T], serializer: S) -> Result<S::Ok, S::Error>
    where
        T: AsRef<OsStr>,
        S: Serializer,
    {
        serializer.collect_seq(values.iter().map(Borrowed))
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: From<OsString>,
        D: Deserializer<'de>,
    {
        let values = Vec::<Text>::deserialize(deserializer)?;
        Ok(values.into_iter().map(|Text(text)| T::from(text)).collect())
    }

    struct Borrowed<'a, T>(&'a T);

    impl<T: AsRef<OsStr>> Serialize for Borrowed<'_, T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            super::serialize(self.0, serializer)
        }
    }
}

/// A list of pairs of such strings.
pub(crate) mod pairs {
    use std::ffi::OsString;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Text;

    pub(crate) fn serialize<S: Serializer>(
        pairs: &[(OsString, OsString)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            pairs
                .iter()
                .map(|(name, value)| (Text(name.clone()), Text(value.clone()))),
        )
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(OsString, OsString)>, D::Error> {
        let pairs = Vec::<(Text, Text)>::deserialize(deserializer)?;
        Ok(pairs
            .into_iter()
            .map(|(Text(name), Text(value))| (name, value))
            .collect())
    }
}
