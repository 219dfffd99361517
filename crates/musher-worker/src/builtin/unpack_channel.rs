//! `builtin:unpack-channel`: unpacks an archive that holds one directory, and
//! calls that as it is told.

mod beneath;
mod decompress;
mod untar;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::error::BuiltinError;
use super::order::BuiltinOrder;
use beneath::Beneath;
use untar::unpack;

pub(super) use decompress::xz_reader;

pub(super) fn run(order: &BuiltinOrder) -> Result<(), BuiltinError> {
    let out = order.out()?;
    let name = order.attribute("channelName")?;
    if matches!(name, "" | "." | "..") || name.contains('/') {
        return Err(BuiltinError::BadAttribute {
            attribute: "channelName",
            expected: "the name of a file",
            found: name.to_owned(),
        });
    }
    let archive = Path::new(order.attribute("src")?);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(out)
        .map_err(BuiltinError::file("create", out))?;
    let file = File::open(archive).map_err(BuiltinError::file("read", archive))?;
    let unreadable = |source| BuiltinError::Archive {
        path: archive.to_owned(),
        source,
    };
    let tar = decompress::reader(file).map_err(unreadable)?;
    let target = Beneath::open(out).map_err(BuiltinError::file("open", out))?;
    unpack(archive, tar, &target)?;
    let only = only_entry(archive, out)?;
    let (from, to) = (out.join(only), out.join(name));
    fs::rename(&from, &to).map_err(BuiltinError::file("rename", &from))
}

/// The name of the one thing in `out`.
fn only_entry(archive: &Path, out: &Path) -> Result<OsString, BuiltinError> {
    let entries = fs::read_dir(out).map_err(BuiltinError::file("list", out))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let names: Result<Vec<OsString>, io::Error> = names.take(2).collect();
    let mut names = names.map_err(BuiltinError::file("list", out))?;
    match (names.pop(), names.pop()) {
        (Some(name), None) => Ok(name),
        (None, _) => Err(BuiltinError::EmptyChannel {
            path: archive.to_owned(),
        }),
        (Some(_), Some(_)) => Err(BuiltinError::CrowdedChannel {
            path: archive.to_owned(),
        }),
    }
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "tests may panic, and write what they expect where they use it"
)]
mod tests;
