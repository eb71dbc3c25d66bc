//! Tasks, names, outputs and documents: stored as they are, or refused for something that is true of them.
//!
//! `cargo xtask test --fuzz`, or `cargo fuzz run store` in the folder `engine`. The corpus is also
//! replayed, and mutated for a while, by the test engine/tests/inputs.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;

#[path = "../inputs/store.rs"]
mod store;

thread_local! {
    static INPUTS: RefCell<store::Inputs> = RefCell::new(store::Inputs::new());
}

fuzz_target!(|input: &[u8]| {
    let _ = INPUTS.with_borrow_mut(|inputs| inputs.check(input));
});
