//! Stories told to the scheduler, and what it must hold to in all of them.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics says where; the lint spares only functions marked as tests"
)]

mod capability;
mod explaining;
mod faults;
mod invariants;
mod placement;
mod plan;
mod scale;
mod script;
mod waiting;
mod world;
