//! A builder's end: a store, a sandbox, an executor, and a service by which a
//! coordinator uses them. Decides nothing about what is built where.

pub mod builtin;
pub mod executor;
pub mod outputs;
pub mod places;
pub mod process;
pub mod relay;
pub mod service;
