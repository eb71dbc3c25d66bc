//! What threads saw at full speed, against the pool without threads. See docs/proof.md.
//!
//! `cargo xtask test --histories` checks more windows, from `LATCHLESS_WINDOWS`; `LATCHLESS_SEED` repeats a
//! run's operations, though not how the threads met.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

mod checker;
mod pool;
mod record;

use std::env;

use self::checker::{Verdict, check};
use self::pool::{Pool, State};
use self::record::{Fault, Window, windows};

/// Windows on one pool: afterwards a new one, on which no agent has had a quota yet.
const ON_ONE_POOL: usize = 50;

#[derive(Debug, Default)]
struct Tally {
    windows: usize,
    rejected: usize,
    undecided: usize,
    operations: usize,
    /// Pairs of operations that were under way at the same time.
    overlaps: usize,
    /// Windows that have such a pair.
    concurrent: usize,
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Records and checks windows until `enough` has been seen.
fn run(seed: u64, fault: Option<Fault>, enough: impl Fn(&Tally) -> bool) -> Tally {
    let mut tally = Tally::default();
    while !enough(&tally) {
        let seed = seed.wrapping_add(tally.windows as u64);
        for window in windows(ON_ONE_POOL, seed, fault) {
            tally.add(&window, fault.is_none());
        }
    }
    tally
}

impl Tally {
    fn add(&mut self, window: &Window, show: bool) {
        let overlaps: usize = window
            .iter()
            .enumerate()
            .flat_map(|(i, calls)| calls.iter().map(move |call| (i, call)))
            .map(|(i, call)| {
                let others = window[i + 1..].iter().flatten();
                others.filter(|other| call.overlaps(other)).count()
            })
            .sum();
        self.windows += 1;
        self.operations += window.iter().map(Vec::len).sum::<usize>();
        self.overlaps += overlaps;
        self.concurrent += usize::from(overlaps > 0);
        match check(&Pool, State::new(), window) {
            Verdict::Accepted => return,
            Verdict::Rejected => self.rejected += 1,
            Verdict::Undecided => self.undecided += 1,
        }
        if show {
            println!("{window:#?}");
        }
    }

    fn print(&self, what: &str) {
        println!(
            "histories of {what}: {} windows checked, {} rejected, {} undecided; {} of them \
             concurrent; {} operations, each beside {:.2} others",
            self.windows,
            self.rejected,
            self.undecided,
            self.concurrent,
            self.operations,
            2.0 * self.overlaps as f64 / self.operations as f64,
        );
    }
}

/// As many concurrent windows as `LATCHLESS_WINDOWS` says, among however many it takes; else some windows, of
/// which a busy machine may have made none concurrent.
#[test]
fn the_pool_is_linearizable() {
    let seed = number("LATCHLESS_SEED").unwrap_or(1);
    println!("seed {seed}");
    let wanted = number("LATCHLESS_WINDOWS").map(|windows| windows as usize);
    let tally = run(seed, None, |tally| match wanted {
        Some(wanted) => tally.concurrent >= wanted || tally.windows >= 100 * wanted,
        None => tally.windows >= 1_000,
    });
    tally.print("the pool");
    assert_eq!((tally.rejected, tally.undecided), (0, 0));
    // Else the threads did not meet, and next to nothing was checked.
    assert!(tally.concurrent >= wanted.unwrap_or(0), "repeat this on a machine with less to do");
}

#[test]
fn a_pool_with_a_fault_is_not() {
    for fault in Fault::ALL {
        let tally = run(1, Some(fault), |tally| tally.windows >= 200);
        tally.print(&format!("a pool with a fault ({fault:?})"));
        assert!(tally.rejected > 0, "{fault:?} was not seen");
    }
}
