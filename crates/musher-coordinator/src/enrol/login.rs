//! A login on a machine as its user: runs our scripts there and reads what they
//! answer. Decides nothing; each call is one session.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use musher_store::ssh::{Link, SshError};
use musher_store::transport::{Exit, PeerEnd, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::authorized_keys::{Added, AuthorizedKeys, KeyLines, LONGEST, Mark, PublicKey};
use super::before::Before;
use super::binary::ContentHash;
use super::cleaning::{Cleaned, Cleaning};
use super::script::{Answer, Script};
use super::shim::{ShimScript, path_of};
use super::survey::{Survey, SurveyError};

/// How long a script may take.
const BOUND: Duration = Duration::from_secs(60);

/// How long removing a store may take.
const CLEANING: Duration = Duration::from_secs(1800);

/// How long to wait for the words of a session that has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The most that a script may answer, in bytes.
const LONGEST_ANSWER: usize = LONGEST + (64 << 10);

/// What `keys-read.sh` prints instead of a check sum.
const NO_FILE: &str = "no file";

/// How often `authorized_keys` is read again after somebody else changed it.
const TRIES: u32 = 3;

/// A login as the user of a machine.
#[derive(Debug)]
pub struct Login {
    link: Link,
    /// Held while a script runs. One that nobody waits for any more comes to its
    /// end, and what is done next finds what it did.
    turn: Arc<Mutex<()>>,
}

/// What could not be done on a machine.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No session.
    #[error("cannot log in")]
    Ssh {
        /// Why not.
        #[source]
        source: SshError,
    },
    /// What ran was no shell.
    #[error("its login shell ran no `sh`{}", told(.said))]
    NoShell {
        /// What it printed instead.
        said: String,
        /// How it ended.
        #[source]
        source: PeerEnd,
    },
    /// What ran did not come to its end, so that what it said may be a part.
    #[error("the session did not end well")]
    Broken {
        /// How it ended.
        #[source]
        source: PeerEnd,
    },
    /// It went silent.
    #[error("it did not {attempt} within {} s", after.as_secs())]
    Silent {
        /// What was attempted.
        attempt: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// This process ends.
    #[error("it was not waited for to {attempt}")]
    Stopped {
        /// What was attempted.
        attempt: &'static str,
    },
    /// More came than makes sense.
    #[error("it answered with more than {LONGEST_ANSWER} bytes")]
    TooMuch,
    /// The machine could not do it.
    #[error("it could not {attempt}: {said}")]
    Refused {
        /// What was attempted.
        attempt: &'static str,
        /// Its reason.
        said: String,
    },
    /// It said too little of itself.
    #[error("cannot understand what it is")]
    Survey {
        /// What is missing.
        #[source]
        source: SurveyError,
    },
    /// The key may do anything there already.
    #[error(
        "the key logs in there already, without being restricted: line {line} of `authorized_keys`"
    )]
    Unrestricted {
        /// The line, from 1.
        line: usize,
    },
    /// `authorized_keys` is too large.
    #[error("its `authorized_keys` has more than {LONGEST} bytes")]
    KeysTooLong,
}

impl LoginError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Ssh { source } => source.help(),
            Self::NoShell { .. } => Some(
                "the user needs a login shell that runs commands, be it sh, csh or fish".into(),
            ),
            Self::Unrestricted { .. } => {
                Some("leave out `--ssh-key`: then a key is made for this machine alone".into())
            }
            Self::Broken { .. }
            | Self::Silent { .. }
            | Self::Stopped { .. }
            | Self::TooMuch
            | Self::Refused { .. }
            | Self::Survey { .. }
            | Self::KeysTooLong => None,
        }
    }
}

fn told(said: &str) -> String {
    match said.is_empty() {
        true => String::new(),
        false => format!(", it says `{}`", said.chars().take(120).collect::<String>()),
    }
}

impl Login {
    /// A login over `link`, which connects when it is needed.
    pub fn new(link: Link) -> Self {
        let turn = Arc::default();
        Self { link, turn }
    }

    /// Logs in.
    pub async fn connect(&self) -> Result<(), LoginError> {
        let connected = self.link.connect().await;
        connected.map_err(|source| LoginError::Ssh { source })
    }

    /// Finds out what the machine is, and what its login shell prints
    /// unasked. Nothing is changed there.
    pub async fn survey(&self, dir: Option<&str>) -> Result<(Survey, String), LoginError> {
        let answer = self
            .run("describe itself", &Survey::script(dir), BOUND)
            .await?;
        let survey = Survey::parse(&answer.text());
        let survey = survey.map_err(|source| LoginError::Survey { source })?;
        Ok((survey, answer.noise))
    }

    /// Says what of ours is there; `hash` is the program that `shim` shall start.
    /// Nothing is changed.
    pub async fn before(
        &self,
        shim: &ShimScript,
        hash: &ContentHash,
    ) -> Result<Before, LoginError> {
        const ATTEMPT: &str = "say what of ours it has";
        let script = Before::script(shim, hash);
        let answer = self.run(ATTEMPT, &script, BOUND).await?;
        Before::parse(&answer.body).map_err(|error| LoginError::Refused {
            attempt: ATTEMPT,
            said: error.to_string(),
        })
    }

    /// Puts the shim there.
    pub async fn put_shim(&self, shim: &ShimScript) -> Result<(), LoginError> {
        let script = Script::new(include_str!("shim-put.sh"))
            .set("files", &shim.files)
            .text("shim", shim.text().as_bytes());
        self.change("put the shim there", &script, BOUND).await?;
        Ok(())
    }

    /// Lets `key` log in for the sake of `shim` alone. False if it could
    /// already. `note` hears which lines of ours are about to be replaced.
    pub async fn add_key(
        &self,
        key: &PublicKey,
        shim: &ShimScript,
        mark: &Mark,
        mut note: impl FnMut(KeyLines),
    ) -> Result<bool, LoginError> {
        let changed = self.edit_keys(|keys| match keys.with(key, &shim.forced_command(), mark) {
            Added::Changed(text) => {
                note(keys.ours(key, mark));
                Ok(Some(text))
            }
            Added::Unchanged => Ok(None),
            Added::Unrestricted(line) => Err(LoginError::Unrestricted { line }),
        });
        changed.await
    }

    /// Puts back the lines that [`Self::add_key`] has replaced, or was about to.
    /// False if they are there as they were.
    pub async fn put_key_back(
        &self,
        key: &PublicKey,
        mark: &Mark,
        lines: &KeyLines,
    ) -> Result<bool, LoginError> {
        let changed = self.edit_keys(|keys| Ok(keys.put_back(key, mark, lines)));
        changed.await
    }

    /// Takes the key out again. False if it was not there.
    pub async fn remove_key(
        &self,
        key: Option<&PublicKey>,
        mark: &Mark,
    ) -> Result<bool, LoginError> {
        let changed = self.edit_keys(|keys| {
            let (text, removed) = keys.without(key, mark);
            Ok((removed > 0).then_some(text))
        });
        changed.await
    }

    /// The shim that the key leads to, as it stands there.
    pub async fn find_shim(
        &self,
        key: Option<&PublicKey>,
        mark: &Mark,
    ) -> Result<Option<ShimScript>, LoginError> {
        let (keys, _) = self.read_keys().await?;
        let command = keys.command(key, mark);
        let Some(path) = command.as_deref().and_then(path_of) else {
            return Ok(None);
        };
        // It may be gone, which its absence says well enough.
        let script = Script::new(r#"head -n 2 "$path" || :"#).set("path", path);
        let answer = self.run("read its shim", &script, BOUND).await?;
        Ok(ShimScript::parse(&answer.text()))
    }

    /// Whether the key of any coordinator leads to `shim`.
    pub async fn is_in_use(&self, shim: &ShimScript) -> Result<bool, LoginError> {
        let (keys, _) = self.read_keys().await?;
        Ok(keys.leads_to(&shim.forced_command()))
    }

    /// Removes what is ours, and nothing else.
    pub async fn clean(&self, shim: &ShimScript, what: &Cleaning) -> Result<Cleaned, LoginError> {
        let script = what.script(shim);
        let said = self
            .change("remove what is ours", &script, CLEANING)
            .await?;
        Ok(Cleaned::of(&said))
    }

    async fn edit_keys(
        &self,
        mut edit: impl FnMut(&AuthorizedKeys) -> Result<Option<Vec<u8>>, LoginError>,
    ) -> Result<bool, LoginError> {
        const ATTEMPT: &str = "write `authorized_keys`";
        for _ in 0..TRIES {
            let (keys, sum) = self.read_keys().await?;
            let Some(text) = edit(&keys)? else {
                return Ok(false);
            };
            let mut text = text;
            if !text.is_empty() && !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            let script = Script::new(include_str!("keys-write.sh"))
                .set("seen", &sum)
                .text("keys", &text);
            match self.change(ATTEMPT, &script, BOUND).await {
                Ok(_) => return Ok(true),
                Err(LoginError::Refused { said, .. }) if said == "changed" => {}
                Err(error) => return Err(error),
            }
        }
        Err(LoginError::Refused {
            attempt: ATTEMPT,
            said: "others keep changing it".to_owned(),
        })
    }

    /// The keys, and the sum by which it is seen whether they change.
    async fn read_keys(&self) -> Result<(AuthorizedKeys, String), LoginError> {
        let script = Script::new(include_str!("keys-read.sh"));
        let answer = self.run("read `authorized_keys`", &script, BOUND).await?;
        summed(&answer.body)
    }

    /// Runs a script whose last line says that it is done, or why not.
    async fn change(
        &self,
        attempt: &'static str,
        script: &Script,
        bound: Duration,
    ) -> Result<Vec<String>, LoginError> {
        let answer = self.run(attempt, script, bound).await?;
        let lines: Vec<String> = answer.text().lines().map(str::to_owned).collect();
        match lines.last().map(String::as_str) {
            Some("written" | "done") => Ok(lines),
            last => Err(LoginError::Refused {
                attempt,
                said: match last.and_then(|line| line.strip_prefix("refused ")) {
                    Some(reason) => reason.to_owned(),
                    None => "it stopped midway".to_owned(),
                },
            }),
        }
    }

    async fn run(
        &self,
        attempt: &'static str,
        script: &Script,
        bound: Duration,
    ) -> Result<Answer, LoginError> {
        let turn = self.turn.clone().lock_owned().await;
        let command = ["sh".to_owned(), "-s".to_owned()];
        let session = self.link.channel(&command).await;
        let session = session.map_err(|source| LoginError::Ssh { source })?;
        let script = script.render();
        let ended = tokio::spawn(async move {
            let _turn = turn;
            timeout(bound, converse(session, &script)).await
        });
        match ended.await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => Err(LoginError::Silent {
                attempt,
                after: bound,
            }),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(LoginError::Stopped { attempt }),
            },
        }
    }
}

/// Reads what `keys-read.sh` printed. The sum says how many bytes must follow:
/// what is edited and written back must be the whole file.
fn summed(body: &[u8]) -> Result<(AuthorizedKeys, String), LoginError> {
    const ATTEMPT: &str = "read `authorized_keys`";
    let refused = |said: String| LoginError::Refused {
        attempt: ATTEMPT,
        said,
    };
    let end = body.iter().position(|byte| *byte == b'\n');
    let (sum, text) = end
        .and_then(|end| Some((&body[..end], body.get(end + 1..)?)))
        .ok_or_else(|| refused("it stopped midway".to_owned()))?;
    let sum = String::from_utf8_lossy(sum).into_owned();
    // `SUM BYTES`, or that there is none.
    let size = match sum.as_str() {
        NO_FILE => Some(0),
        sum => sum.split(' ').nth(1).and_then(|size| size.parse().ok()),
    };
    let size: usize = size.ok_or_else(|| refused(format!("`{sum}` is no check sum")))?;
    if size > LONGEST {
        return Err(LoginError::KeysTooLong);
    }
    match text.len() == size {
        true => Ok((AuthorizedKeys::new(text.to_vec()), sum)),
        false => Err(refused(format!("{} of {size} bytes came", text.len()))),
    }
}

/// Gives a session its script, and takes what it answers, if it came to its end.
async fn converse(session: Transport, script: &[u8]) -> Result<Answer, LoginError> {
    let Transport {
        reader,
        mut writer,
        peer,
    } = session;
    let send = async move {
        // Who does not read it will say so, or say nothing.
        let _ = writer.write_all(script).await;
        let _ = writer.shutdown().await;
        drop(writer);
    };
    let receive = async {
        let mut printed = Vec::new();
        let limit = LONGEST_ANSWER as u64 + 1;
        // A connection that is lost ends the answer, and leaves no exit status.
        let _ = reader.take(limit).read_to_end(&mut printed).await;
        printed
    };
    let ((), printed) = tokio::join!(send, receive);
    if printed.len() > LONGEST_ANSWER {
        return Err(LoginError::TooMuch);
    }
    let end = peer.ended(LAST_WORDS).await;
    match Answer::parse(&printed) {
        Ok(answer) if end.exit == Some(Exit::Status(0)) => Ok(answer),
        Ok(_) => Err(LoginError::Broken { source: end }),
        Err(said) => Err(LoginError::NoShell { said, source: end }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_only_whole() {
        let read = |body: &[u8]| match summed(body) {
            Ok((keys, sum)) => {
                let mark = Mark::new("b1", "client");
                assert_eq!(keys.command(None, &mark), None);
                sum
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(read(b"4038471504 8\nssh-rsa\n"), "4038471504 8");
        assert_eq!(read(b"no file\n"), "no file");
        let broken = "it could not read `authorized_keys`: ";
        for (body, why) in [
            (&b"4038471504 80\nssh-rsa\n"[..], "8 of 80 bytes came"),
            (b"4038471504 8", "it stopped midway"),
            (b"no file\nmore", "4 of 0 bytes came"),
            (b"ssh-rsa AAAA\n", "`ssh-rsa AAAA` is no check sum"),
            (b"", "it stopped midway"),
        ] {
            assert_eq!(read(body), format!("{broken}{why}"));
        }
    }
}
