//! Shell scripts for another host, and what they answer. They go to the standard
//! input of a `sh`, so that the login shell there, whichever it is, has nothing
//! to quote. Pure.

/// The first line that a script prints. Whatever comes before it is from the
/// login shell's start-up files.
const MARK: &str = "musher-answer 1";

/// A script with its values.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    values: Vec<u8>,
    body: &'static str,
}

/// What a script printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What the login shell printed first.
    pub(crate) noise: String,
    /// Everything after that.
    pub(crate) body: Vec<u8>,
}

impl Script {
    /// A script that runs `body`.
    pub(crate) fn new(body: &'static str) -> Self {
        Self {
            values: Vec::new(),
            body,
        }
    }

    /// The same with a variable.
    #[must_use]
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        let line = format!("{name}={}\n", quoted(value));
        self.values.extend_from_slice(line.as_bytes());
        self
    }

    /// The same with a function that prints a text, which must not hold a zero
    /// byte and ends with a newline unless it is empty.
    #[must_use]
    pub(crate) fn text(mut self, name: &str, text: &[u8]) -> Self {
        let end = delimiter(text);
        let values = &mut self.values;
        values.extend_from_slice(format!("{name}() {{\ncat << '{end}'\n").as_bytes());
        values.extend_from_slice(text);
        values.extend_from_slice(format!("{end}\n}}\n").as_bytes());
        self
    }

    /// The text for the shell.
    pub(crate) fn render(&self) -> Vec<u8> {
        let mut script = format!("printf '\\n%s\\n' '{MARK}'\n").into_bytes();
        script.extend_from_slice(&self.values);
        script.extend_from_slice(self.body.as_bytes());
        script
    }
}

impl Answer {
    /// Finds the mark in what was printed; `Err` is all of it where there is
    /// none, which means that no `sh` ran.
    pub(crate) fn parse(printed: &[u8]) -> Result<Self, String> {
        let mark = format!("\n{MARK}\n");
        let found = printed
            .windows(mark.len())
            .position(|window| window == mark.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match found {
            Some(at) => Ok(Self {
                noise: text(&printed[..at]),
                body: printed[at + mark.len()..].to_vec(),
            }),
            None => Err(text(printed)),
        }
    }

    /// What was printed as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A word for a POSIX shell.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A line that does not occur in `text`.
fn delimiter(text: &[u8]) -> String {
    let mut number = 0_u32;
    loop {
        let end = format!("MUSHER-END-{number}");
        if text
            .split(|byte| *byte == b'\n')
            .all(|line| line != end.as_bytes())
        {
            return end;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// What a `sh` makes of a script.
    fn run(script: &Script) -> Answer {
        let mut child = Command::new("sh")
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(&script.render()).expect("written");
        drop(stdin);
        let output = child.wait_with_output().expect("sh ends");
        Answer::parse(&output.stdout).expect("a mark")
    }

    #[test]
    fn values_and_texts_arrive_as_they_are() {
        let odd = "it's $HOME `x` \\n \"\n!";
        let script = Script::new("printf %s \"$value\"").set("value", odd);
        assert_eq!(run(&script).text(), odd);

        let text = b"MUSHER-END-0\n  $x 'y' \\ \xff\t\n\n";
        let script = Script::new("text").text("text", text);
        assert_eq!(run(&script).body, text);
        assert_eq!(run(&Script::new("text").text("text", b"")).body, b"");
    }

    #[test]
    fn what_a_login_shell_prints_is_told_apart() {
        let answer = Answer::parse(b"Welcome!\n\nmusher-answer 1\nx\n").expect("a mark");
        assert_eq!(
            (answer.noise.as_str(), answer.text().as_str()),
            ("Welcome!", "x\n")
        );
        let refused = Answer::parse(b"This account is currently not available.\n");
        assert_eq!(
            refused,
            Err("This account is currently not available.".to_owned())
        );
    }
}
