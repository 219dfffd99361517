//! The core with machines that do what the test says.

mod machines;
mod requests;
