//! The encodings of values that the worker and the serve protocol write in the
//! same way, or in one of a few ways that the version picks. Knows no version
//! and no message.

pub(crate) mod basic_derivation;
pub(crate) mod build_result;
pub(crate) mod path_info;
pub(crate) mod realisation;
