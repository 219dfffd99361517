//! Sessions as a client meets them: a real nix-daemon at home, a coordinator
//! that says what the test wants, and a client that speaks the protocol.

mod builds;
mod coordinator;
mod host;
mod outputs;
mod own_home;
mod pass_through;
mod serve_protocol;
mod store_entrance;
mod unbuilt;
mod values;
