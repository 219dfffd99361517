//! Arbitrary exchanges of the serve protocol, message by message and through
//! whole sessions.

mod exchanges;
mod messages;
mod sessions;

#[path = "../common/nars.rs"]
mod nars;
#[path = "../common/strategies.rs"]
mod strategies;
