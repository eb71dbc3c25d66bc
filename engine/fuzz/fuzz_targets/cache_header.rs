//! Headers of stored sequences: whatever the bytes are, what somebody wrote or a sentence, and no panic.
//!
//! `cargo xtask test --fuzz`, or `cargo fuzz run cache_header` in the folder `engine`. The corpus is also
//! replayed, and mutated for a while, by the test engine/tests/inputs.
#![no_main]

use libfuzzer_sys::fuzz_target;

mod backend {
    pub(crate) use latchless_engine::Token;
    pub(crate) use latchless_engine::backend::Model;
}

#[path = "../inputs/cache/mod.rs"]
mod cache;

fuzz_target!(|file: &[u8]| {
    let _ = cache::read(file);
});
