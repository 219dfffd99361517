//! The text of an `authorized_keys` file: a key of ours is put in, and taken out
//! again, and every other byte stays. Pure.

use std::fmt;

/// The longest file that is edited, in bytes.
pub(crate) const LONGEST: usize = 1 << 20;

/// The public half of a key: its type and its base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: String,
    blob: String,
}

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no public key")]
pub struct PublicKeyError {
    /// Its beginning.
    pub text: String,
}

impl PublicKey {
    /// Reads `TYPE BASE64 [COMMENT]`.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        let mut words = text.split_whitespace();
        let plain = |c: char| c.is_ascii_alphanumeric() || "+/=-.@".contains(c);
        match (words.next(), words.next()) {
            // Every key's data begins with the length of its type's name.
            (Some(kind), Some(blob))
                if blob.starts_with("AAAA") && (kind.chars().chain(blob.chars())).all(plain) =>
            {
                Ok(Self {
                    kind: kind.to_owned(),
                    blob: blob.to_owned(),
                })
            }
            _ => Err(PublicKeyError {
                text: text.chars().take(40).collect(),
            }),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.blob)
    }
}

/// The comment by which lines of ours are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// The mark of the machine `name` as the coordinator on `host` calls it.
    pub fn new(name: &str, host: &str) -> Self {
        let plain = |c: char| {
            let plain = c.is_ascii_alphanumeric() || ".-_:".contains(c);
            if plain { c } else { '_' }
        };
        let host: String = host.chars().map(plain).collect();
        Self(format!("{PREFIX}{name}@{host}"))
    }

    /// The mark as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What each mark begins with.
const PREFIX: &str = "musher:";

/// A file of keys. Bytes that are no text stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorizedKeys(Vec<u8>);

/// Lines of ours, as they stood there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLines(Vec<Vec<u8>>);

/// What came of putting a key in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Added {
    /// The text with the line.
    Changed(Vec<u8>),
    /// It stands there already.
    Unchanged,
    /// The key stands there without our restriction, in this line from 1.
    Unrestricted(usize),
}

impl AuthorizedKeys {
    pub(crate) fn new(text: Vec<u8>) -> Self {
        Self(text)
    }

    /// Puts in a line for `key`, restricted to `command`. An older line of the
    /// same mark or of the same key and mark of ours goes.
    pub(crate) fn with(&self, key: &PublicKey, command: &str, mark: &Mark) -> Added {
        let foreign = self.lines().zip(1..).find(|(line, _)| {
            is_key(line) && has_word(line, &key.blob) && comment_of_ours(line).is_none()
        });
        if let Some((_, number)) = foreign {
            return Added::Unrestricted(number);
        }
        let command = command.replace('\\', r"\\").replace('"', "\\\"");
        let line = format!(r#"restrict,command="{command}" {key} {}"#, mark.as_str());
        let stands = self.lines().any(|found| found == line.as_bytes());
        let ours = self.lines().filter(|line| is_ours(line, Some(key), mark));
        if stands && ours.count() == 1 {
            return Added::Unchanged;
        }
        let mut text = self.without(Some(key), mark).0;
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
        Added::Changed(text)
    }

    /// The text without lines of `mark`, and of `key` where a mark of ours
    /// stands there; and how many those were.
    pub(crate) fn without(&self, key: Option<&PublicKey>, mark: &Mark) -> (Vec<u8>, usize) {
        let mut text = Vec::with_capacity(self.0.len());
        let mut removed = 0;
        for line in self.0.split_inclusive(|byte| *byte == b'\n') {
            match is_ours(trimmed(line), key, mark) {
                true => removed += 1,
                false => text.extend_from_slice(line),
            }
        }
        (text, removed)
    }

    /// The lines that [`Self::with`] replaces.
    pub(crate) fn ours(&self, key: &PublicKey, mark: &Mark) -> KeyLines {
        let ours = self.lines().filter(|line| is_ours(line, Some(key), mark));
        KeyLines(ours.map(<[u8]>::to_vec).collect())
    }

    /// The text with these lines of ours and no other; none if it is so.
    pub(crate) fn put_back(
        &self,
        key: &PublicKey,
        mark: &Mark,
        lines: &KeyLines,
    ) -> Option<Vec<u8>> {
        if self.ours(key, mark) == *lines {
            return None;
        }
        let mut text = self.without(Some(key), mark).0;
        for line in &lines.0 {
            if !text.is_empty() && !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        Some(text)
    }

    /// Whether some coordinator's key is there that is restricted to `command`.
    pub(crate) fn leads_to(&self, command: &str) -> bool {
        self.lines()
            .any(|line| is_key(line) && comment_of_ours(line).is_some() && has_text(line, command))
    }

    /// The command that a key of ours is restricted to.
    pub(crate) fn command(&self, key: Option<&PublicKey>, mark: &Mark) -> Option<String> {
        let line = self.lines().find(|line| is_ours(line, key, mark))?;
        let line = String::from_utf8_lossy(line);
        let (_, rest) = line.split_once(r#"command=""#)?;
        let (command, _) = rest.split_once('"')?;
        Some(command.to_owned())
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'\n').map(trimmed)
    }
}

/// A line without blanks around it, and without the end that Windows gives it.
fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

fn is_key(line: &[u8]) -> bool {
    !line.is_empty() && !line.starts_with(b"#")
}

fn is_ours(line: &[u8], key: Option<&PublicKey>, mark: &Mark) -> bool {
    let Some(comment) = comment_of_ours(line).filter(|_| is_key(line)) else {
        return false;
    };
    comment == mark.as_str().as_bytes() || key.is_some_and(|key| has_word(line, &key.blob))
}

/// The mark at the end of a line, if there is one.
fn comment_of_ours(line: &[u8]) -> Option<&[u8]> {
    let last = words(line).last()?;
    last.starts_with(PREFIX.as_bytes()).then_some(last)
}

fn has_word(line: &[u8], word: &str) -> bool {
    words(line).any(|found| found == word.as_bytes())
}

fn has_text(line: &[u8], text: &str) -> bool {
    line.windows(text.len().max(1))
        .any(|window| window == text.as_bytes())
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: &str = "exec /bin/sh /home/u/.cache/musher/shim";
    const OURS: &str = "restrict,command=\"exec /bin/sh /home/u/.cache/musher/shim\" \
                        ssh-ed25519 AAAAkey musher:b1@client\n";

    fn key(blob: &str) -> PublicKey {
        PublicKey::parse(&format!("ssh-ed25519 {blob} a comment\n")).expect("a key")
    }

    fn file(text: &str) -> AuthorizedKeys {
        AuthorizedKeys::new(text.as_bytes().to_vec())
    }

    #[track_caller]
    fn check_with(before: &str, after: &str) {
        let mark = Mark::new("b1", "client");
        let added = file(before).with(&key("AAAAkey"), COMMAND, &mark);
        assert_eq!(added, Added::Changed(after.as_bytes().to_vec()));
        let again = file(after).with(&key("AAAAkey"), COMMAND, &mark);
        assert_eq!(again, Added::Unchanged);
    }

    #[test]
    fn a_line_is_put_behind_the_others() {
        check_with("", OURS);
        let theirs = "# mine\r\n\n\tssh-rsa AAAAother me@home \n";
        check_with(theirs, &format!("{theirs}{OURS}"));
        check_with("ssh-rsa AAAAother", &format!("ssh-rsa AAAAother\n{OURS}"));
    }

    #[test]
    fn an_older_line_is_replaced() {
        let older = OURS.replace("/home/u/.cache", "/old");
        check_with(
            &format!("{older}ssh-rsa AAAAx\n"),
            &format!("ssh-rsa AAAAx\n{OURS}"),
        );
        let made_anew = OURS.replace("AAAAkey", "AAAAlost");
        check_with(&made_anew, OURS);
        let renamed = OURS.replace(":b1@", ":b0@");
        check_with(&renamed, OURS);
        check_with(&format!("{OURS}{OURS}"), OURS);
    }

    #[test]
    fn a_key_that_may_do_anything_is_told() {
        let mark = Mark::new("b1", "client");
        let free = file("\nfrom=\"*.x\" ssh-ed25519 AAAAkey me\n");
        let added = free.with(&key("AAAAkey"), COMMAND, &mark);
        assert_eq!(added, Added::Unrestricted(2));
        let comment = file("# ssh-ed25519 AAAAkey me\n");
        let added = comment.with(&key("AAAAkey"), COMMAND, &mark);
        assert!(matches!(added, Added::Changed(_)));
    }

    #[test]
    fn only_our_line_is_taken_out() {
        let mark = Mark::new("b1", "client");
        let others = "ssh-rsa AAAAother musher\n#musher:b1@client\nssh-rsa \
                      AAAAx musher:b2@client\nssh-rsa AAAAy musher:b1@else";
        let both = format!("{OURS}{others}");
        for key in [None, Some(key("AAAAkey"))] {
            let (text, removed) = file(&both).without(key.as_ref(), &mark);
            assert_eq!((text.as_slice(), removed), (others.as_bytes(), 1));
        }
        // Under another mark it is found by its key.
        let elsewhere = Mark::new("b1", "elsewhere");
        assert_eq!(file(&both).without(Some(&key("AAAAkey")), &elsewhere).1, 1);
        assert_eq!(file(&both).without(None, &elsewhere).1, 0);
        // A person's own line with that key is none of ours.
        let free = "ssh-ed25519 AAAAkey me\n";
        assert_eq!(file(free).without(Some(&key("AAAAkey")), &mark).1, 0);
    }

    #[test]
    fn lines_that_were_replaced_come_back() {
        let mark = Mark::new("b1", "client");
        let key = key("AAAAkey");
        let older = OURS.replace("/home/u/.cache", "/old");
        for (before, after) in [
            (
                "ssh-rsa AAAAx me".to_owned(),
                "ssh-rsa AAAAx me\n".to_owned(),
            ),
            (
                format!("{older}ssh-rsa AAAAx me\n"),
                format!("ssh-rsa AAAAx me\n{older}"),
            ),
        ] {
            let lines = file(&before).ours(&key, &mark);
            let Added::Changed(text) = file(&before).with(&key, COMMAND, &mark) else {
                panic!("nothing was added to {before}");
            };
            let changed = AuthorizedKeys::new(text);
            let back = changed.put_back(&key, &mark, &lines).expect("a change");
            assert_eq!(String::from_utf8(back), Ok(after));
            assert_eq!(file(&before).put_back(&key, &mark, &lines), None);
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let odd = b"ssh-rsa AAAAx caf\xe9\n".to_vec();
        let added = AuthorizedKeys::new(odd.clone()).with(
            &key("AAAAkey"),
            COMMAND,
            &Mark::new("b1", "client"),
        );
        assert_eq!(
            added,
            Added::Changed([odd, OURS.as_bytes().to_vec()].concat())
        );
    }

    #[test]
    fn the_command_of_a_line_is_found_again() {
        let mark = Mark::new("b1", "client");
        let both = file(&format!("restrict,command=\"x\" ssh-rsa AAAAy me\n{OURS}"));
        assert_eq!(both.command(None, &mark).as_deref(), Some(COMMAND));
        assert_eq!(both.command(None, &Mark::new("b2", "client")), None);
    }

    #[test]
    fn other_coordinators_are_seen() {
        assert!(file(OURS).leads_to(COMMAND));
        assert!(!file(OURS).leads_to("exec /bin/sh /else/shim"));
        assert!(!file("ssh-rsa AAAAx me").leads_to(COMMAND));
    }

    #[test]
    fn marks_are_one_word() {
        assert_eq!(Mark::new("b1", "a b\nc").as_str(), "musher:b1@a_b_c");
        assert!(PublicKey::parse("ssh-ed25519").is_err());
        assert!(PublicKey::parse("-----BEGIN OPENSSH PRIVATE KEY-----").is_err());
        assert!(PublicKey::parse("ssh-ed25519 AAAA\"x").is_err());
    }
}
