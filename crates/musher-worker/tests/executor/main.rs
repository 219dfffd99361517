//! Derivations that are really built: as root, in a slot with ids of its own,
//! and as a user without any rights.

mod bare;
mod builds;
mod ends;
#[path = "../../trial/messages.rs"]
mod messages;
mod scene;
