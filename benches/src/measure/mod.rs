//! Pairs of take and give back, on threads that begin together.

mod exhaustion;
mod rounds;

pub use self::exhaustion::{Attempts, Scarce};
pub use self::rounds::{Entry, Summary, interleave, median};

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::contender::Contender;

/// Lets each of `threads` threads do `pairs` pairs of `blocks` blocks, and returns the time from the
/// common start to the end of the last one.
///
/// # Panics
/// When the pool is too small for all threads to hold `blocks` blocks at once, or a contender breaks its
/// promises.
pub fn pairs<C: Contender>(pool: &C, threads: usize, blocks: u32, pairs: u64) -> Duration {
    let (time, _) = together(
        threads,
        |_| pool.hand(),
        |mut hand| {
            for _ in 0..pairs {
                pool.take(&mut hand, black_box(blocks)).expect("the pool has room for all");
                black_box(&mut hand);
                pool.give_back(&mut hand).expect("a hand has what it took");
            }
        },
    );
    time
}

/// Runs `work` on so many threads, each with what `ready` made for it beforehand. Returns the time from
/// the common start to the end of the last one, and what each returned. Each thread is pinned to a core
/// of its own, as far as there are cores.
///
/// # Panics
/// When `ready` or `work` does.
pub(crate) fn together<H, R: Send>(
    threads: usize,
    ready: impl Fn(usize) -> H + Sync,
    work: impl Fn(H) -> R + Sync,
) -> (Duration, Vec<R>) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let begin = Barrier::new(threads);
    let (begin, ready, work) = (&begin, &ready, &work);
    let done: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|i| {
                let core = cores.get(i % cores.len().max(1)).copied();
                scope.spawn(move || {
                    // A pin that is refused leaves the thread where it is.
                    let _pinned = core.is_some_and(core_affinity::set_for_current);
                    let hand = ready(i);
                    begin.wait();
                    let begun = Instant::now();
                    let result = work(hand);
                    (begun, Instant::now(), result)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().expect("no thread panicked")).collect()
    });
    let begun = done.iter().map(|(begun, ..)| *begun).min();
    let ended = done.iter().map(|(_, ended, _)| *ended).max();
    let time = begun.zip(ended).map_or(Duration::ZERO, |(begun, ended)| ended - begun);
    (time, done.into_iter().map(|(.., result)| result).collect())
}

/// Pairs of each thread that take about `slice` of time: a warm-up that is of use.
pub fn pairs_in<C: Contender>(pool: &C, threads: usize, blocks: u32, slice: Duration) -> u64 {
    let mut count = 1_000;
    loop {
        let time = pairs(pool, threads, blocks, count).max(Duration::from_nanos(1));
        if time * 4 >= slice {
            let fitting = count as f64 * slice.as_secs_f64() / time.as_secs_f64();
            return (fitting as u64).max(1);
        }
        count *= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::{self, Visitor};
    use crate::baseline::MutexOwner;

    #[test]
    fn every_contender_runs_and_keeps_its_blocks() {
        struct Runs;
        impl Visitor for Runs {
            fn visit<C: Contender + 'static>(&mut self) {
                let pool = C::new(64);
                for threads in [1, 2, 4] {
                    pairs(&pool, threads, 16, 100);
                    assert_eq!(pool.free(), 64, "{}", C::NAME);
                }
            }
        }
        backends::all(&mut Runs);
    }

    #[test]
    fn a_slice_has_at_least_a_pair() {
        let pool = MutexOwner::new(64);
        assert!(pairs_in(&pool, 1, 1, Duration::from_nanos(1)) >= 1);
    }
}
