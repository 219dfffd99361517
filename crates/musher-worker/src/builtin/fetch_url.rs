//! `builtin:fetchurl`: downloads a file, or a NAR to be unpacked.

mod client;
mod download;
mod netrc;
mod wait;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufReader, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix_archive::nar::{self, CaseHack};
use url::Url;

use super::error::BuiltinError;
use super::log::Log;
use super::order::BuiltinOrder;
use super::unpack_channel::xz_reader;
use client::Client;
use download::Download;

/// Where a NAR is downloaded to before it is unpacked, in the build directory.
const DOWNLOADED: &str = ".musher-download";

pub(super) fn run(order: &BuiltinOrder, log: &mut Log<'_>) -> Result<(), BuiltinError> {
    let out = order.out()?;
    if !order.fetches {
        return Err(BuiltinError::NotFixed);
    }
    let url = order.attribute("url")?;
    let is_set = |name| Ok(order.optional(name)? == Some("1"));
    if is_set("unpack")? {
        let nar = Path::new(DOWNLOADED);
        fetch(order, url, nar, log)?;
        unpack(url, nar, out)?;
        fs::remove_file(nar).map_err(BuiltinError::file("remove", nar))?;
    } else {
        fetch(order, url, out, log)?;
    }
    if is_set("executable")? {
        let mode = Permissions::from_mode(0o755);
        fs::set_permissions(out, mode).map_err(BuiltinError::file("make executable", out))?;
    }
    Ok(())
}

/// Fetches `url` into a new file at `to`.
fn fetch(
    order: &BuiltinOrder,
    url: &str,
    to: &Path,
    log: &mut Log<'_>,
) -> Result<(), BuiltinError> {
    let wrong = |reason: String| BuiltinError::Url {
        url: url.to_owned(),
        reason,
    };
    let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(to)
        .map_err(BuiltinError::file("create", to))?;
    match parsed.scheme() {
        "file" => {
            let path = parsed
                .to_file_path()
                .map_err(|()| wrong("it names no file of this host".to_owned()))?;
            let mut source = File::open(&path).map_err(BuiltinError::file("read", &path))?;
            std::io::copy(&mut source, &mut file).map_err(BuiltinError::file("write", to))?;
            Ok(())
        }
        "http" | "https" => {
            let client = Client::new(&order.hosted)?;
            Download::new(&client, parsed, &mut file, to).run(log)
        }
        other => Err(wrong(format!("nothing is known of '{other}'"))),
    }
}

/// Unpacks the NAR at `nar`, compressed if the URL it came from says so.
fn unpack(url: &str, nar: &Path, out: &Path) -> Result<(), BuiltinError> {
    let file = File::open(nar).map_err(BuiltinError::file("read", nar))?;
    let file = BufReader::with_capacity(64 << 10, file);
    let failed = |source| BuiltinError::Unpack {
        url: url.to_owned(),
        source,
    };
    let mut reader: Box<dyn Read> = if url.ends_with(".xz") {
        let reader = xz_reader(file).map_err(|error| failed(nar::Error::Io(error)))?;
        Box::new(BufReader::with_capacity(64 << 10, reader))
    } else {
        Box::new(file)
    };
    nar::restore_reader(&mut reader, out, CaseHack::Disabled).map_err(failed)
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "tests may panic, and write what they expect where they use it"
)]
mod tests;
