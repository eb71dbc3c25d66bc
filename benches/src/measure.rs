//! Pairs of take and give back, on threads that begin together.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::contender::Contender;

/// Lets each of `threads` threads do `pairs` pairs of `blocks` blocks, and returns the time from the
/// common start to the end of the last one. Each thread is pinned to a core of its own, as far as there
/// are cores.
///
/// # Panics
/// When the pool is too small for all threads to hold `blocks` blocks at once, or a contender breaks its
/// promises.
pub fn pairs<C: Contender>(pool: &C, threads: usize, blocks: u32, pairs: u64) -> Duration {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let begin = Barrier::new(threads);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|i| {
                let core = cores.get(i % cores.len().max(1)).copied();
                let begin = &begin;
                scope.spawn(move || {
                    // A pin that is refused leaves the thread where it is.
                    let _pinned = core.is_some_and(core_affinity::set_for_current);
                    let mut hand = pool.hand();
                    begin.wait();
                    let begun = Instant::now();
                    for _ in 0..pairs {
                        pool.take(&mut hand, black_box(blocks)).expect("the pool has room for all");
                        black_box(&mut hand);
                        pool.give_back(&mut hand).expect("a hand has what it took");
                    }
                    (begun, Instant::now())
                })
            })
            .collect();
        let times = running.into_iter().map(|thread| thread.join().expect("no thread panicked"));
        let (begun, ended): (Vec<_>, Vec<_>) = times.unzip();
        match (begun.into_iter().min(), ended.into_iter().max()) {
            (Some(begun), Some(ended)) => ended.duration_since(begun),
            _ => Duration::ZERO,
        }
    })
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

/// The middle value; the mean of the two middle ones of an even number.
///
/// # Panics
/// When there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::{MutexBare, MutexOwner, ParkingLot};
    use crate::latchless_pool::{Handles, Leases};

    fn runs<C: Contender>() {
        let pool = C::new(64);
        for threads in [1, 2, 4] {
            pairs(&pool, threads, 16, 100);
            assert_eq!(pool.free(), 64, "{}", C::NAME);
        }
    }

    #[test]
    fn every_contender_runs_and_keeps_its_blocks() {
        runs::<Leases>();
        runs::<Handles>();
        runs::<MutexOwner>();
        runs::<MutexBare<ParkingLot>>();
    }

    #[test]
    fn a_slice_has_at_least_a_pair() {
        let pool = MutexOwner::new(64);
        assert!(pairs_in(&pool, 1, 1, Duration::from_nanos(1)) >= 1);
    }

    #[test]
    fn medians() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }
}
