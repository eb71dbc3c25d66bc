//! Sequences of calls into the C ABI with right, stale, foreign and made-up handles: each does what it says or
//! gives a status, and nothing is left.
//!
//! `cargo xtask test --fuzz`, or `cargo fuzz run capi` in the folder `engine`. The corpus is also replayed,
//! and sequences made by chance, by the test engine/capi/tests/inputs.rs.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../inputs/capi/mod.rs"]
mod capi;

fuzz_target!(|input: &[u8]| {
    capi::check(input);
});
