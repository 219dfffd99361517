//! What a machine is called.

use std::fmt;

/// A machine's name: letters, digits, `.`, `_`, `-` and `:`, the first of
/// them a letter, a digit or `_`. It serves as a file name and as an argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineName(String);

pub(super) const MACHINE_NAME: &str =
    "letters, digits, `.`, `_`, `-` and `:`, beginning with a letter, a digit or `_`";

impl MachineName {
    /// Reads a name; none if a character is not allowed.
    pub fn parse(text: &str) -> Option<Self> {
        let first = text.chars().next()?;
        let starts_well = first.is_ascii_alphanumeric() || first == '_';
        (starts_well && text.chars().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// A name from a host's: what is not allowed becomes `_`.
    pub fn from_host(host: &str) -> Self {
        let name: String = host
            .chars()
            .map(|c| if allowed(c) { c } else { '_' })
            .collect();
        Self::parse(&name).unwrap_or_else(|| Self(format!("_{name}")))
    }

    /// This name with a number behind it.
    pub(super) fn numbered(&self, number: usize) -> Self {
        Self(format!("{}-{number}", self.0))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':')
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_file_names_and_arguments() {
        for good in ["bigbox", "b1.example.org", "fe80::1", "_x"] {
            assert!(MachineName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-v", ".", "..", "a/b", "a b", "é", "%h"] {
            assert!(MachineName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn hosts_become_names() {
        let name = |host| MachineName::from_host(host).to_string();
        assert_eq!(name("b1.example.org"), "b1.example.org");
        assert_eq!(name("fe80::1%eth0"), "fe80::1_eth0");
        assert_eq!(name("::1"), "_::1");
    }
}
