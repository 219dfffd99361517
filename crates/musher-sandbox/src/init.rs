//! The process that carries a plan out. Three of them, in fact:
//!
//! ```text
//! first     the caller's child; joins the control group, makes the user
//!    │      namespace if rootless, and waits
//! watcher   process 1 of a namespace of its own, so that its death takes every
//!    │      process of the build along; counts, and ends what must be ended
//! inside    process 1 of a namespace within that; makes the sandbox around
//!           itself and becomes the build program
//! ```
//!
//! All have one thread. The program that calls this has done nothing else yet.

mod descriptors;
mod environment;
mod execute;
mod filter;
mod identity;
mod inside;
mod landlock;
mod mounts;
mod sys;
mod tree;
mod watch;

use std::convert::Infallible;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{self as processes, Signal};

use crate::error::{Attempt, SetupError};
use crate::plan::Plan;
use crate::request::{Identity, Isolation};
use crate::wire::{self, Report};

pub use landlock::is_there as abstract_sockets_are_kept;

/// Reads a plan from its standard input, carries it out, and never returns.
/// What came of it is said to the other end of that socket. The process must
/// have one thread only, and standard output and error are the build's.
pub fn init_main() -> ! {
    let code = match descriptors::take_control() {
        Ok(control) => first(&control),
        Err(_) => 1,
    };
    process::exit(code)
}

/// The first process.
fn first(control: &UnixStream) -> i32 {
    let Ok(Some(plan)) = wire::receive::<Plan>(&mut &*control) else {
        return fail(control, failure(Attempt::ReadPlan, "")(Errno::INVAL));
    };
    let Err(error) = carry_out(control, &plan);
    fail(control, error)
}

fn fail(control: &UnixStream, error: SetupError) -> i32 {
    // If nobody listens there is nobody to tell.
    wire::send(&mut &*control, &Report::Failed(error)).ok();
    1
}

fn carry_out(control: &UnixStream, plan: &Plan) -> Result<Infallible, SetupError> {
    // Signals of a terminal are for the caller, who then ends us in good order.
    processes::setsid().ok();
    // Whatever directory the caller was in can be unmounted.
    processes::chdir("/").map_err(failure(Attempt::EnterDirectory, "/"))?;
    for file in &plan.join {
        fs::write(file, "0").map_err(|error| refused(Attempt::JoinCgroup, file)(&error))?;
    }
    if plan.isolation == Isolation::None {
        watch::bare(control, plan)
    }
    let root = processes::geteuid().is_root();
    match plan.identity {
        // A build as root itself would own what protects the machine from it.
        Identity::Rootless if root => return Err(failure(Attempt::ChangeIds, "")(Errno::PERM)),
        Identity::Slot(_) if !root => return Err(failure(Attempt::ChangeIds, "")(Errno::PERM)),
        Identity::Rootless => identity::own_namespace(plan.inside)?,
        Identity::Slot(_) => {}
    }
    let (alive, held) = pipe_with(PipeFlags::CLOEXEC).map_err(failure(Attempt::Supervise, ""))?;
    match sys::fork(libc::CLONE_NEWPID).map_err(failure(Attempt::Supervise, ""))? {
        Some(watcher) => {
            drop(alive);
            descriptors::let_output_go();
            processes::waitpid(Some(watcher), processes::WaitOptions::empty()).ok();
            process::exit(0)
        }
        None => {
            drop(held);
            processes::set_parent_process_death_signal(Some(Signal::KILL)).ok();
            watch::namespaced(control, plan, &alive)
        }
    }
}

/// An error of an attempt on a path, from what the kernel said.
fn failure(attempt: Attempt, path: impl AsRef<Path>) -> impl FnOnce(Errno) -> SetupError {
    move |errno| SetupError {
        attempt,
        path: path.as_ref().to_path_buf(),
        errno: errno.raw_os_error(),
    }
}

/// The same for the standard library's errors.
fn refused(attempt: Attempt, path: impl AsRef<Path>) -> impl FnOnce(&std::io::Error) -> SetupError {
    move |error| SetupError {
        attempt,
        path: path.as_ref().to_path_buf(),
        errno: error.raw_os_error().unwrap_or(libc::EIO),
    }
}
