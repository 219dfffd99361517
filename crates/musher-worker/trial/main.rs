//! The executor as a program of its own: tests start it as any user, and
//! `cargo xtask compare` builds with it. Static, so that it is its own sandbox
//! maker and serves builtins where nothing else is.

mod drive;
mod messages;
mod resolve;

use std::env;
use std::fs::File;
use std::io::{Write as _, stderr};
use std::process::ExitCode;

use musher_worker::builtin::{Builtin, BuiltinOrder};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [musher_sandbox::INIT_COMMAND] => musher_sandbox::init_main(),
        ["builtin", name, file] => {
            let mut file = File::open(file).expect("an order");
            let order = BuiltinOrder::read(&mut file).expect("an order");
            let builtin = Builtin::of_name(name);
            match builtin.and_then(|builtin| builtin.run(&order, &mut stderr())) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    writeln!(stderr(), "error: {error}").expect("a log");
                    ExitCode::FAILURE
                }
            }
        }
        [] => drive::drive(),
        _ => {
            writeln!(stderr(), "a program for tests: its order is its input").expect("a reader");
            ExitCode::FAILURE
        }
    }
}
