//! The first process of a host: makes its root out of base and overlay, moves
//! into it, and reaps. Ends, and the host with it, when whoever started it does.
//!
//! A mere chroot would not do: the kernel refuses user namespaces to a process
//! whose root is not that of its mount namespace, and Nix's sandbox needs them.

use std::{
    ffi::CString,
    fs,
    io::{self, Read, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::exit,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, unmount},
    process::{WaitOptions, chdir, chroot, pivot_root, wait},
    system::sethostname,
};

/// What init says once the root is ready and commands may be run in it.
pub(super) const READY: &str = "ready";

/// Runs as the first process of new mount, pid and uts namespaces.
#[derive(Args)]
pub(crate) struct InitArgs {
    /// The base's root, left as it is
    #[arg(long)]
    base: PathBuf,
    /// The host's own directory, with `upper`, `work`, `root` and `nix` in it
    #[arg(long)]
    room: PathBuf,
    /// The host's name
    #[arg(long)]
    name: String,
    /// Without a place for a Nix store
    #[arg(long)]
    bare: bool,
}

/// Never returns when all went well.
pub(crate) fn run(args: &InitArgs) -> Result<()> {
    sethostname(args.name.as_bytes()).context("cannot set the host's name")?;
    let root = args.room.join("root");
    mount_root(args, &root).context("cannot mount the host's root")?;
    enter(&root).context("cannot move into the host's root")?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{READY}")
        .and_then(|()| stdout.flush())
        .context("cannot report")?;
    thread::spawn(reap);
    let mut rest = Vec::new();
    // The other end is held open by the process that wants this host.
    let read = io::stdin().read_to_end(&mut rest);
    exit(i32::from(read.is_err()))
}

fn mount_root(args: &InitArgs, root: &Path) -> Result<()> {
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        args.base.display(),
        args.room.join("upper").display(),
        args.room.join("work").display()
    );
    let options = CString::new(options).context("a path holds a zero byte")?;
    mount(
        "musher-host",
        root,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .context("cannot mount the overlay")?;
    if !args.bare {
        // Not on the overlay: a store does many small writes, which it makes slower.
        mount_bind(args.room.join("nix"), root.join("nix")).context("cannot mount `/nix`")?;
    }
    mount_bind_recursive("/dev", root.join("dev")).context("cannot mount `/dev`")?;
    mount("proc", root.join("proc"), "proc", MountFlags::empty(), None)
        .context("cannot mount `/proc`")?;
    mount(
        "tmpfs",
        root.join("run"),
        "tmpfs",
        MountFlags::empty(),
        c"mode=755",
    )
    .context("cannot mount `/run`")?;
    fs::create_dir(root.join("run/sshd")).context("cannot make `/run/sshd`")?;
    let mounts = root.join("etc/mtab");
    if fs::symlink_metadata(&mounts).is_err() {
        symlink("/proc/self/mounts", &mounts).context("cannot make `/etc/mtab`")?;
    }
    Ok(())
}

fn enter(root: &Path) -> Result<()> {
    chdir(root).context("cannot change directory")?;
    // The old root lands on top of the new one and is taken off again, which
    // needs no directory for it.
    pivot_root(".", ".").context("cannot pivot")?;
    unmount(".", UnmountFlags::DETACH).context("cannot unmount the old root")?;
    chroot(".").context("cannot change the root")?;
    chdir("/").context("cannot change directory")
}

/// Takes in orphans for ever. Without children there is nothing to wait for
/// and no event that says one came, so it looks again a little later.
fn reap() {
    loop {
        if wait(WaitOptions::empty()).is_err() {
            thread::sleep(Duration::from_millis(50));
        }
    }
}
