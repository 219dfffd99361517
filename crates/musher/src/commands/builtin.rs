//! `musher builtin NAME FILE`: a build program that Nix has built in. The
//! worker starts it inside a build's sandbox; it is in no help. What it is
//! started with is the derivation's, so it reads no settings and parses no
//! arguments but these two.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::process;

use musher_worker::builtin::{Builtin, BuiltinError, BuiltinOrder};

const COMMAND: &str = "builtin";

#[derive(Debug, thiserror::Error)]
#[error("cannot open the order `{path}`")]
struct OpenError {
    path: String,
    source: io::Error,
}

/// Does that, and ends the process, if this is what the program was called for.
pub(crate) fn run_if_asked() {
    let mut args = env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(COMMAND)) {
        return;
    }
    let (Some(name), Some(file), None) = (args.next(), args.next(), args.next()) else {
        // Not from a worker: the command line is explained as any other.
        return;
    };
    process::exit(match run(&name, &file) {
        Ok(()) => 0,
        Err(error) => {
            say(error.as_ref());
            1
        }
    })
}

fn run(name: &OsStr, file: &OsStr) -> Result<(), Box<dyn Error>> {
    let builtin = Builtin::of_name(&name.to_string_lossy())?;
    let mut source = File::open(file).map_err(|source| OpenError {
        path: file.display().to_string(),
        source,
    })?;
    let order = BuiltinOrder::read(&mut source)?;
    builtin.run(&order, &mut io::stderr())?;
    Ok(())
}

/// Says what went wrong, in the build's log.
fn say(error: &(dyn Error + 'static)) {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}\ncause: {error}");
        cause = error.source();
    }
    let help = error.downcast_ref::<BuiltinError>();
    if let Some(help) = help.and_then(BuiltinError::help) {
        text = format!("{text}\nhelp:  {help}");
    }
    // Nobody is left to be told that this failed.
    let _ = writeln!(io::stderr(), "{text}");
}
