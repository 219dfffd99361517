//! What keeps a machine from building, and what there is to know about it, by
//! what it said of itself. Pure.

use super::binary::Binary;
use super::survey::{Kvm, Survey};

/// What the worker needs besides its program, in bytes.
const ROOM: u64 = 256 << 20;

/// Less free space than this is worth a word, in bytes.
const LITTLE: u64 = 5 << 30;

/// File systems of the network, as `stat -f` names them.
const OF_THE_NETWORK: [&str; 10] = [
    "nfs", "nfs4", "cifs", "smb2", "afs", "lustre", "gpfs", "ceph", "beegfs", "fuseblk",
];

/// Why a machine cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// No Linux.
    #[error("it runs {kernel}, and the worker needs Linux")]
    Kernel {
        /// `uname -s`.
        kernel: String,
    },
    /// Our program does not run there.
    #[error("it is of architecture `{machine}`, and this program is for `{program}`")]
    Architecture {
        /// `uname -m`.
        machine: String,
        /// What the program is for.
        program: String,
    },
    /// Nothing can be put where Musher's files belong.
    #[error("no files can be made in `{path}`")]
    NotWritable {
        /// The directory.
        path: String,
    },
    /// Programs cannot be run where ours belong.
    #[error("programs in `{path}` cannot be run: the file system is mounted `noexec`")]
    NotExecutable {
        /// The directory.
        path: String,
    },
    /// Too little space.
    #[error("only {free_mib} MiB are free for `{path}`, and {needed_mib} MiB are needed")]
    DiskFull {
        /// The directory.
        path: String,
        /// Free there.
        free_mib: u64,
        /// Needed there.
        needed_mib: u64,
    },
    /// The user may store too little.
    #[error("the user's quota leaves only {free_mib} MiB, and {needed_mib} MiB are needed")]
    Quota {
        /// What it leaves.
        free_mib: u64,
        /// Needed.
        needed_mib: u64,
    },
    /// Start-up files print where the worker speaks.
    #[error("its login shell prints `{text}` where only the worker may speak")]
    Noise {
        /// The beginning of it.
        text: String,
    },
}

impl Obstacle {
    /// What the user can do.
    pub fn help(&self) -> String {
        match self {
            Self::Kernel { .. } => "builds for other systems need other machines".to_owned(),
            Self::Architecture { machine, .. } => format!(
                "give the static `musher` for `{machine}`, of this release, as `--binary FILE`"
            ),
            Self::NotWritable { .. } | Self::NotExecutable { .. } | Self::DiskFull { .. } => {
                "choose a directory on another file system there with `--dir DIR`".to_owned()
            }
            Self::Quota { .. } => {
                "make room, or choose a directory on another file system there with `--dir DIR`"
                    .to_owned()
            }
            Self::Noise { .. } => {
                "have the start-up files of the shell there (`~/.bashrc`, `~/.cshrc`) print \
                 nothing for sessions without a terminal"
                    .to_owned()
            }
        }
    }
}

/// What stands in the way of a machine; `noise` is what its login shell printed.
pub fn obstacles(survey: &Survey, noise: &str, binary: &Binary) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if survey.kernel != "Linux" {
        let kernel = survey.kernel.clone();
        return vec![Obstacle::Kernel { kernel }];
    }
    if !runs_on(binary.elf.architecture.as_deref(), &survey.architecture) {
        let program = binary.elf.architecture.clone();
        found.push(Obstacle::Architecture {
            machine: survey.architecture.clone(),
            program: program.unwrap_or_else(|| "another one".to_owned()),
        });
    }
    if !noise.is_empty() {
        found.push(Obstacle::Noise {
            text: noise.chars().take(80).collect(),
        });
    }
    let path = survey.files.path.clone();
    if !survey.files.writable {
        found.push(Obstacle::NotWritable { path });
    } else if !survey.files.executable {
        found.push(Obstacle::NotExecutable { path });
    }
    if !survey.state.writable {
        let path = survey.state.path.clone();
        found.push(Obstacle::NotWritable { path });
    }
    found.extend(full(survey, binary.size));
    found
}

/// The first place that has too little room.
fn full(survey: &Survey, program: u64) -> Option<Obstacle> {
    let mib = |bytes: u64| bytes >> 20;
    // The new program and one of the next release.
    let files = program.saturating_mul(2);
    let needs = [(&survey.files, files), (&survey.state, ROOM)];
    let place = needs.into_iter().find_map(|(place, needed)| {
        let free = place.free.filter(|free| *free < needed)?;
        Some(Obstacle::DiskFull {
            path: place.path.clone(),
            free_mib: mib(free),
            needed_mib: mib(needed),
        })
    });
    let needed = files + ROOM;
    place.or_else(|| {
        let free = survey.quota.filter(|free| *free < needed)?;
        Some(Obstacle::Quota {
            free_mib: mib(free),
            needed_mib: mib(needed),
        })
    })
}

/// Whether a program of one architecture runs on a machine of another.
fn runs_on(program: Option<&str>, machine: &str) -> bool {
    match (program, machine) {
        (Some("armv7l"), "armv8l") | (Some("i686"), "i386" | "i486" | "i586") => true,
        (Some(program), machine) => program == machine,
        (None, _) => false,
    }
}

/// What there is to know about a machine that can build.
pub fn notes(survey: &Survey) -> Vec<String> {
    let mut notes = Vec::new();
    let network = (survey.file_system.as_deref())
        .filter(|name| OF_THE_NETWORK.iter().any(|known| name.starts_with(known)));
    if let Some(name) = network {
        notes.push(format!(
            "`{}` is on `{name}`, a file system of the network: builds are slow there; `--dir` \
             chooses a local disk",
            survey.state.path
        ));
    }
    let free = survey.state.free.into_iter().chain(survey.quota).min();
    if let Some(free) = free.filter(|free| (ROOM..LITTLE).contains(free)) {
        notes.push(format!(
            "only {} MiB are left for the store; it is kept small, and large builds will not fit",
            free >> 20
        ));
    }
    if survey.ends_with_session {
        notes.push(format!(
            "logind ends what a session started (`KillUserProcesses`), so that builds there end \
             when the connection is lost; `loginctl enable-linger {}` there keeps them",
            survey.user
        ));
    }
    if survey.kvm == Kvm::Forbidden {
        notes.push(format!(
            "there is `/dev/kvm`, but `{}` may not use it: add the user to the group `kvm` there",
            survey.user
        ));
    }
    if survey.nix.is_some() {
        notes.push(
            "it has stock Nix too, which is left alone; `connect = \"ssh-ng://…\"` would use that"
                .to_owned(),
        );
    }
    for mode in &survey.modes {
        if mode.is_open_to_others(survey.uid) {
            notes.push(format!(
                "others may write to `{}` (`{}`): sshd takes no keys from there, unless \
                 `StrictModes` is off",
                mode.path, mode.mode
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: &str = "kernel Linux\nrelease 6.1\nhost b\nuser u\nuid 1000\nhome /h\nfiles /f\n\
                        state /s\nfiles-writable yes\nfiles-executable yes\nstate-writable yes\n";

    #[track_caller]
    fn check(more: &str, noise: &str, expected: &[&str]) {
        let arch = std::env::consts::ARCH;
        let survey = Survey::parse(&format!("{more}\n{WELL}architecture {arch}\n"));
        let binary = Binary::own().expect("this program");
        let found = obstacles(&survey.expect("a survey"), noise, &binary);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_machine_that_can_build_has_none() {
        check("", "", &[]);
        check(
            "free-kib 99999999\nfiles-free-kib 99999999\nquota-kib 99999999",
            "",
            &[],
        );
    }

    #[test]
    fn each_has_its_words() {
        check(
            "kernel FreeBSD",
            "",
            &["it runs FreeBSD, and the worker needs Linux"],
        );
        check(
            "files-executable no",
            "Hi!",
            &[
                "its login shell prints `Hi!` where only the worker may speak",
                "programs in `/f` cannot be run: the file system is mounted `noexec`",
            ],
        );
        check("files-writable no", "", &["no files can be made in `/f`"]);
        check(
            "free-kib 1024",
            "",
            &["only 1 MiB are free for `/s`, and 256 MiB are needed"],
        );
        let other = Obstacle::Architecture {
            machine: "aarch64".to_owned(),
            program: "x86_64".to_owned(),
        };
        assert!(other.help().contains("static `musher` for `aarch64`"));
    }

    #[test]
    fn what_there_is_to_know_is_said() {
        let survey = |more: &str| {
            let text = format!("{more}\n{WELL}architecture x86_64\n");
            notes(&Survey::parse(&text).expect("a survey"))
        };
        assert_eq!(survey("file-system ext2/ext3"), [""; 0]);
        for more in [
            "file-system nfs",
            "free-kib 1048576",
            "quota-kib 1048576",
            "ends-with-session yes",
            "kvm forbidden",
            "nix /usr/bin/nix-daemon",
            "mode drwxrwxrwx 1000 /h",
        ] {
            assert_eq!(survey(more).len(), 1, "{more}");
        }
    }

    #[test]
    fn programs_run_on_siblings() {
        assert!(runs_on(Some("i686"), "i586"));
        assert!(!runs_on(Some("x86_64"), "aarch64"));
        assert!(!runs_on(None, "x86_64"));
    }
}
