//! Plays graphs of builds to the scheduler, and to simpler deciders beside it,
//! on a virtual clock.
//!
//! Pure and deterministic: no clock, no files, and everything random follows
//! from a seed. It knows nothing of processes, networks or Nix; what takes time
//! there is a number here.

mod bound;
pub mod chaos;
mod estimates;
mod fleet;
mod graph;
mod outcome;
mod policy;
mod random;
mod replay;
pub mod world;

pub use estimates::Estimates;
pub use fleet::{Fleet, FleetError, Machine};
pub use graph::{Graph, GraphError, Node};
pub use outcome::{Attempt, Chain, Outcome, Served, Use, Waiting};
pub use policy::{Decider, Explainer, Policy};
pub use random::Random;
pub use replay::{Arrival, Conditions, replay, replay_with};
