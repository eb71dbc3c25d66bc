//! Many threads under schedules that are drawn by chance: where loom's models have two or three threads and
//! try everything, these have six and more and try a part. See docs/proof.md.
//!
//! Each test runs under two of shuttle's schedulers: one that picks the next thread at every step, and
//! PCT, which gives threads priorities and changes them a few times (S. Burckhardt et al., *A randomized
//! scheduler with probabilistic guarantees of finding bugs*, 2010). All accesses count as sequentially
//! consistent here; orderings are loom's to check.
//!
//! `cargo xtask test --shuttle` compiles them. `LATCHLESS_SEED` and `LATCHLESS_SCHEDULES` choose which
//! schedules and how many. A schedule that fails is written to a file, whose name is printed; with that in
//! `LATCHLESS_SCHEDULE` and the name that its test gives to `explore` in `LATCHLESS_TEST`, that one alone
//! runs, under this schedule.
#![cfg(latchless_shuttle)]

mod agents;
mod inbox;
mod plan;
mod pool;
mod state;
mod tables;
mod tasks;
mod waiting;

use std::env;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, Runner};

/// Changes of priority in a schedule of PCT's: it finds a fault that needs so many orders of steps.
const DEPTH: usize = 4;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Runs `test` under schedules of both kinds, or under the one that is to be repeated if that is its own.
pub(crate) fn explore(name: &str, test: impl Fn() + Send + Sync + Clone + 'static) {
    if let Some(schedule) = env::var_os("LATCHLESS_SCHEDULE") {
        if env::var("LATCHLESS_TEST").is_ok_and(|chosen| chosen == name) {
            shuttle::replay_from_file(test, schedule);
        }
        return;
    }
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::File(Some(env!("CARGO_TARGET_TMPDIR").into()));
    // It would say that orderings are not its business, which we know.
    config.silence_warnings = true;
    let seed = number("LATCHLESS_SEED", 1);
    let schedules = number("LATCHLESS_SCHEDULES", 1_000) as usize;
    let random = RandomScheduler::new_from_seed(seed, schedules);
    let random = Runner::new(random, config.clone()).run(test.clone());
    let pct = PctScheduler::new_from_seed(seed, DEPTH, schedules);
    let pct = Runner::new(pct, config).run(test);
    println!("schedules of {name}: {random} random and {pct} PCT, seed {seed}");
    assert_eq!((random, pct), (schedules, schedules));
}
