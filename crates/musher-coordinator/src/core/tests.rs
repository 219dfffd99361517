//! The core with machines that do what the test says.

mod history;
mod machines;
mod requests;
