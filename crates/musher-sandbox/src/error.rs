//! What goes wrong between a request and a running build program, told apart
//! from how the program itself ends.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use serde::{Deserialize, Serialize};

use crate::raw;

/// A request that no sandbox can be made from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A path that must begin at the root, and have no `.` or `..`.
    #[error("{what} is `{path}`, which is no plain absolute path")]
    Path {
        /// What it was to be.
        what: &'static str,
        /// What was given.
        path: PathBuf,
    },
    /// The root directory itself, or what the sandbox makes itself.
    #[error("{what} cannot be `{path}`")]
    Taken {
        /// What it was to be.
        what: &'static str,
        /// What was given.
        path: PathBuf,
    },
    /// Two different things in one place.
    #[error("both `{first}` and `{second}` were to be seen as `{target}`")]
    Twice {
        /// The place.
        target: PathBuf,
        /// One source.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The build directory and the store directory overlap.
    #[error("the build directory `{build}` and the store directory `{store}` overlap")]
    Overlap {
        /// The build directory, as seen inside.
        build: PathBuf,
        /// The store directory.
        store: PathBuf,
    },
    /// A name of an input that is not one file name.
    #[error("`{name}` is no name below a store directory")]
    Input {
        /// What was given.
        name: String,
    },
    /// A string that cannot be handed to a program.
    #[error("{what} holds a NUL byte, or is empty where it must not be")]
    Text {
        /// Which.
        what: String,
    },
    /// A name that no variable of an environment can have.
    #[error("`{name}` is no name of a variable")]
    Variable {
        /// What was given.
        name: String,
    },
    /// The ids of a slot are root's.
    #[error("a build cannot be given root's ids")]
    Root,
}

/// A step of the set-up that failed: what was attempted, on what, and what the
/// kernel said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", self.text())]
pub struct SetupError {
    /// What was attempted.
    pub attempt: Attempt,
    /// On which file or directory.
    #[serde(with = "raw")]
    pub path: PathBuf,
    /// What the kernel answered.
    pub errno: i32,
}

/// What the set-up of a sandbox attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attempt {
    /// Reading the plan.
    ReadPlan,
    /// Joining a control group.
    JoinCgroup,
    /// Making a user namespace.
    UserNamespace,
    /// Mapping the ids of a user namespace.
    MapIds,
    /// Making the outer process namespace.
    Supervise,
    /// Making the other namespaces.
    Namespaces,
    /// Naming the host.
    HostName,
    /// Bringing up the loopback device.
    Loopback,
    /// Cutting the mounts off from the machine's.
    PrivateMounts,
    /// Mounting the new root directory.
    MountRoot,
    /// Making a directory.
    MakeDirectory,
    /// Writing a file.
    WriteFile,
    /// Making a symbolic link.
    MakeLink,
    /// Finding what shall be mounted.
    FindSource,
    /// Making what it shall be mounted on.
    MakeTarget,
    /// Mounting a file or directory.
    Bind,
    /// Making a mount read-only.
    Restrict,
    /// Mounting `/proc`.
    MountProc,
    /// Mounting `/dev/shm`.
    MountShm,
    /// Mounting `/dev/pts`.
    MountTerminals,
    /// Changing the root directory.
    ChangeRoot,
    /// Leaving the session's keys behind.
    Keyring,
    /// Setting a limit.
    Limit,
    /// Setting the personality.
    Personality,
    /// Becoming the build's user.
    ChangeIds,
    /// Giving up privileges.
    DropPrivileges,
    /// Keeping abstract sockets out of reach.
    Landlock,
    /// Filtering system calls.
    Filter,
    /// Entering the build directory.
    EnterDirectory,
    /// Starting the build program.
    Execute,
}

impl Attempt {
    fn text(self) -> &'static str {
        match self {
            Self::ReadPlan => "read the plan",
            Self::JoinCgroup => "join the control group",
            Self::UserNamespace => "make a user namespace",
            Self::MapIds => "map the ids of the user namespace",
            Self::Supervise => "make a process namespace",
            Self::Namespaces => "make the build's namespaces",
            Self::HostName => "set the host name",
            Self::Loopback => "bring up the loopback device",
            Self::PrivateMounts => "make the mounts private",
            Self::MountRoot => "mount the root directory",
            Self::MakeDirectory => "make the directory",
            Self::WriteFile => "write the file",
            Self::MakeLink => "make the link",
            Self::FindSource => "find",
            Self::MakeTarget => "make a place to mount on",
            Self::Bind => "mount",
            Self::Restrict => "make the mount read-only",
            Self::MountProc => "mount",
            Self::MountShm => "mount",
            Self::MountTerminals => "mount",
            Self::ChangeRoot => "change the root directory",
            Self::Keyring => "leave the session's keys behind",
            Self::Limit => "set the limit",
            Self::Personality => "set the personality",
            Self::ChangeIds => "become the build's user",
            Self::DropPrivileges => "give up privileges",
            Self::Landlock => "keep abstract sockets out of reach",
            Self::Filter => "filter system calls",
            Self::EnterDirectory => "enter the directory",
            Self::Execute => "run",
        }
    }
}

impl SetupError {
    fn text(&self) -> String {
        let attempt = self.attempt.text();
        let cause = io::Error::from_raw_os_error(self.errno);
        if self.path.as_os_str().is_empty() {
            format!("cannot {attempt}: {cause}")
        } else {
            format!("cannot {attempt} `{}`: {cause}", self.path.display())
        }
    }
}

/// What stopped a sandbox from being made, or from telling how it ended. A build
/// program that fails is no error: see [`Ended`](crate::Ended).
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The process that makes the sandbox did not start.
    #[error("cannot start `{program}`")]
    Spawn {
        /// What was to run.
        program: PathBuf,
        /// Why it did not.
        #[source]
        source: io::Error,
    },
    /// Talking with that process failed.
    #[error("cannot talk with the process that makes the sandbox")]
    Talk {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A step of the set-up failed; the build program never ran.
    #[error("cannot make the sandbox")]
    Setup(#[source] SetupError),
    /// The process that watches the build was ended, and the build with it.
    #[error("the process that watches the build ended with {status}")]
    Lost {
        /// How it ended.
        status: ExitStatus,
    },
}

impl SandboxError {
    /// Advice the user can act on, if there is any.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Setup(error) => error.help(),
            Self::Lost { .. } => {
                Some("it was killed from outside, perhaps for memory: see `dmesg`".to_owned())
            }
            Self::Spawn { .. } | Self::Talk { .. } => None,
        }
    }
}
