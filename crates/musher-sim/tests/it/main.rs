//! Plays worlds and holds what comes of them against what is known.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics says where; the lint spares only functions marked as tests"
)]

mod chaos;
mod replay;
mod saboteur;
mod schedules;
