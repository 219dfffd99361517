//! Where test hosts live on disk: the bases, and a directory for each running
//! host. Outside the checkout, root's alone to write.

use std::{
    env,
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail};

use super::disk::{self, Disk};

/// The directory of all hosts: `MUSHER_HOSTS_DIR`, or one below `/var/cache`.
pub(crate) fn root() -> Result<PathBuf> {
    let path = env::var_os("MUSHER_HOSTS_DIR")
        .map_or_else(|| PathBuf::from("/var/cache/musher-hosts"), PathBuf::from);
    make(&path)?;
    let found =
        fs::metadata(&path).with_context(|| format!("cannot look at `{}`", path.display()))?;
    if found.uid() != 0 || found.mode() & 0o022 != 0 {
        bail!("`{}` is not root's alone to write", path.display());
    }
    Ok(path)
}

/// The directory of one running host; it goes when this value does.
pub(crate) struct Room {
    path: PathBuf,
    disk: Option<Disk>,
    // Held locked while the room is in use: what tells it from one left behind.
    _lock: File,
}

impl Room {
    /// Makes a room for a host called `name`, perhaps with a disk of its own.
    pub(crate) fn make(name: &str, has_disk: bool) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let running = running()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = running.join(format!("{name}-{}-{number}", process::id()));
        make(&path)?;
        let lock = File::create(lock_of(&path))
            .with_context(|| format!("cannot make a lock for `{}`", path.display()))?;
        lock.lock().context("cannot lock a room just made")?;
        let mut room = Self {
            path,
            disk: None,
            _lock: lock,
        };
        if has_disk {
            room.disk = Some(Disk::make(&room.path)?);
        }
        Ok(room)
    }

    /// The directory for the host's files.
    pub(crate) fn path(&self) -> &Path {
        self.disk.as_ref().map_or(&self.path, Disk::path)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        clear(&self.path);
    }
}

/// Removes the rooms of runs that were killed.
pub(crate) fn sweep() -> Result<()> {
    for entry in fs::read_dir(running()?).context("cannot list the rooms of running hosts")? {
        let path = entry
            .context("cannot list the rooms of running hosts")?
            .path();
        let Ok(lock) = File::open(lock_of(&path)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            clear(&path);
        }
    }
    Ok(())
}

fn running() -> Result<PathBuf> {
    let path = root()?.join("running");
    make(&path)?;
    Ok(path)
}

fn lock_of(room: &Path) -> PathBuf {
    room.join("lock")
}

/// The lock goes last, so that a room half cleared is swept another time.
fn clear(room: &Path) {
    disk::unmount(room);
    let Ok(entries) = fs::read_dir(room) else {
        return;
    };
    for entry in entries
        .flatten()
        .filter(|entry| entry.file_name() != "lock")
    {
        let path = entry.path();
        // A file is removed where it is not a directory; what stays is swept later.
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }
    let _ = fs::remove_file(lock_of(room));
    let _ = fs::remove_dir(room);
}

fn make(path: &Path) -> Result<()> {
    match DirBuilder::new().recursive(true).mode(0o755).create(path) {
        Err(source) if source.kind() == ErrorKind::PermissionDenied => {
            bail!("cannot make `{}`: test hosts need root", path.display())
        }
        made => made.with_context(|| format!("cannot make `{}`", path.display())),
    }
}
