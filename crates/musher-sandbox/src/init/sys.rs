//! System calls that have no safe wrapper elsewhere, one function each. All of
//! the crate's `unsafe` is here.

#![expect(
    unsafe_code,
    reason = "this module is where the kernel is called directly"
)]

use std::ffi::{CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::Pid;

fn check(result: i64) -> Result<i64, Errno> {
    if result < 0 { Err(last()) } else { Ok(result) }
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Forks into new namespaces (`CLONE_NEW…`): the child's id, or none in the child.
pub(super) fn fork(namespaces: c_int) -> Result<Option<Pid>, Errno> {
    let flags = c_ulong::from((namespaces | libc::SIGCHLD).cast_unsigned());
    // SAFETY: without CLONE_VM the child has a copy of everything, as after
    // fork; the process has one thread, so no lock is held by another.
    let pid = check(unsafe { raw_clone(flags) })?;
    Ok(Pid::from_raw(i32::try_from(pid).unwrap_or(0)))
}

/// `clone` with a stack of null keeps the parent's; s390x swaps the first two.
unsafe fn raw_clone(flags: c_ulong) -> i64 {
    let (first, second) = if cfg!(target_arch = "s390x") {
        (0, flags)
    } else {
        (flags, 0)
    };
    // SAFETY: the caller's; all pointers are null and not asked for by the flags.
    unsafe { libc::syscall(libc::SYS_clone, first, second, 0usize, 0usize, 0usize) }
}

/// Leaves namespaces (`CLONE_NEW…`) for new ones.
pub(super) fn unshare(namespaces: c_int) -> Result<(), Errno> {
    // SAFETY: no pointers; the process has one thread, and no flag shares memory.
    check(i64::from(unsafe { libc::unshare(namespaces) }))?;
    Ok(())
}

/// Adds attributes (`MOUNT_ATTR_…`) to the mount that a descriptor names, and to
/// those below it if wanted.
pub(super) fn restrict(mount: BorrowedFd<'_>, attributes: u64, below: bool) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if below { libc::AT_RECURSIVE } else { 0 };
    let attr = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a C string, the structure is as long as is said.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags.cast_unsigned(),
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// A descriptor that becomes readable when a child ends. The signal is blocked.
pub(super) fn child_signals() -> Result<OwnedFd, Errno> {
    // SAFETY: the set is initialised by the calls that take it; the descriptor is
    // new and ours.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check(i64::from(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            ptr::null_mut(),
        )))?;
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(i64::from(fd))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Blocks no signal, and has each do what it does by default.
pub(super) fn reset_signals() {
    // What the kernel takes: handler, flags, restorer, mask.
    let default = [0u64; 8];
    // SAFETY: the default runs no code of ours, the structure is long enough, and
    // so is the set. Two signals that libc keeps to itself may be ignored too, so
    // the kernel is asked directly. Those that cannot be set stay as they are.
    unsafe {
        for signal in 1..=64 {
            let nothing = ptr::null_mut::<c_void>();
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                nothing,
                8usize,
            );
        }
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
    }
}

/// What a process and its children used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub user: libc::timeval,
    pub system: libc::timeval,
    /// Bytes of the largest.
    pub resident: u64,
    /// Bytes.
    pub written: u64,
}

/// What all children that were waited for used.
pub(super) fn children_used() -> Used {
    // SAFETY: the structure is ours; the call fails for a bad `who` only.
    let usage = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    Used {
        user: usage.ru_utime,
        system: usage.ru_stime,
        resident: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        written: u64::try_from(usage.ru_oublock).unwrap_or(0) * 512,
    }
}

/// Adds bits to the personality, and puts its low byte if given.
pub(super) fn personality(domain: Option<c_int>, bits: c_int) -> Result<(), Errno> {
    const ASK: c_ulong = 0xffff_ffff;
    // SAFETY: no pointers.
    unsafe {
        let now = check(i64::from(libc::personality(ASK)))?;
        let kept = domain.map_or(now, |domain| (now & !0xff) | i64::from(domain));
        check(i64::from(libc::personality(
            (kept | i64::from(bits)).cast_unsigned(),
        )))?;
    }
    Ok(())
}

/// `IFF_UP`, `IFF_LOOPBACK` and `IFF_RUNNING`.
const UP: libc::c_short = 0x1 | 0x8 | 0x40;

/// Marks the network device `lo` as up.
pub(super) fn loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the structure is zeroed, its name ends with a NUL, and the kernel
    // reads no more than the structure.
    unsafe {
        let mut request: libc::ifreq = mem::zeroed();
        request.ifr_name[0] = b'l' as c_char;
        request.ifr_name[1] = b'o' as c_char;
        request.ifr_ifru.ifru_flags = UP;
        check(i64::from(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )))?;
    }
    Ok(())
}

/// Starts over with an empty session keyring.
pub(super) fn new_session_keyring() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: no name is given, so the one pointer is null.
    check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            ptr::null::<c_char>(),
        )
    })?;
    Ok(())
}

/// The highest Landlock version that the kernel knows; an error where it has none.
pub(super) fn landlock_version() -> Result<i64, Errno> {
    const VERSION: c_uint = 1;
    // SAFETY: asked for the version, the kernel takes no structure.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<c_void>(),
            0usize,
            VERSION,
        )
    })
}

/// Has Landlock restrict the process by what these scopes name.
pub(super) fn landlock_scope(scopes: u64) -> Result<(), Errno> {
    #[repr(C)]
    struct Ruleset {
        handled_access_fs: u64,
        handled_access_net: u64,
        scoped: u64,
    }
    let ruleset = Ruleset {
        handled_access_fs: 0,
        handled_access_net: 0,
        scoped: scopes,
    };
    // SAFETY: the structure is as long as is said; the descriptor is new and ours.
    unsafe {
        let fd = check(libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const ruleset,
            size_of::<Ruleset>(),
            0u32,
        ))?;
        let fd = OwnedFd::from_raw_fd(i32::try_from(fd).map_err(|_| Errno::BADF)?);
        check(libc::syscall(
            libc::SYS_landlock_restrict_self,
            fd.as_raw_fd(),
            0u32,
        ))?;
    }
    Ok(())
}

/// Has a program decide over each system call from now on. The process must
/// have given up new privileges.
pub(super) fn filter(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program and writes nothing.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0u32,
            &raw const program,
        )
    })?;
    Ok(())
}

/// Becomes a program. Returns only if that fails.
pub(super) fn execute(path: &CString, args: &[CString], env: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings
            .iter()
            .map(|text| text.as_ptr())
            .chain([ptr::null()])
            .collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both lists end with null, their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    last()
}

/// Closes every descriptor from this one up.
pub(super) fn close_from(first: c_uint) -> Result<(), Errno> {
    // SAFETY: only called before anything that owns a descriptor up there exists.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, 0u32) })?;
    Ok(())
}

/// Closes one descriptor that nothing owns.
pub(super) fn close(fd: c_int) {
    // SAFETY: as above.
    unsafe { libc::close(fd) };
}
