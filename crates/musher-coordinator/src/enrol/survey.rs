//! What a machine says of itself. Knows how to read it, not what to make of it.

use super::script::Script;

const SCRIPT: &str = include_str!("survey.sh");

/// The longest value that is believed.
const LONGEST: usize = 4096;

/// What was found out about a machine before anything was put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// `uname -s`: `Linux`.
    pub kernel: String,
    /// `uname -r`.
    pub release: String,
    /// `uname -m`: `x86_64`, `aarch64`, …
    pub architecture: String,
    /// The name it has for itself.
    pub host: String,
    /// Who we are there.
    pub user: String,
    /// Our user id there.
    pub uid: u32,
    /// The home directory there.
    pub home: String,
    /// The login shell, where it says so.
    pub shell: Option<String>,
    /// The processors that we may use.
    pub cores: u32,
    /// The memory, in bytes.
    pub memory: Option<u64>,
    /// Where our programs shall be.
    pub files: Place,
    /// Where the worker's store and state shall be.
    pub state: Place,
    /// The kind of file system of `state`, as `stat -f` names it.
    pub file_system: Option<String>,
    /// How many bytes the user's quota leaves, where there is one.
    pub quota: Option<u64>,
    /// Whether there is `/dev/kvm`, and whether we may use it.
    pub kvm: Kvm,
    /// A program of stock Nix, where there is one.
    pub nix: Option<String>,
    /// Whether some program makes SHA-256 sums there.
    pub has_checksums: bool,
    /// Files whose modes sshd looks at before it takes a key.
    pub modes: Vec<FileMode>,
    /// Whether an `x86_64` runs programs of the `i686` too.
    pub runs_i686: bool,
    /// Whether what a session started is ended with it.
    pub ends_with_session: bool,
}

/// A directory that shall be, judged by the nearest that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its absolute path.
    pub path: String,
    /// Whether files can be made there.
    pub writable: bool,
    /// Whether programs can be run there.
    pub executable: bool,
    /// The bytes that are free there, where it is known.
    pub free: Option<u64>,
}

/// What `/dev/kvm` is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kvm {
    /// We may use it.
    Usable,
    /// It is there, and not for us.
    Forbidden,
    /// There is none.
    Absent,
}

/// A file's mode as `ls -l` has it, and its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMode {
    /// `drwxr-xr-x`.
    pub mode: String,
    /// The owner's number.
    pub uid: u32,
    /// The file.
    pub path: String,
}

/// A machine that did not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it does not say its `{what}`")]
pub struct SurveyError {
    /// What is missing, or cannot be read.
    pub what: &'static str,
}

impl Survey {
    /// The script that finds all this out. It changes nothing. With `dir` all
    /// of Musher's files there are to be below that directory.
    pub(crate) fn script(dir: Option<&str>) -> Script {
        Script::new(SCRIPT).set("dir", dir.unwrap_or_default())
    }

    /// Reads what the script printed: lines of a word and a value. Words that
    /// are not known are skipped.
    pub fn parse(text: &str) -> Result<Self, SurveyError> {
        let lines = Lines(text);
        let place = |what, free: Option<u64>| {
            let path = lines.required(what)?;
            Ok(Place {
                writable: lines.flag(&format!("{what}-writable")),
                executable: lines.flag(&format!("{what}-executable")),
                path,
                free,
            })
        };
        Ok(Self {
            kernel: lines.required("kernel")?,
            release: lines.required("release")?,
            architecture: lines.required("architecture")?,
            host: lines.required("host")?,
            user: lines.required("user")?,
            uid: lines.number("uid").ok_or(SurveyError { what: "uid" })?,
            home: lines.required("home")?,
            shell: lines.value("shell").map(str::to_owned),
            cores: lines.number("cores").unwrap_or(1).max(1),
            memory: lines.kib("memory-kib"),
            files: place("files", lines.kib("files-free-kib"))?,
            state: place("state", lines.kib("free-kib"))?,
            file_system: lines.value("file-system").map(str::to_owned),
            quota: lines.kib("quota-kib"),
            kvm: match lines.value("kvm") {
                Some("usable") => Kvm::Usable,
                Some(_) => Kvm::Forbidden,
                None => Kvm::Absent,
            },
            nix: lines.value("nix").map(str::to_owned),
            has_checksums: lines.value("checksum").is_some(),
            modes: lines.all("mode").filter_map(FileMode::parse).collect(),
            runs_i686: lines.value("runs") == Some("i686"),
            ends_with_session: lines.flag("ends-with-session"),
        })
    }
}

impl FileMode {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        Some(Self {
            mode: words.next()?.to_owned(),
            uid: words.next()?.parse().ok()?,
            path: words.next()?.to_owned(),
        })
    }

    /// Whether somebody else than `uid` and root may write it, so that sshd
    /// does not trust it.
    pub fn is_open_to_others(&self, uid: u32) -> bool {
        let may_write = |at| self.mode.as_bytes().get(at) == Some(&b'w');
        // `drwxrwxrwx`: the writing of group and others.
        may_write(5) || may_write(8) || (self.uid != uid && self.uid != 0)
    }
}

/// Lines of a word and a value.
struct Lines<'a>(&'a str);

impl<'a> Lines<'a> {
    fn all(&self, word: &str) -> impl Iterator<Item = &'a str> {
        self.0.lines().filter_map(move |line| {
            let (found, value) = line.split_once(' ')?;
            (found == word && value.len() <= LONGEST).then_some(value.trim())
        })
    }

    fn value(&self, word: &str) -> Option<&'a str> {
        self.all(word).next()
    }

    fn required(&self, word: &'static str) -> Result<String, SurveyError> {
        let value = self.value(word).filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or(SurveyError { what: word })
    }

    fn number<T: std::str::FromStr>(&self, word: &str) -> Option<T> {
        self.value(word)?.parse().ok()
    }

    fn kib(&self, word: &str) -> Option<u64> {
        // A quota can be exceeded, which leaves less than nothing.
        let kib = self.number::<i64>(word)?;
        u64::try_from(kib).unwrap_or(0).checked_mul(1024)
    }

    fn flag(&self, word: &str) -> bool {
        self.value(word) == Some("yes")
    }
}

#[cfg(test)]
mod tests;
