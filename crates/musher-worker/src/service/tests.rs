//! The service over connections in memory, with a real store and a builder
//! that does what the test says.

mod attempts;
mod bench;
mod gifts;
mod greetings;
