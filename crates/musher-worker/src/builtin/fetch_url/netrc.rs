//! Reads names and passwords from a `.netrc` file.
//!
//! ```text
//! file  = (entry | "macdef" name line* blank)*
//! entry = ("machine" host | "default") ("login" name | "password" word | "account" word)*
//! ```

use std::collections::BTreeMap;

/// A name and its password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) name: String,
    pub(super) password: String,
}

/// Names and passwords by host.
#[derive(Debug, Default)]
pub(super) struct Netrc {
    hosts: BTreeMap<String, Login>,
    default: Option<Login>,
}

impl Netrc {
    /// Reads `text`. What is not understood is left out, as curl does it.
    pub(super) fn parse(text: &str) -> Self {
        let mut netrc = Self::default();
        let mut words = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .flat_map(str::split_whitespace);
        /// Whose entry is being read.
        enum Whose {
            Nobody,
            Host(String),
            Default,
        }
        let mut whose = Whose::Nobody;
        while let Some(word) = words.next() {
            match word {
                "machine" => {
                    whose = words.next().map_or(Whose::Nobody, |host| {
                        // The first entry of a host counts.
                        match netrc.hosts.contains_key(host) {
                            true => Whose::Nobody,
                            false => Whose::Host(host.to_owned()),
                        }
                    });
                    continue;
                }
                "default" => {
                    whose = Whose::Default;
                    continue;
                }
                _ => {}
            }
            let Some(value) = words.next() else { break };
            let login = match &whose {
                Whose::Nobody => continue,
                Whose::Host(host) => netrc.hosts.entry(host.clone()).or_default(),
                Whose::Default => netrc.default.get_or_insert_default(),
            };
            match word {
                "login" => value.clone_into(&mut login.name),
                "password" => value.clone_into(&mut login.password),
                _ => {}
            }
        }
        netrc
    }

    /// What to say to `host`.
    pub(super) fn login(&self, host: &str) -> Option<&Login> {
        self.hosts.get(host).or(self.default.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, host: &str, expected: Option<(&str, &str)>) {
        let netrc = Netrc::parse(text);
        let found = netrc.login(host);
        let found = found.map(|login| (login.name.as_str(), login.password.as_str()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_host_has_its_login_on_one_line_or_on_several() {
        let text = "# mine\nmachine a.example login me password secret\n\
                    machine b.example\n  login you\n  account x\n  password other\n";
        check(text, "a.example", Some(("me", "secret")));
        check(text, "b.example", Some(("you", "other")));
        check(text, "c.example", None);
    }

    #[test]
    fn the_default_is_for_all_others() {
        let text = "machine a.example login me password secret default login any password x";
        check(text, "a.example", Some(("me", "secret")));
        check(text, "c.example", Some(("any", "x")));
    }

    #[test]
    fn rubbish_is_left_out() {
        check("machine", "a.example", None);
        check("login me password x", "a.example", None);
    }
}
