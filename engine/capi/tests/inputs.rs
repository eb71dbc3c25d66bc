//! The fuzz target's sequences of calls: its corpus, and many made by chance, always the same. What a fuzzer
//! does for hours (engine/fuzz), for a second and with any toolchain.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "all of it is C's side of the door")]

use std::fs;
use std::path::Path;

use latchless_capi::handles::{
    latchless_claim, latchless_engine, latchless_lease, latchless_machine, latchless_pool,
    latchless_stream, latchless_tasks,
};

#[path = "../../fuzz/inputs/capi/mod.rs"]
mod inputs;

fn nothing_is_left() {
    let left = [
        latchless_pool::count(),
        latchless_lease::count(),
        latchless_engine::count(),
        latchless_stream::count(),
        latchless_machine::count(),
        latchless_tasks::count(),
        latchless_claim::count(),
    ];
    assert_eq!(left, [0; 7], "pools, leases, engines, streams, machines, queues, claims");
}

/// One test, so that no other one has objects meanwhile.
#[test]
fn no_sequence_of_calls_does_harm() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/capi");
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("the corpus is there") {
        inputs::check(&fs::read(entry.unwrap().path()).unwrap());
        nothing_is_left();
        files += 1;
    }
    assert!(files > 0);

    let mut random = fastrand::Rng::with_seed(1);
    let (mut done, mut refused) = (0, 0);
    for _ in 0..300 {
        let mut input = vec![0; random.usize(..2_000)];
        random.fill(&mut input);
        let (did, not) = inputs::check(&input);
        done += did;
        refused += not;
        nothing_is_left();
    }
    assert!(done > 5_000 && refused > 5_000, "{done} done, {refused} refused");
}
