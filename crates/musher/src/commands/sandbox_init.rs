//! `musher sandbox-init`: the process around one build. The worker starts it; it
//! is in no help. It must have one thread, so it comes before arguments are
//! parsed, logging starts, or anything else.

use std::env;

use musher_sandbox::INIT_COMMAND;

/// Becomes that process if this is what the program was called for.
pub(crate) fn run_if_asked() {
    if env::args_os()
        .nth(1)
        .is_some_and(|command| command == INIT_COMMAND)
    {
        musher_sandbox::init_main()
    }
}
