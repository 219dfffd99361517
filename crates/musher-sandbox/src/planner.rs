//! Turns a request into a plan. Pure: it looks at no file, so whether sources
//! exist and what the kernel allows shows only when the plan is carried out.

mod check;
mod etc;

use std::path::{Path, PathBuf};

use crate::error::PlanError;
use crate::plan::{MountCalls, Plan, Program, Step};
use crate::request::{Bind, Isolation, Network, Request};

/// Devices that every build sees, as in Nix.
const DEVICES: [&str; 6] = [
    "/dev/full",
    "/dev/null",
    "/dev/random",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
];

/// What programs expect in `/dev` beside devices.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Files that name things of the machine's network.
const RESOLVER: [&str; 3] = ["/etc/resolv.conf", "/etc/services", "/etc/hosts"];

/// Where programs look for certificates, as in Nix.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Decides what the sandbox for this request consists of.
pub fn plan(request: &Request) -> Result<Plan, PlanError> {
    check::request(request)?;
    let isolated = request.isolation == Isolation::Full;
    let dir = if isolated {
        &request.build_dir_inside
    } else {
        &request.build_dir
    };
    Ok(Plan {
        isolation: request.isolation,
        join: request.cgroup.clone(),
        identity: request.identity,
        inside: request.inside,
        host_network: !isolated || request.network != Network::Loopback,
        root: request.scratch.join("root"),
        steps: if isolated { steps(request) } else { Vec::new() },
        mounts: MountCalls::Detect,
        limits: request.limits,
        disk: if isolated {
            request.scratch.clone()
        } else {
            request.build_dir.clone()
        },
        personality: request.personality,
        filter_syscalls: request.filter_syscalls,
        kvm: request.kvm,
        program: Some(Program {
            path: request.program.clone(),
            args: request.args.clone(),
            env: request.env.clone(),
            dir: dir.clone(),
        }),
    })
}

/// Parents come before children, and what a setting puts somewhere before what
/// is there by default.
fn steps(request: &Request) -> Vec<Step> {
    let asked = |path: &str| {
        request
            .binds
            .iter()
            .any(|bind| bind.target == Path::new(path))
    };
    let mut steps = etc::steps(request);
    steps.extend(own_directories(request));
    steps.push(Step::Inputs {
        source: request.store.real.clone(),
        target: request.store.dir.clone(),
        names: request.store.inputs.iter().cloned().collect(),
    });
    if !asked("/dev") {
        steps.extend(devices(request));
    }
    if let Network::Host { certificates } = &request.network {
        steps.extend(network_files(certificates.as_deref(), &asked));
    }
    steps.extend(binds(request).into_iter().map(|bind| Step::Bind {
        bind,
        follow: false,
    }));
    if !asked("/dev") {
        if !asked("/dev/shm") {
            steps.push(Step::Shm {
                size: request.shm_size.clone(),
            });
        }
        if !asked("/dev/pts") {
            steps.push(Step::Terminals);
        }
    }
    steps.push(Step::Proc);
    steps.push(Step::Close {
        path: PathBuf::from("/"),
    });
    steps
}

/// Where the build may write: its store directory, `/tmp`, its build directory.
fn own_directories(request: &Request) -> [Step; 3] {
    [
        Step::Own {
            source: request.own_store(),
            target: request.store.dir.clone(),
            mode: Some(0o1775),
        },
        Step::Own {
            source: request.scratch.join("tmp"),
            target: PathBuf::from("/tmp"),
            mode: Some(0o1777),
        },
        Step::Own {
            source: request.build_dir.clone(),
            target: request.build_dir_inside.clone(),
            mode: None,
        },
    ]
}

fn devices(request: &Request) -> Vec<Step> {
    let kvm = request.kvm.then_some("/dev/kvm");
    let devices = DEVICES.into_iter().chain(kvm);
    devices
        .filter(|path| {
            !request
                .binds
                .iter()
                .any(|bind| bind.target == Path::new(path))
        })
        .map(|path| Step::Device {
            path: PathBuf::from(path),
        })
        .chain(DEVICE_LINKS.map(|(path, to)| Step::Link {
            path: path.into(),
            to: to.into(),
        }))
        .collect()
}

/// How a fixed-output derivation finds names, services and whom to trust.
fn network_files(certificates: Option<&Path>, asked: &dyn Fn(&str) -> bool) -> Vec<Step> {
    let bind = |source: &Path, target: &str| {
        let (source, target) = (source.to_path_buf(), PathBuf::from(target));
        // Resolvers are often links to files that only the machine has.
        Step::Bind {
            bind: Bind {
                source,
                target,
                writable: false,
                optional: true,
            },
            follow: true,
        }
    };
    let mut steps: Vec<Step> = RESOLVER
        .into_iter()
        .filter(|path| !asked(path))
        .map(|path| bind(Path::new(path), path))
        .collect();
    if let Some(certificates) = certificates.filter(|_| !asked(CERTIFICATES)) {
        steps.push(bind(certificates, CERTIFICATES));
    }
    steps
}

/// What settings ask for, outer before inner. Nix skips `/proc`, and so do we.
fn binds(request: &Request) -> Vec<Bind> {
    let mut binds: Vec<Bind> = request
        .binds
        .iter()
        .filter(|bind| bind.source != Path::new("/proc"))
        .cloned()
        .collect();
    binds.sort_by(|a, b| a.target.cmp(&b.target));
    binds.dedup();
    binds
}

#[cfg(test)]
mod tests;
