//! The values that both protocols carry. Knows no encoding.

mod basic_derivation;
mod build_result;
mod path_info;
mod realisation;
mod text;

pub use basic_derivation::{BasicDerivation, BasicOutput};
pub use build_result::{BuildMode, BuildResult, BuildStatus};
pub use path_info::{NarHash, PathInfo};
pub use realisation::{BuiltOutput, DrvHashOutput};
pub use text::Text;
