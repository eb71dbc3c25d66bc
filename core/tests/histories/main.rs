//! What threads saw at full speed, against the same structures without threads. See docs/proof.md.
//!
//! `cargo xtask test --histories` checks more windows, from `LATCHLESS_WINDOWS`; `LATCHLESS_SEED` repeats a
//! run's operations, though not how the threads met.
#![cfg(not(any(latchless_loom, latchless_shuttle)))]

mod checker;
mod plan;
mod pool;
mod state;
mod task;
mod windows;

use std::env;
use std::marker::PhantomData;

use self::checker::{Verdict, check};
use self::windows::{Subject, Window, windows};

/// Windows on one subject: afterwards a new one, on which nothing has been done yet.
const ON_ONE_SUBJECT: usize = 50;

#[derive(Debug)]
struct Tally<S> {
    windows: usize,
    rejected: usize,
    undecided: usize,
    operations: usize,
    /// Pairs of operations that were under way at the same time.
    overlaps: usize,
    /// Windows that have such a pair.
    concurrent: usize,
    of: PhantomData<S>,
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Records and checks windows until `enough` has been seen.
fn run<S: Subject>(
    seed: u64,
    fault: Option<S::Fault>,
    enough: impl Fn(&Tally<S>) -> bool,
) -> Tally<S> {
    let mut tally = Tally::new();
    while !enough(&tally) {
        let seed = seed.wrapping_add(tally.windows as u64);
        for window in windows::<S>(ON_ONE_SUBJECT, seed, fault) {
            tally.add(&window, fault.is_none());
        }
    }
    tally
}

impl<S: Subject> Tally<S> {
    fn new() -> Self {
        Self {
            windows: 0,
            rejected: 0,
            undecided: 0,
            operations: 0,
            overlaps: 0,
            concurrent: 0,
            of: PhantomData,
        }
    }

    fn add(&mut self, window: &Window<S>, show: bool) {
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
        let (model, initial) = S::model();
        match check(&model, initial, window) {
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
            "histories of {}{what}: {} windows checked, {} rejected, {} undecided; {} of them \
             concurrent; {} operations, each beside {:.2} others",
            S::NAME,
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
fn accept<S: Subject>() {
    let seed = number("LATCHLESS_SEED").unwrap_or(1);
    println!("seed {seed}");
    let wanted = number("LATCHLESS_WINDOWS").map(|windows| windows as usize);
    let tally = run::<S>(seed, None, |tally| match wanted {
        // One that is rejected is printed, and one is enough to read.
        _ if tally.rejected + tally.undecided > 0 => true,
        Some(wanted) => tally.concurrent >= wanted || tally.windows >= 100 * wanted,
        None => tally.windows >= 1_000,
    });
    tally.print("");
    assert_eq!((tally.rejected, tally.undecided), (0, 0));
    // Else the threads did not meet, and next to nothing was checked.
    assert!(tally.concurrent >= wanted.unwrap_or(0), "repeat this on a machine with less to do");
}

/// Each fault is seen, of which some need an answer that is rare.
fn reject<S: Subject>() {
    for fault in S::FAULTS {
        let tally = run::<S>(1, Some(*fault), |tally| {
            tally.windows >= if tally.rejected > 0 { 200 } else { 20_000 }
        });
        tally.print(&format!(" with a fault ({fault:?})"));
        assert!(tally.rejected > 0, "{fault:?} was not seen");
    }
}

#[test]
fn the_pool_is_linearizable() {
    accept::<pool::Shared>();
}

#[test]
fn a_pool_with_a_fault_is_not() {
    reject::<pool::Shared>();
}

#[test]
fn state_machines_are_linearizable() {
    accept::<state::Shared>();
}

#[test]
fn a_state_machine_with_a_fault_is_not() {
    reject::<state::Shared>();
}

#[test]
fn changesets_are_linearizable() {
    accept::<plan::Shared>();
}

#[test]
fn changesets_with_a_fault_are_not() {
    reject::<plan::Shared>();
}

#[test]
fn task_queues_are_linearizable() {
    accept::<task::Shared>();
}

#[test]
fn a_task_queue_with_a_fault_is_not() {
    reject::<task::Shared>();
}
