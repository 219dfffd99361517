//! What is asked of the sandbox for one build. Decides; makes nothing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use musher_protocol::types::BasicDerivation;
use musher_sandbox::{Bind, Identity, Ids, Isolation, Network, Personality, Request, StoreView};

use super::Settings;
use super::environment::Environment;
use super::kind::Kind;
use super::rewrites::Rewrites;
use super::room::Room;

/// The build directory as a build in a sandbox sees it.
pub(super) const BUILD_TOP: &str = "/build";

/// The program that serves builtins, as a build in a sandbox sees it.
const BUILTIN_PROGRAM: &str = "/.musher";

/// What the build program is.
#[derive(Debug, Clone)]
pub(super) enum BuildProgram {
    /// The derivation's own.
    Own,
    /// One of ours, with its file on this machine and its arguments.
    Builtin {
        /// The file.
        program: PathBuf,
        /// Its arguments, without its name.
        args: Vec<OsString>,
    },
}

/// A build, as far as its sandbox goes.
#[derive(Debug)]
pub(super) struct Build<'a> {
    /// The derivation.
    pub(super) derivation: &'a BasicDerivation,
    /// Its kind.
    pub(super) kind: Kind,
    /// What runs.
    pub(super) program: BuildProgram,
    /// With what around it.
    pub(super) environment: &'a Environment,
    /// What is replaced in its arguments.
    pub(super) rewrites: &'a Rewrites,
    /// Whether there is a sandbox.
    pub(super) sandboxed: bool,
    /// Its directories.
    pub(super) room: &'a Room,
    /// The store it sees.
    pub(super) store: StoreView,
    /// What of the machine it sees besides.
    pub(super) binds: Vec<Bind>,
    /// Who it is on the machine, if not the executor.
    pub(super) ids: Option<Ids>,
    /// The control group it joins.
    pub(super) cgroup: Vec<PathBuf>,
}

impl Build<'_> {
    /// What is asked of the sandbox.
    pub(super) fn request(self, settings: &Settings) -> Request {
        let env = self.environment.variables.iter();
        let env =
            env.map(|(name, value)| (OsString::from(name), OsString::from_vec(value.clone())));
        let mut binds = self.binds;
        let (program, args) = match self.program {
            BuildProgram::Own => own_program(self.derivation, self.rewrites),
            BuildProgram::Builtin { program, args } => {
                builtin_program(program, args, self.sandboxed, &mut binds)
            }
        };
        Request {
            isolation: match self.sandboxed {
                true => Isolation::Full,
                false => Isolation::None,
            },
            program,
            args,
            env: env.collect(),
            store: self.store,
            scratch: self.room.scratch(),
            build_dir: self.room.build_dir(),
            build_dir_inside: PathBuf::from(BUILD_TOP),
            binds,
            network: match self.kind.is_open() {
                true => Network::Host {
                    certificates: settings.certificates.clone(),
                },
                false => Network::Loopback,
            },
            identity: self.ids.map_or(Identity::Rootless, Identity::Slot),
            inside: Ids::NIXBLD,
            personality: personality(&self.derivation.system, std::env::consts::ARCH),
            kvm: settings.features.contains("kvm"),
            filter_syscalls: settings.filter_syscalls,
            shm_size: settings.shm_size.clone(),
            limits: settings.limits,
            cgroup: self.cgroup,
        }
    }
}

/// The derivation's program, called by its file's name.
fn own_program(derivation: &BasicDerivation, rewrites: &Rewrites) -> (PathBuf, Vec<OsString>) {
    let program = PathBuf::from(&derivation.builder);
    let name = program.file_name().unwrap_or(program.as_os_str());
    let args = derivation.args.iter();
    let args = args.map(|arg| OsString::from_vec(rewrites.apply(arg.as_bytes())));
    let args = std::iter::once(name.to_owned()).chain(args).collect();
    (program, args)
}

fn builtin_program(
    program: PathBuf,
    args: Vec<OsString>,
    sandboxed: bool,
    binds: &mut Vec<Bind>,
) -> (PathBuf, Vec<OsString>) {
    let args = std::iter::once(OsString::from("musher"))
        .chain(args)
        .collect();
    if !sandboxed {
        return (program, args);
    }
    binds.push(Bind {
        source: program,
        target: PathBuf::from(BUILTIN_PROGRAM),
        writable: false,
        optional: false,
    });
    (PathBuf::from(BUILTIN_PROGRAM), args)
}

/// Which machine a program for `system` expects, on a machine of
/// `architecture`.
fn personality(system: &str, architecture: &str) -> Personality {
    match (architecture, system) {
        ("x86_64", "i686-linux")
        | ("aarch64", "armv7l-linux" | "armv6l-linux" | "armv5tel-linux") => Personality::Linux32,
        _ => Personality::Native,
    }
}

/// Where the build directory is for the build.
pub(super) fn build_top(sandboxed: bool, room: &Room) -> String {
    match sandboxed {
        true => BUILD_TOP.to_owned(),
        false => text(&room.build_dir()),
    }
}

/// Paths of ours are UTF-8 wherever that matters.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_systems_get_an_old_machine() {
        let linux32 = Personality::Linux32;
        assert_eq!(personality("i686-linux", "x86_64"), linux32);
        assert_eq!(personality("armv7l-linux", "aarch64"), linux32);
        assert_eq!(personality("x86_64-linux", "x86_64"), Personality::Native);
        assert_eq!(personality("i686-linux", "aarch64"), Personality::Native);
    }
}
