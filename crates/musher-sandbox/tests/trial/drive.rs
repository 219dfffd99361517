//! Asks for a sandbox as a worker would, so that tests can do so as any user.

use std::io::{Read as _, Write as _, stderr, stdin, stdout};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use musher_sandbox::{Ids, Launcher, Output, Plan, spawn};

/// Reads a plan, carries it out, and writes what became of it as JSON. What the
/// build says goes to standard error. Ends the build when its input goes on to end.
pub(crate) fn drive() -> ExitCode {
    let mut length = [0; 8];
    let mut input = stdin();
    input.read_exact(&mut length).expect("a length");
    let mut text = Vec::new();
    let mut sent = input.by_ref().take(u64::from_le_bytes(length));
    sent.read_to_end(&mut text).expect("a plan");
    let plan: Plan = serde_json::from_slice(&text).expect("a plan");
    // Which no build may find.
    crate::kernel::add_key("of-the-session").ok();
    let terminal = || stderr().as_fd().try_clone_to_owned().expect("a descriptor");
    let output = Output {
        stdout: terminal(),
        stderr: terminal(),
    };
    let line = match spawn(&plan, &Launcher::this_program(), output) {
        Err(error) => format!("{error:?}"),
        Ok(running) => {
            let stopper = running.stopper();
            std::thread::spawn(move || {
                stdin().read_to_end(&mut Vec::new()).ok();
                stopper.stop();
            });
            match running.wait() {
                Ok(ended) => serde_json::to_string(&ended).expect("JSON"),
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    format!("{error}: {}", cause.unwrap_or_default())
                }
            }
        }
    };
    writeln!(stdout(), "{line}").expect("a reader");
    ExitCode::SUCCESS
}

/// Says what this machine can do, as whoever runs it.
pub(crate) fn probe(dir: &str) -> ExitCode {
    let slot = Ids {
        uid: 64_996,
        gid: 64_996,
    };
    let probe = musher_sandbox::probe(&Launcher::this_program(), dir.as_ref(), slot)
        .expect("a scratch directory");
    let mut out = stdout();
    writeln!(out, "sandbox: {}", probe.sandbox).expect("a reader");
    for finding in probe.findings {
        writeln!(out, "{finding:#?}").expect("a reader");
    }
    ExitCode::SUCCESS
}
