//! What the fuzz targets do with their input. The tests of the crates include
//! these modules too, and replay the committed corpora through them.

pub mod serve;
pub mod worker;
