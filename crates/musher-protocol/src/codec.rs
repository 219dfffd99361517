//! Encodings of the values that the worker and the serve protocol write the
//! same way in every version, as methods of [`Decoder`](crate::wire::Decoder)
//! and [`Encoder`](crate::wire::Encoder). Knows no message.
//!
//! ```text
//! content address   = string, [text|fixed]:[r:|git:]algorithm:digest
//! basic derivation  = count, (name, optional path, algorithm, hash)*,
//!                     input paths, system, builder, arguments,
//!                     count, (name, value)*
//! build status      = u64, see `BuildStatus`
//! NAR hash          = string, <base 16> and other spellings
//! hash output       = string, sha256:<digest>!<output name>
//! realisation, old  = string, a JSON object
//! realisation, new  = path, signatures
//! ```

mod build_status;
mod content_address;
mod derivation;
mod nar_hash;
mod realisation;
mod realisation_json;
