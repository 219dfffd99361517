//! The calls of a build program that no library makes.

#![expect(unsafe_code, reason = "system calls as no library makes them")]

use std::ffi::CString;
use std::fs;
use std::io;
use std::ptr;
use std::time::Duration;

fn check(result: i64) -> io::Result<i64> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Changes a mode by way of one particular call.
pub(crate) fn chmod(how: &str, mode: u32, path: &str) -> io::Result<()> {
    let path = CString::new(path).expect("no NUL");
    // SAFETY: the path is a C string, and outlives the calls.
    let result = unsafe {
        match how {
            "fchmod" => {
                let fd = libc::open(path.as_ptr(), libc::O_RDONLY);
                i64::from(libc::fchmod(fd, mode))
            }
            "fchmodat" => libc::syscall(libc::SYS_fchmodat, libc::AT_FDCWD, path.as_ptr(), mode),
            "fchmodat2" => libc::syscall(452, libc::AT_FDCWD, path.as_ptr(), mode, 0),
            #[cfg(target_arch = "x86_64")]
            "x32" => libc::syscall(0x4000_0000 | libc::SYS_chmod, path.as_ptr(), mode),
            #[cfg(target_arch = "x86_64")]
            "32-bit" => of_32_bit(call_32(15, low(&path), mode)),
            how => panic!("no such call: {how}"),
        }
    };
    check(result).map(drop)
}

#[cfg(target_arch = "x86_64")]
fn of_32_bit(result: i32) -> i64 {
    if result < 0 {
        // SAFETY: the place is this thread's.
        unsafe { *libc::__errno_location() = -result };
        return -1;
    }
    i64::from(result)
}

/// A copy below 4 GiB.
#[cfg(target_arch = "x86_64")]
fn low(text: &CString) -> u32 {
    let bytes = text.as_bytes_with_nul();
    // SAFETY: the mapping is new and long enough.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let place = libc::mmap(ptr::null_mut(), bytes.len(), rights, flags, -1, 0);
        assert_ne!(place, libc::MAP_FAILED, "no memory below 4 GiB");
        ptr::copy_nonoverlapping(bytes.as_ptr(), place.cast(), bytes.len());
        place as u32
    }
}

/// As a 32-bit program calls the kernel.
#[cfg(target_arch = "x86_64")]
fn call_32(number: u32, first: u32, second: u32) -> i32 {
    let result: i32;
    // SAFETY: rbx belongs to LLVM, so it is put back; the kernel changes rax only,
    // and the registers that are named.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) u64::from(first) => _,
            inlateout("eax") number.cast_signed() => result,
            in("ecx") second,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result
}

/// A 32-bit call that nothing forbids.
pub(crate) fn getpid_32() -> i32 {
    #[cfg(target_arch = "x86_64")]
    return call_32(20, 0, 0);
    #[cfg(not(target_arch = "x86_64"))]
    std::process::id().cast_signed()
}

pub(crate) fn attach(pid: i32) -> io::Result<()> {
    const SEIZE: u32 = 0x4206;
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: seizing takes no pointers.
    check(unsafe { libc::ptrace(SEIZE as _, pid, none, none) }).map(drop)
}

/// Root of a user namespace, with mounts of its own.
pub(crate) fn own_user_namespace() -> io::Result<()> {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    // SAFETY: no pointers; one thread.
    check(i64::from(unsafe {
        libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)
    }))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

pub(crate) fn setuid(uid: u32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(i64::from(unsafe { libc::setuid(uid) })).map(drop)
}

pub(crate) fn mknod_null(path: &str) -> io::Result<()> {
    let path = CString::new(path).expect("no NUL");
    // SAFETY: the path is a C string.
    let made = unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(1, 3)) };
    check(i64::from(made)).map(drop)
}

const USER: &std::ffi::CStr = c"user";
const SESSION_KEYRING: i32 = -3;

pub(crate) fn add_key(description: &str) -> io::Result<i64> {
    let description = CString::new(description).expect("no NUL");
    // SAFETY: strings and lengths belong together.
    check(unsafe {
        libc::syscall(
            libc::SYS_add_key,
            USER.as_ptr(),
            description.as_ptr(),
            c"x".as_ptr(),
            1usize,
            SESSION_KEYRING,
        )
    })
}

pub(crate) fn find_key(description: &str) -> io::Result<()> {
    const SEARCH: i32 = 10;
    let description = CString::new(description).expect("no NUL");
    // SAFETY: strings are C strings.
    check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            SEARCH,
            SESSION_KEYRING,
            USER.as_ptr(),
            description.as_ptr(),
            0,
        )
    })
    .map(drop)
}

/// Leaves a process behind in a session of its own that nothing ties to us, and
/// that holds a lock on a file for as long as it lives.
pub(crate) fn leave_daemon(path: &str) -> io::Result<()> {
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    let (ready, told) = io::pipe()?;
    // SAFETY: one thread; the child calls nothing but the kernel.
    unsafe {
        if libc::fork() == 0 {
            libc::setsid();
            libc::prctl(libc::PR_SET_PDEATHSIG, 0);
            for signal in 1..32 {
                libc::signal(signal, libc::SIG_IGN);
            }
            if libc::fork() != 0 {
                libc::_exit(0);
            }
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).ok();
            drop(told);
            for fd in 0..3 {
                libc::close(fd);
            }
            loop {
                libc::pause();
            }
        }
    }
    drop(told);
    // Until the lock is held.
    io::Read::read_to_end(&mut { ready }, &mut Vec::new()).map(drop)
}

pub(crate) fn fork_until_refused() -> String {
    for made in 0..20_000 {
        // SAFETY: one thread; the child only waits for its end.
        match unsafe { libc::fork() } {
            -1 => {
                let refused = io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN);
                let some = if made == 0 { "none" } else { "some" };
                return format!(
                    "{some}, then {}",
                    if refused { "EAGAIN" } else { "another error" }
                );
            }
            0 => loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            },
            _ => {}
        }
    }
    "no end".to_owned()
}

pub(crate) fn die(signal: i32) -> ! {
    // SAFETY: no handler is installed. Process 1 of a namespace is spared its own
    // signals, so a child dies for it and it says nothing.
    unsafe {
        libc::raise(signal);
        libc::abort()
    }
}

/// What this process has used.
pub(crate) fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
