//! What a build program may try, each a word with arguments. What the kernel says
//! is printed as its name for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Pid, Signal};

use crate::kernel;

type Result = io::Result<String>;

pub(crate) fn perform(deeds: &[String]) -> ExitCode {
    for deed in deeds {
        let words: Vec<&str> = deed.split(' ').collect();
        if let ["exit", code] = words[..] {
            return ExitCode::from(code.parse::<u8>().expect("a code"));
        }
        let quiet = words[0] == "show";
        let said = match attempt(&words) {
            Ok(said) if quiet => said.trim_end().to_owned(),
            Ok(said) if said.is_empty() => format!("{deed}: done"),
            Ok(said) => format!("{deed}: {}", said.trim_end()),
            Err(error) => format!("{deed}: {}", name(&error)),
        };
        println!("{said}");
    }
    ExitCode::SUCCESS
}

fn attempt(words: &[&str]) -> Result {
    let done = |()| String::new();
    match words {
        ["show", path] | ["read", path] => read(path),
        ["status", field] => status(field),
        ["list", path] => list(path),
        ["link", path] => Ok(fs::read_link(path)?.display().to_string()),
        ["mode", path] => Ok(format!(
            "{:o}",
            fs::metadata(path)?.permissions().mode() & 0o7777
        )),
        ["write", path] => OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)?
            .write_all(b"x")
            .map(done),
        ["create", mode, path] => create(path, octal(mode)).map(done),
        ["chmod", mode, path] => {
            fs::set_permissions(path, fs::Permissions::from_mode(octal(mode))).map(done)
        }
        ["chmod-by", how, mode, path] => kernel::chmod(how, octal(mode), path).map(done),
        ["getpid-32"] => Ok(kernel::getpid_32().to_string()),
        ["mkdir", path] => fs::create_dir(path).map(done),
        ["rmdir", path] => fs::remove_dir(path).map(done),
        ["unlink", path] => fs::remove_file(path).map(done),
        ["rename", from, to] => fs::rename(from, to).map(done),
        ["symlink", to, path] => symlink(to, path).map(done),
        ["truncate", path, length] => {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            file.set_len(length.parse().expect("a length")).map(done)
        }
        ["setxattr", path] => {
            let flags = rustix::fs::XattrFlags::empty();
            Ok(rustix::fs::setxattr(*path, "user.x", b"1", flags).map(done)?)
        }
        ["getxattr", path] => {
            Ok(rustix::fs::getxattr(*path, "user.x", &mut [0u8; 8][..]).map(|_| String::new())?)
        }
        ["connect", address] => connect(address).map(done),
        ["kill", pid] => Ok(rustix::process::kill_process(process(pid), Signal::KILL).map(done)?),
        ["ptrace", pid] => kernel::attach(pid.parse().expect("a pid")).map(done),
        ["mount", kind, path] => {
            Ok(rustix::mount::mount("none", *path, *kind, MountFlags::empty(), None).map(done)?)
        }
        ["bind", from, to] => Ok(rustix::mount::mount_bind(*from, *to).map(done)?),
        ["remount-rw", path] => {
            Ok(rustix::mount::mount_remount(*path, MountFlags::BIND, c"").map(done)?)
        }
        ["umount", path] => Ok(rustix::mount::unmount(*path, UnmountFlags::DETACH).map(done)?),
        ["chroot", path] => Ok(rustix::process::chroot(*path).map(done)?),
        ["unshare-user"] => kernel::own_user_namespace().map(done),
        ["setuid", uid] => kernel::setuid(uid.parse().expect("an id")).map(done),
        ["mknod", path] => kernel::mknod_null(path).map(done),
        ["hostname"] => Ok(rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()),
        ["domainname"] => Ok(rustix::system::uname()
            .domainname()
            .to_string_lossy()
            .into_owned()),
        ["machine"] => Ok(rustix::system::uname()
            .machine()
            .to_string_lossy()
            .into_owned()),
        ["ids"] => Ok(format!(
            "pid {} sid {} uid {} gid {}",
            rustix::process::getpid().as_raw_nonzero(),
            rustix::process::getsid(None)?.as_raw_nonzero(),
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw()
        )),
        ["umask"] => {
            let mask = rustix::process::umask(rustix::fs::Mode::empty());
            Ok(format!("{:o}", mask.bits()))
        }
        ["cwd"] => Ok(std::env::current_dir()?.display().to_string()),
        ["env"] => Ok(std::env::vars()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect()),
        ["key", description] => kernel::add_key(description).map(|id| format!("{}", id != 0)),
        ["find-key", description] => kernel::find_key(description).map(done),
        ["hold", path] => hold(path).map(done),
        ["daemon", path] => kernel::leave_daemon(path).map(done),
        ["forget-parent"] => Ok(rustix::process::set_parent_process_death_signal(None).map(done)?),
        ["forks"] => Ok(kernel::fork_until_refused()),
        ["fill", path] => fill(path),
        ["memory", megabytes] => memory(megabytes.parse().expect("a number")),
        ["spin", milliseconds] => spin(milliseconds.parse().expect("a number")),
        ["pause"] => loop {
            std::thread::park();
        },
        ["die", signal] => kernel::die(signal.parse().expect("a signal")),
        _ => panic!("no such deed: {words:?}"),
    }
}

fn name(error: &io::Error) -> String {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    // As `EPERM`, or its number where it has none here.
    let debug = format!("{errno:?}");
    let known = [
        (Errno::PERM, "EPERM"),
        (Errno::ACCESS, "EACCES"),
        (Errno::ROFS, "EROFS"),
        (Errno::NOENT, "ENOENT"),
        (Errno::OPNOTSUPP, "ENOTSUP"),
        (Errno::CONNREFUSED, "ECONNREFUSED"),
        (Errno::NETUNREACH, "ENETUNREACH"),
        (Errno::SRCH, "ESRCH"),
        (Errno::BUSY, "EBUSY"),
        (Errno::INVAL, "EINVAL"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::AGAIN, "EAGAIN"),
        (Errno::FBIG, "EFBIG"),
        (Errno::EXIST, "EEXIST"),
        (Errno::NOKEY, "ENOKEY"),
        (Errno::NODATA, "ENODATA"),
        (Errno::NOSYS, "ENOSYS"),
        (Errno::TXTBSY, "ETXTBSY"),
        (Errno::NXIO, "ENXIO"),
    ];
    known
        .iter()
        .find(|(known, _)| *known == errno)
        .map_or(debug, |(_, name)| (*name).to_owned())
}

fn octal(text: &str) -> u32 {
    u32::from_str_radix(text, 8).expect("a mode")
}

fn process(text: &str) -> Pid {
    Pid::from_raw(text.parse().expect("a pid")).expect("not 0")
}

fn read(path: &str) -> Result {
    let mut bytes = Vec::new();
    File::open(path)?.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn status(field: &str) -> Result {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(line.unwrap_or("none").trim().to_owned())
}

fn list(path: &str) -> Result {
    let mut names: Vec<String> = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    if path == "/proc" {
        names.retain(|name| name.parse::<u32>().is_ok());
    }
    names.sort();
    Ok(names.join(" "))
}

fn create(path: &str, mode: u32) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map(drop)
}

/// Locks a file for as long as this process is there.
fn hold(path: &str) -> io::Result<()> {
    let file = File::create(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    std::mem::forget(file);
    Ok(())
}

fn connect(address: &str) -> io::Result<()> {
    if let Some(name) = address.strip_prefix('@') {
        return UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?).map(drop);
    }
    if Path::new(address).is_absolute() {
        return UnixStream::connect(address).map(drop);
    }
    let address = address.parse().expect("an address");
    TcpStream::connect_timeout(&address, Duration::from_secs(2)).map(drop)
}

fn fill(path: &str) -> Result {
    let mut file = File::create(path)?;
    let block = vec![1u8; 1 << 20];
    for written in 0..100_000u32 {
        if let Err(error) = file.write_all(&block) {
            return Ok(format!("{} after {written} MiB", name(&error)));
        }
    }
    Ok("no end".to_owned())
}

fn memory(megabytes: usize) -> Result {
    let held = vec![1u8; megabytes << 20];
    Ok(format!(
        "{} MiB",
        held.iter().map(|byte| usize::from(*byte)).sum::<usize>() >> 20
    ))
}

fn spin(milliseconds: u64) -> Result {
    while kernel::processor_time() < Duration::from_millis(milliseconds) {
        std::hint::spin_loop();
    }
    Ok(String::new())
}
