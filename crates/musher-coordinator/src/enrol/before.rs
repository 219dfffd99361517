//! What of ours was on a machine before it was touched, so that it can be as it
//! was. Knows the script that says so, and what it said. Pure.

use super::binary::ContentHash;
use super::cleaning::{Cleaning, Remnant};
use super::script::Script;
use super::shim::ShimScript;

/// What of ours was on a machine before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// The directory of our files.
    pub files: bool,
    /// The worker's state.
    pub state: bool,
    /// The program that is wanted.
    pub program: bool,
    /// The program that was installed last.
    current: Option<String>,
    /// The shim, which may be that of another release, or no script at all.
    shim: Option<Vec<u8>>,
}

/// An answer that is none, or from which nothing could be put back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BeforeError {
    #[error("it stopped midway")]
    Short,
    #[error("what lies in place of the shim is no script")]
    NoScript,
}

impl Before {
    /// The script that looks where `shim` belongs, and for the program `hash`.
    pub(crate) fn script(shim: &ShimScript, hash: &ContentHash) -> Script {
        Script::new(include_str!("before.sh"))
            .set("files", &shim.files)
            .set("state", &shim.state)
            .set("hash", &hash.to_string())
    }

    /// Reads what the script printed.
    pub(crate) fn parse(printed: &[u8]) -> Result<Self, BeforeError> {
        let mut before = Self::default();
        let mut rest = printed;
        loop {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (line, after) = rest.split_at(end.ok_or(BeforeError::Short)?);
            rest = &after[1..];
            let line = String::from_utf8_lossy(line);
            match line.split_once(' ') {
                Some(("had", "files")) => before.files = true,
                Some(("had", "state")) => before.state = true,
                Some(("had", "program")) => before.program = true,
                Some(("current", hash)) => before.current = Some(hash.to_owned()),
                Some(("no", "shim")) => return Ok(before),
                Some(("shim", size)) if size.parse() == Ok(rest.len()) => {
                    if rest.contains(&0) {
                        return Err(BeforeError::NoScript);
                    }
                    before.shim = Some(rest.to_vec());
                    return Ok(before);
                }
                Some(_) | None => return Err(BeforeError::Short),
            }
        }
    }

    /// Whether this very shim was there.
    pub fn has(&self, shim: &ShimScript) -> bool {
        self.shim.as_deref() == Some(shim.text().as_bytes())
    }

    /// Whether some shim was there.
    pub fn has_some_shim(&self) -> bool {
        self.shim.is_some()
    }

    /// What to remove and put back for the machine to be so again, once
    /// something was done for the sake of the program `hash`.
    pub fn undoing(&self, hash: &ContentHash) -> Cleaning {
        match (self.files, self.state) {
            (false, false) => Cleaning::All,
            (false, true) => Cleaning::Files,
            (true, had_state) => Cleaning::Back(Remnant {
                hash: hash.clone(),
                had_program: self.program,
                had_state,
                current: self.current.clone(),
                shim: self.shim.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_only_whole() {
        let read = |printed: &[u8]| Before::parse(printed);
        let before = read(b"had files\nhad program\ncurrent abc\nshim 4\nx\ny\n").expect("whole");
        assert_eq!(
            before,
            Before {
                files: true,
                program: true,
                current: Some("abc".to_owned()),
                shim: Some(b"x\ny\n".to_vec()),
                state: false,
            }
        );
        assert_eq!(read(b"no shim\n"), Ok(Before::default()));
        for cut in [&b""[..], b"had files\n", b"shim 4\nx\ny", b"what\n"] {
            assert_eq!(read(cut), Err(BeforeError::Short));
        }
        assert_eq!(read(b"shim 2\n\0\n"), Err(BeforeError::NoScript));
    }
}
