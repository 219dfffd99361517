//! Developers' logs on standard error, off unless asked for.

use std::io;

use tracing_subscriber::EnvFilter;

/// Starts logging by `MUSHER_LOG` (like `debug` or `musher_store=trace`), or
/// else everything of ours at `debug` if `verbose`, or else warnings, and from a
/// daemon what happens too.
pub(crate) fn start(verbose: bool, daemon: bool) {
    let usual = match (verbose, daemon) {
        (true, _) => {
            "warn,musher=debug,musher_coordinator=debug,musher_store=debug,musher_serve=debug,\
             musher_worker=debug,musher_sandbox=debug"
        }
        (false, true) => "warn,musher_coordinator=info,musher_worker=info",
        (false, false) => "warn",
    };
    let filter = EnvFilter::try_from_env("MUSHER_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(crate::ui::colours_on_stderr())
        .init();
}
