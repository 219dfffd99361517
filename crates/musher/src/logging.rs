//! Developers' logs on standard error, off unless asked for.

use std::io;

use tracing_subscriber::EnvFilter;

/// Starts logging by `MUSHER_LOG` (like `debug` or `musher_store=trace`), or
/// else everything of ours at `debug` if `verbose`, or else warnings.
pub(crate) fn start(verbose: bool) {
    let usual = if verbose { "warn,musher=debug" } else { "warn" };
    let filter = EnvFilter::try_from_env("MUSHER_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(crate::ui::colours_on_stderr())
        .init();
}
