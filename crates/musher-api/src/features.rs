//! What every worker can build with, so that all who offer one offer the same.

/// The system features of every worker: what Nix says of itself on any Linux,
/// and content addresses, which it requires silently where paths follow from
/// contents.
pub const USUAL: [&str; 4] = ["benchmark", "big-parallel", "ca-derivations", "nixos-test"];
