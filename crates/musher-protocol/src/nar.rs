//! Where a NAR ends. Nix sends NARs bare: their length is said nowhere, so
//! whoever passes one through has to follow its grammar. Nothing of the
//! content is held, and nothing is known of what the files are for.
//!
//! ```text
//! nar   = "nix-archive-1" node
//! node  = "(" "type" body ")"
//! body  = "regular" ["executable" ""] "contents" string
//!       | "symlink" "target" string
//!       | "directory" entry*
//! entry = "entry" "(" "name" string "node" node ")"
//! ```
//!
//! Every word is a string of the wire: length, bytes, zero padding.

mod error;
mod grammar;
mod scanner;

pub use error::NarError;
pub use scanner::Scanner;

/// Directories in directories. Nix 2.36 stops at 64; older ones wrote what
/// the file system held.
pub const MAX_DEPTH: u32 = 1024;

/// Bytes in a file name.
pub const MAX_NAME: u64 = 255;

/// Bytes in the target of a symbolic link.
pub const MAX_TARGET: u64 = 4095;
