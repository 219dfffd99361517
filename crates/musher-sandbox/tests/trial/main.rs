//! The program of this crate's tests: it makes sandboxes (`sandbox-init`), asks for
//! one as whoever runs it (`drive`, `probe`, `cost`), and is the build
//! program in it, which does what its arguments say, one after the other, and
//! says what came of each.

#![expect(clippy::print_stdout, reason = "what it prints is what tests compare")]

mod cost;
mod deeds;
mod drive;
mod kernel;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let deeds: Vec<String> = match args.next().as_deref() {
        Some(musher_sandbox::INIT_COMMAND) => musher_sandbox::init_main(),
        Some("drive") => return drive::drive(),
        Some("cost") => {
            let [dir, rounds, inputs] = std::array::from_fn(|_| args.next().expect("three words"));
            let number = |text: String| text.parse().expect("a number");
            return cost::measure(dir.as_ref(), number(rounds), number(inputs));
        }
        Some("probe") => return drive::probe(&args.next().expect("a directory")),
        first => first.map(str::to_owned).into_iter().chain(args).collect(),
    };
    deeds::perform(&deeds)
}
