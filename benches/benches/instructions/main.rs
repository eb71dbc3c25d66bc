//! Instructions of the hot operations, counted by valgrind: `cargo xtask bench --check`.
//!
//! Time varies with the machine's mood, instructions do not: the same program executes the same ones. Each
//! count is of one operation in its steady state: what it is done to was made, and the operation done
//! before, outside of what is counted. One thread runs, so retries are not in it; what a locked instruction
//! costs more than another one is not either. Both are for the benchmarks in time.
//!
//! [gungraun](https://docs.rs/gungraun) runs each benchmark alone under callgrind, which simulates the
//! processor: another machine gives the same counts when compiler and target CPU are the same. What a
//! benchmark needs is leaked, so that nobody counts how it is dropped.
//!
//! The allocator is mimalloc: glibc's takes other ways when the heap lies otherwise, and a submit had 3,992 to
//! 4,254 instructions from run to run.

#![allow(missing_docs, reason = "the macros make items that nobody sees")]
#![allow(unused_qualifications, clippy::pedantic, reason = "so is their code")]

mod agents;
mod engine;
mod pool;
mod tasks;

use gungraun::main;

use self::agents::agents_operations;
use self::engine::engine_operations;
use self::pool::pool_operations;
use self::tasks::tasks_operations;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

main!(
    library_benchmark_groups =
        [pool_operations, agents_operations, tasks_operations, engine_operations]
);
