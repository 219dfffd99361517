//! A file system of a host's own, made anew. What others have just deleted makes
//! ext4 slow to find inodes, for which a measurement would blame whoever comes
//! next. Knows nothing of hosts.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::run;

/// As large as what a benchmark copies, several times over, in bytes. The file
/// behind it has holes.
const SIZE: u64 = 24 << 30;

/// A mounted disk.
pub(crate) struct Disk {
    mounted: PathBuf,
}

impl Disk {
    /// Makes one in `room` and mounts it there.
    pub(super) fn make(room: &Path) -> Result<Self> {
        let image = room.join("image");
        let file = File::create(&image).context("cannot make the image of a disk")?;
        file.set_len(SIZE)
            .context("cannot make the image of a disk")?;
        // All at once: what the kernel would do later, it would do meanwhile.
        let mut make = Command::new("mkfs.ext4");
        make.args(["-q", "-i", "32768"]);
        make.args(["-E", "lazy_itable_init=0,lazy_journal_init=0"]);
        run::output(make.arg(&image))?;
        let mounted = place(room);
        fs::create_dir_all(&mounted).context("cannot make the place of a disk")?;
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]);
        run::output(mount.arg(&image).arg(&mounted))?;
        Ok(Self { mounted })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.mounted
    }
}

/// Unmounts what is left of a disk in `room`, if there was one.
pub(super) fn unmount(room: &Path) {
    let place = place(room);
    if place.exists() {
        let mut unmount = Command::new("umount");
        // It is busy until the last process of the host has gone, and is not
        // mounted if whoever made it did not come that far.
        let _ = run::outcome(unmount.arg("--lazy").arg(place));
    }
}

fn place(room: &Path) -> PathBuf {
    room.join("disk")
}
