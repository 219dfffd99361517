//! Logs of builds that ended, kept on disk by derivation, within bounds. Knows
//! nothing of builds.
//!
//! ```text
//! DIR/<first two characters of the base name>/<the rest>
//! ```
//!
//! as Nix has it below `log/nix/drvs`, but not compressed. A newer log of the
//! same derivation takes the place of the older one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use nix_derivation::StorePath;
use tracing::warn;

use crate::attempt_log::AttemptLog;

/// Bytes of logs kept; beyond it the oldest go.
const MOST_BYTES: u64 = 1 << 30;
/// Logs kept.
const MOST_LOGS: usize = 50_000;
/// Logs added until it is looked again whether there are too many.
const ROUND: u32 = 500;

/// The logs below one directory.
#[derive(Debug)]
pub(crate) struct KeptLogs {
    dir: PathBuf,
    /// How many were added since it was looked whether there are too many.
    added: Mutex<u32>,
}

impl KeptLogs {
    /// The logs below `dir`, which need not exist.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            added: Mutex::new(0),
        }
    }

    /// Keeps the log of a build of `drv`, which is complete. Does nothing if it
    /// is empty. That it cannot be kept is no reason to fail a build.
    pub(crate) fn keep(self: &Arc<Self>, drv: &StorePath, log: &AttemptLog) {
        let place = self.place(drv);
        if let Err(error) = put(&place, log) {
            warn!(%error, log = %place.display(), "log cannot be kept");
        }
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        *added += 1;
        if *added >= ROUND {
            *added = 0;
            let logs = self.clone();
            tokio::task::spawn_blocking(move || logs.tidy());
        }
    }

    /// The log of `drv`, if there is one.
    pub(crate) fn open(&self, drv: &StorePath) -> io::Result<Option<File>> {
        match File::open(self.place(drv)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the oldest logs while there are too many.
    pub(crate) fn tidy(&self) {
        if let Err(error) = remove_oldest(&self.dir, MOST_BYTES, MOST_LOGS) {
            warn!(%error, dir = %self.dir.display(), "old logs cannot be removed");
        }
    }

    fn place(&self, drv: &StorePath) -> PathBuf {
        let name = drv.to_basename();
        let (first, rest) = name.split_at(2);
        self.dir.join(first).join(rest)
    }
}

fn put(place: &Path, log: &AttemptLog) -> io::Result<()> {
    if let Some(dir) = place.parent() {
        fs::create_dir_all(dir)?;
    }
    let aside = place.with_extension("new");
    // Of one that was left behind, or of another build that ends just now.
    let _ = fs::remove_file(&aside);
    match log.link(&aside) {
        Ok(true) => fs::rename(&aside, place),
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove_oldest(dir: &Path, most_bytes: u64, most_logs: usize) -> io::Result<()> {
    let mut logs: BTreeMap<(SystemTime, PathBuf), u64> = BTreeMap::new();
    let mut bytes = 0;
    for below in read_dir(dir)? {
        for entry in read_dir(&below?.path())? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            bytes += metadata.len();
            logs.insert((metadata.modified()?, entry.path()), metadata.len());
        }
    }
    let mut count = logs.len();
    for ((_, path), length) in logs {
        if bytes <= most_bytes && count <= most_logs {
            break;
        }
        fs::remove_file(path)?;
        bytes -= length;
        count -= 1;
    }
    Ok(())
}

/// The entries of a directory; none if it is not there.
fn read_dir(dir: &Path) -> io::Result<Vec<io::Result<fs::DirEntry>>> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries.collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, FileTimes};
    use std::io::Read as _;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::{KeptLogs, remove_oldest};
    use crate::attempt_log::attempt_log;
    use crate::testing::path;

    #[tokio::test]
    async fn the_newest_log_of_a_derivation_is_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = Arc::new(KeptLogs::new(dir.path().join("kept")));
        let drv = path("app.drv");
        assert!(logs.open(&drv).expect("readable").is_none());
        for text in ["old", "new"] {
            let (mut writer, log) = attempt_log(dir.path().join("1.log"));
            writer.append(text.as_bytes()).expect("writable");
            drop(writer);
            logs.keep(&drv, &log);
        }
        let (writer, silent) = attempt_log(dir.path().join("2.log"));
        drop(writer);
        logs.keep(&drv, &silent);
        let mut text = String::new();
        let mut file = logs.open(&drv).expect("readable").expect("a log");
        file.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "new");
    }

    #[test]
    fn the_oldest_go_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let below = dir.path().join("ab");
        fs::create_dir(&below).expect("made");
        for (age, name) in ["new", "middle", "old"].into_iter().enumerate() {
            let file = fs::File::create(below.join(name)).expect("made");
            file.set_len(100).expect("sized");
            let time = SystemTime::now() - Duration::from_secs(100 * age as u64);
            let times = FileTimes::new().set_modified(time);
            file.set_times(times).expect("dated");
        }
        let left = |most_bytes, most_logs| {
            remove_oldest(dir.path(), most_bytes, most_logs).expect("removed");
            let names = fs::read_dir(&below).expect("readable");
            let names = names.map(|entry| entry.expect("readable").file_name());
            let mut names: Vec<_> = names
                .map(|name| name.into_string().expect("text"))
                .collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(left(300, 3), "middle new old");
        assert_eq!(left(299, 3), "middle new");
        assert_eq!(left(299, 1), "new");
    }
}
