//! Watches over a build: starts the process that becomes the build program, waits
//! for it, ends it when the caller says so or the disk is nearly full, counts what
//! was used, and leaves no process behind.

mod family;
mod oom;

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::{descriptors, fail, failure, inside, sys};
use crate::ended::{Accounting, Cut, Ended, Status, Usage};
use crate::error::{Attempt, SetupError};
use crate::plan::Plan;
use crate::wire::{self, Report};

/// How often the free space is looked at, where some must stay free.
const DISK_INTERVAL: Duration = Duration::from_millis(200);

/// In a process namespace of its own, whose other processes end with it.
pub(super) fn namespaced(control: &UnixStream, plan: &Plan, alive: &OwnedFd) -> ! {
    // The parent may have ended before it was asked to take us along.
    if hangs_up(alive) {
        process::exit(1)
    }
    let network = if plan.host_network {
        0
    } else {
        libc::CLONE_NEWNET
    };
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP
        | network;
    watch(control, plan, namespaces, inside::enter)
}

/// Without namespaces: orphans become this process's children.
pub(super) fn bare(control: &UnixStream, plan: &Plan) -> ! {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).ok();
    watch(control, plan, 0, inside::enter_bare)
}

fn watch(
    control: &UnixStream,
    plan: &Plan,
    namespaces: i32,
    enter: fn(&Plan) -> Result<(), SetupError>,
) -> ! {
    let code = match start(control, plan, namespaces, enter) {
        Ok(watch) => match watch.until_the_end(control) {
            Ok(ended) => {
                wire::send(&mut &*control, &Report::Ended(ended)).ok();
                0
            }
            Err(errno) => fail(control, failure(Attempt::Supervise, "")(errno)),
        },
        Err(error) => fail(control, error),
    };
    process::exit(code)
}

/// A running build.
struct Watch<'a> {
    plan: &'a Plan,
    child: Pid,
    ends: OwnedFd,
    started: Instant,
    deaths_before: Option<u64>,
}

fn start<'a>(
    control: &UnixStream,
    plan: &'a Plan,
    namespaces: i32,
    enter: fn(&Plan) -> Result<(), SetupError>,
) -> Result<Watch<'a>, SetupError> {
    let ends = sys::child_signals().map_err(failure(Attempt::Supervise, ""))?;
    let started = Instant::now();
    let deaths_before = oom::deaths();
    match sys::fork(namespaces).map_err(failure(Attempt::Namespaces, ""))? {
        Some(child) => {
            descriptors::let_output_go();
            Ok(Watch {
                plan,
                child,
                ends,
                started,
                deaths_before,
            })
        }
        None => {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).ok();
            rustix::process::setsid().ok();
            let code = match enter(plan) {
                Ok(()) => 0,
                Err(error) => fail(control, error),
            };
            process::exit(code)
        }
    }
}

impl Watch<'_> {
    fn until_the_end(&self, control: &UnixStream) -> Result<Ended, Errno> {
        let mut cut = None;
        let status = loop {
            if let Some((_, status)) = waitpid(Some(self.child), WaitOptions::NOHANG)? {
                break status;
            }
            // Whatever comes after the plan is the end of the caller's interest.
            let asked = self.wait_for_something(control)?;
            let why = if asked {
                Some(Cut::Stopped)
            } else {
                self.disk_is_full().then_some(Cut::DiskReserve)
            };
            if let (None, Some(why)) = (cut, why) {
                cut = Some(why);
                kill_process(self.child, Signal::KILL).ok();
            }
            if cut.is_some() {
                // Nothing can keep it from ending now.
                let (_, status) = wait_for(self.child)?;
                break status;
            }
        };
        self.end_the_rest();
        let status = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Status::Exited(code),
            (None, signal) => Status::Killed(signal.unwrap_or(libc::SIGKILL)),
        };
        Ok(Ended {
            status,
            cut,
            usage: self.usage(status, cut),
            sandboxed: self.is_sandboxed(),
        })
    }

    fn is_sandboxed(&self) -> bool {
        self.plan.isolation == crate::request::Isolation::Full
    }

    /// Waits until a child ended (false), the caller said something (true), or it
    /// is time to look at the disk (false).
    fn wait_for_something(&self, control: &UnixStream) -> Result<bool, Errno> {
        let mut fds = [
            PollFd::new(&self.ends, PollFlags::IN),
            PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN | PollFlags::RDHUP),
        ];
        let interval = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(DISK_INTERVAL.subsec_nanos()),
        };
        let timeout = self.plan.limits.disk_reserve.is_some().then_some(&interval);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let asked = !fds[1].revents().is_empty();
        // What it holds says no more than that somebody ended.
        rustix::io::read(&self.ends, &mut [0u8; 128]).ok();
        Ok(asked)
    }

    fn disk_is_full(&self) -> bool {
        self.plan
            .limits
            .disk_reserve
            .is_some_and(|reserve| free_space(&self.plan.disk).is_some_and(|free| free < reserve))
    }

    /// In a namespace the kernel has done this already when process 1 is gone.
    fn end_the_rest(&self) {
        while !self.is_sandboxed() {
            for child in family::children() {
                kill_process(child, Signal::KILL).ok();
            }
            if waitpid(None, WaitOptions::empty()).is_err() {
                return;
            }
        }
    }

    fn usage(&self, status: Status, cut: Option<Cut>) -> Usage {
        let used = sys::children_used();
        let killed = status == Status::Killed(libc::SIGKILL) && cut.is_none();
        Usage {
            wall: self.started.elapsed(),
            cpu_user: duration(used.user),
            cpu_system: duration(used.system),
            peak_memory: Some(used.resident),
            written: Some(used.written),
            oom_killed: killed && oom::deaths() > self.deaths_before,
            source: Accounting::Rusage,
        }
    }
}

fn wait_for(child: Pid) -> Result<(Pid, rustix::process::WaitStatus), Errno> {
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Bytes that an ordinary user can still write there.
fn free_space(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// Whether the other end of a pipe is closed.
fn hangs_up(pipe: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}
