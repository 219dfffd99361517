//! Starts the process that makes a sandbox, and waits for what it tells. That
//! process is this program again with a command of its own: it has one thread,
//! which user namespaces want, and its death ends every process of the build.

use std::ffi::OsString;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::ended::Ended;
use crate::error::SandboxError;
use crate::plan::Plan;
use crate::wire::{self, Report};

/// The command of the program that calls `init_main`.
pub const INIT_COMMAND: &str = "sandbox-init";

/// How to start a process that calls `init_main`.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl Launcher {
    /// This program itself, also when its file was replaced since it started.
    pub fn this_program() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            args: vec![INIT_COMMAND.into()],
        }
    }
}

/// What the build program writes to. It reads from `/dev/null`.
#[derive(Debug)]
pub struct Output {
    /// Its standard output.
    pub stdout: OwnedFd,
    /// Its standard error.
    pub stderr: OwnedFd,
}

/// A sandbox that is being made or runs its program. Dropping it ends the build
/// and waits until its processes are gone.
#[derive(Debug)]
pub struct Running {
    child: Child,
    control: Arc<UnixStream>,
}

/// Ends a build from another thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    control: Arc<UnixStream>,
}

impl Stopper {
    /// Ends the build, soon. [`Running::wait`] then tells what it used.
    pub fn stop(&self) {
        // Fails only where the other end is gone already.
        self.control.shutdown(Shutdown::Write).ok();
    }
}

/// Starts to carry out a plan.
pub fn spawn(plan: &Plan, launcher: &Launcher, output: Output) -> Result<Running, SandboxError> {
    let talk = |source| SandboxError::Talk { source };
    let (ours, theirs) = UnixStream::pair().map_err(talk)?;
    // Its standard input is the one descriptor that needs no care to inherit. With
    // no directory to enter, the process is started without copying this one.
    let child = Command::new(&launcher.program)
        .args(&launcher.args)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(output.stdout))
        .stderr(Stdio::from(output.stderr))
        .spawn()
        .map_err(|source| SandboxError::Spawn {
            program: launcher.program.clone(),
            source,
        })?;
    let running = Running {
        child,
        control: Arc::new(ours),
    };
    wire::send(&mut &*running.control, plan).map_err(talk)?;
    Ok(running)
}

impl Running {
    /// The id of the process that watches the build.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A handle that ends the build.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            control: Arc::clone(&self.control),
        }
    }

    /// Waits until every process of the build is gone.
    pub fn wait(mut self) -> Result<Ended, SandboxError> {
        let report = wire::receive::<Report>(&mut &*self.control);
        let status = self
            .child
            .wait()
            .map_err(|source| SandboxError::Talk { source })?;
        match report {
            Ok(Some(Report::Ended(ended))) => Ok(ended),
            Ok(Some(Report::Failed(error))) => Err(SandboxError::Setup(error)),
            Ok(None) => Err(SandboxError::Lost { status }),
            Err(source) => Err(SandboxError::Talk { source }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper().stop();
        // Both fail only where it was waited for.
        self.child.wait().ok();
    }
}
