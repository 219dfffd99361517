//! Tries out on this machine what sandboxes need, and says what is missing, why,
//! and what to do. It makes a sandbox as builds get it, but runs nothing in it.

mod machine;

use std::fs::File;
use std::io;
use std::path::Path;

use crate::cgroup::Cgroups;
use crate::ended::Accounting;
use crate::error::{Attempt, SandboxError, SetupError};
use crate::init::abstract_sockets_are_kept;
use crate::limits::Limits;
use crate::plan::Plan;
use crate::planner::plan;
use crate::request::{Identity, Ids, Isolation, Network, Personality, Request, StoreView};
use crate::spawn::{Launcher, Output, Running, spawn};

use machine::Machine;

/// What a machine can do for builds.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Whether builds can be isolated.
    pub sandbox: bool,
    /// Who counts what builds use.
    pub accounting: Accounting,
    /// What is missing, the worst first.
    pub findings: Vec<Finding>,
}

/// One thing that a machine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it costs.
    pub loss: Loss,
    /// What was attempted, and what came of it.
    pub what: String,
    /// Why, as far as the machine tells.
    pub cause: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

/// What it costs that something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// No build can be isolated.
    Sandbox,
    /// Builds with network reach abstract sockets.
    AbstractSockets,
    /// Memory is neither limited nor counted for a build as a whole.
    Accounting,
}

/// Tries everything out, with a scratch directory below `dir`. The cost is that of
/// one build. `slot` says for root which ids to try.
pub fn probe(launcher: &Launcher, dir: &Path, slot: Ids) -> io::Result<Probe> {
    let mut findings = Vec::new();
    let machine = Machine::read();
    let root = rustix::process::geteuid().is_root();
    let identity = if root {
        Identity::Slot(slot)
    } else {
        Identity::Rootless
    };
    let scratch = Scratch::make(dir)?;
    if let Err(error) = rehearse(launcher, &scratch, identity)? {
        findings.push(finding(&error, &machine, root));
    }
    let sandbox = findings.is_empty();
    if !abstract_sockets_are_kept() {
        findings.push(Finding {
            loss: Loss::AbstractSockets,
            what: "builds with network reach the machine's abstract sockets".to_owned(),
            cause: Some("the kernel has no Landlock scopes, which came with Linux 6.12".to_owned()),
            help: None,
        });
    }
    let cgroups = Cgroups::discover();
    if let Some(why) = cgroups.missing() {
        findings.push(Finding {
            loss: Loss::Accounting,
            what: "memory is neither limited nor counted for a build as a whole".to_owned(),
            cause: Some(why.to_owned()),
            help: machine.systemd().then(|| {
                "start the worker with `systemd-run --user --scope -p Delegate=yes`".to_owned()
            }),
        });
    }
    Ok(Probe {
        sandbox,
        accounting: cgroups.accounting(),
        findings,
    })
}

/// A directory for one attempt.
struct Scratch {
    path: std::path::PathBuf,
}

impl Scratch {
    fn make(dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!("probe-{}", std::process::id()));
        for part in ["store", "build", "scratch"] {
            std::fs::create_dir_all(path.join(part))?;
        }
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Empty directories of ours, at worst.
        std::fs::remove_dir_all(&self.path).ok();
    }
}

/// Makes a sandbox with an input of each kind of mount, and runs nothing in it.
fn rehearse(
    launcher: &Launcher,
    scratch: &Scratch,
    identity: Identity,
) -> io::Result<Result<(), SandboxError>> {
    let input = "00000000000000000000000000000000-probe";
    std::fs::create_dir_all(scratch.path.join("store").join(input))?;
    let request = Request {
        isolation: Isolation::Full,
        program: "/".into(),
        args: vec!["probe".into()],
        env: Vec::new(),
        store: StoreView {
            dir: "/store".into(),
            real: scratch.path.join("store"),
            inputs: [input.to_owned()].into(),
        },
        scratch: scratch.path.join("scratch"),
        build_dir: scratch.path.join("build"),
        build_dir_inside: "/build".into(),
        binds: Vec::new(),
        network: Network::Loopback,
        identity,
        inside: Ids::NIXBLD,
        personality: Personality::Native,
        kvm: false,
        filter_syscalls: true,
        shm_size: "50%".to_owned(),
        limits: Limits::default(),
        cgroup: Vec::new(),
    };
    let plan = plan(&request).map_err(io::Error::other)?;
    let null = || {
        File::options()
            .write(true)
            .open("/dev/null")
            .map(Into::into)
    };
    let output = Output {
        stdout: null()?,
        stderr: null()?,
    };
    let rehearsal = Plan {
        program: None,
        ..plan
    };
    Ok(spawn(&rehearsal, launcher, output)
        .and_then(Running::wait)
        .map(drop))
}

fn finding(error: &SandboxError, machine: &Machine, root: bool) -> Finding {
    let (what, cause, help) = match error {
        SandboxError::Setup(setup) => {
            let (cause, help) = explain(setup, machine, root).unzip();
            (setup.to_string(), cause, help.or_else(|| setup.help()))
        }
        SandboxError::Spawn { source, .. } | SandboxError::Talk { source } => {
            (error.to_string(), Some(source.to_string()), None)
        }
        SandboxError::Lost { .. } => (error.to_string(), None, error.help()),
    };
    Finding {
        loss: Loss::Sandbox,
        what,
        cause,
        help,
    }
}

/// What fails where user namespaces are refused, or come without rights.
const OF_NAMESPACES: [Attempt; 8] = [
    Attempt::UserNamespace,
    Attempt::MapIds,
    Attempt::Supervise,
    Attempt::Namespaces,
    Attempt::PrivateMounts,
    Attempt::MountRoot,
    Attempt::HostName,
    Attempt::Loopback,
];

/// Why an attempt failed, and what to do, as far as the machine's settings tell:
/// the first that fits.
fn explain(setup: &SetupError, machine: &Machine, root: bool) -> Option<(String, String)> {
    let about_users = OF_NAMESPACES.contains(&setup.attempt);
    let causes = [
        (machine.chroot, machine::CHROOT),
        (setup.attempt == Attempt::MountProc, machine::HIDDEN_PROC),
        (
            about_users && machine.no_user_namespaces,
            machine::NONE_ALLOWED,
        ),
        (
            about_users && !root && machine.not_for_users,
            machine::NOT_FOR_USERS,
        ),
        (about_users && !root && machine.apparmor, machine::APPARMOR),
        (about_users && machine.filtered, machine::CONTAINER),
    ];
    let (_, (cause, help)) = causes.into_iter().find(|(fits, _)| *fits)?;
    Some((cause.to_owned(), help.to_owned()))
}
