//! `musher store gc`

use clap::Args;
use musher_store::local::{Access, Budget, Garbage, GcOptions, GcReport, LocalStore};
use serde::Serialize;

use super::on_disk;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::ui::quantity;

/// Delete paths from a store on this disk that nothing needs
///
/// What a root or a running build needs stays, and what programs use that run
/// now: where they are, what they have open, their environment. Programs that
/// this user may not look at are not known; for a store that others use, run it
/// as root. What was not used for the longest goes first.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// The store: a directory, local, or auto where no Nix is installed
    #[arg(long, value_name = "URL", default_value = "auto")]
    store: String,
    /// Stop once this much is free that was not: 500M, 2G, or bytes
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with_all = ["max_store_size", "min_free"])]
    max_freed: Option<u64>,
    /// Delete only while the store is larger than this
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_store_size: Option<u64>,
    /// Delete only while less than this is free on the disk
    #[arg(long, value_name = "SIZE", value_parser = size)]
    min_free: Option<u64>,
    /// Delete derivations as well whose outputs are needed
    #[arg(long)]
    no_keep_derivations: bool,
    /// Keep outputs as well whose derivations are needed
    #[arg(long)]
    keep_outputs: bool,
    /// Only say what could be deleted
    #[arg(long)]
    dry_run: bool,
}

/// What was deleted, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct GcRecord {
    /// In the order in which they went, or could go.
    paths: Vec<String>,
    /// On disk; in a dry run the size of the NARs.
    freed_bytes: u64,
    /// What lay in the store directory and was no valid path.
    strays: u64,
    live: usize,
    dry_run: bool,
}

impl GcArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let store = on_disk::open(context, &self.store, Access::ReadWrite)?;
        let options = GcOptions {
            dry_run: self.dry_run,
            keep_derivations: !self.no_keep_derivations,
            keep_outputs: self.keep_outputs,
            ..GcOptions::new(self.garbage())
        };
        let mut progress = context.ui.progress();
        let report = store.collect_garbage(&options, &mut |freed| {
            progress.update(|| format!("{} freed", quantity::size(freed)));
        });
        drop(progress);
        let report =
            report.map_err(|source| on_disk::failure("collect garbage in", &self.store, source))?;
        self.tell(context, &store, &report)?;
        Ok(Outcome::Done)
    }

    fn garbage(&self) -> Garbage {
        let budget = Budget {
            max_store_size: self.max_store_size,
            min_free: self.min_free,
        };
        match self.max_freed {
            Some(bytes) => Garbage::Bytes(bytes),
            None if budget == Budget::default() => Garbage::All,
            None => Garbage::Over(budget),
        }
    }

    fn tell(
        &self,
        context: &Context,
        store: &LocalStore,
        report: &GcReport,
    ) -> Result<(), Failure> {
        let paths = report.paths.iter();
        let record = GcRecord {
            paths: paths
                .map(|path| store.store_dir().render_path(path))
                .collect(),
            freed_bytes: report.freed,
            strays: report.strays,
            live: report.live.len(),
            dry_run: self.dry_run,
        };
        if context.ui.json {
            context.ui.json(&record)?;
        } else {
            let lines: String = record
                .paths
                .iter()
                .map(|path| format!("{path}\n"))
                .collect();
            context.ui.text(&lines)?;
        }
        let size = quantity::size(record.freed_bytes);
        let paths = match record.paths.len() {
            1 => "1 path".to_owned(),
            count => format!("{count} paths"),
        };
        context.ui.note(&match self.dry_run {
            true => format!("{paths} could be deleted, {size}"),
            false => format!("{paths} deleted, {size} freed"),
        });
        Ok(())
    }
}

/// Reads `500M`: a number and one of `K`, `M`, `G`, `T`, as powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let expected = || "expected a size like `100M`, `2G` (powers of 1024), or bytes".to_owned();
    let shift = match text.as_bytes().last() {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        _ => 0,
    };
    let digits = match shift {
        0 => text,
        _ => &text[..text.len() - 1],
    };
    let number: u64 = digits.parse().map_err(|_| expected())?;
    number.checked_mul(1 << shift).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("1500"), Ok(1500));
        assert_eq!(size("2G"), Ok(2 << 30));
        for text in ["", "G", "1.5G", "-1", "1MB", "99999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
