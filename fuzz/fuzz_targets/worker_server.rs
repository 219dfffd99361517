//! Feeds the worker protocol's server with whatever the fuzzer thinks of.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| musher_fuzz::worker::server(input));
