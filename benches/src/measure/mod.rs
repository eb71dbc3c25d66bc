//! Pairs of take and give back, on threads that begin together.

mod exhaustion;
mod rounds;

pub use self::exhaustion::{Attempts, Scarce};
pub use self::rounds::{Entry, Summary, interleave, median};

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::agents::Work;
use crate::contender::Contender;

/// Lets each of `threads` threads do `pairs` pairs of `blocks` blocks, and returns the time from the
/// common start to the end of the last one: for criterion, which chooses the number itself.
///
/// # Panics
/// When the pool is too small for all threads to hold `blocks` blocks at once, or a contender breaks its
/// promises.
pub fn pairs<C: Contender>(pool: &C, threads: usize, blocks: u32, pairs: u64) -> Duration {
    let work = |mut hand| {
        for _ in 0..pairs {
            pair(pool, &mut hand, blocks);
        }
    };
    whole(&together(threads, |_| pool.hand(), work, || {}).1)
}

/// The same with steps of agents' work.
///
/// # Panics
/// When the backend breaks its promises.
pub fn counted_steps<W: Work>(work: &W, threads: usize, steps: u64) -> Duration {
    let run = |mut hand| {
        for _ in 0..steps {
            work.step(&mut hand);
        }
    };
    whole(&together(threads, |thread| work.hand(thread), run, || {}).1)
}

/// From the first one's start to the last one's end.
fn whole<R>(spans: &[Span<R>]) -> Duration {
    let begun = spans.iter().map(|span| span.begun).min();
    let ended = spans.iter().map(|span| span.ended).max();
    begun.zip(ended).map_or(Duration::ZERO, |(begun, ended)| ended - begun)
}

/// Pairs a second, all threads together, when `threads` threads take and give back `blocks` blocks for
/// the time of `slice`.
///
/// Until it is over all of them are at work. With a number of pairs for each, a lock that lets one thread
/// run ahead would be measured without contention: first one thread alone, then the other.
///
/// # Panics
/// As [`pairs`].
pub fn rate<C: Contender>(pool: &C, threads: usize, blocks: u32, slice: Duration) -> f64 {
    let work = |mut hand, stop: &AtomicBool| {
        let mut count = 0_u64;
        loop {
            pair(pool, &mut hand, blocks);
            count += 1;
            // Relaxed: nothing is handed over with it.
            if stop.load(Ordering::Relaxed) {
                return count;
            }
        }
    };
    let (time, counts) = for_a_while(threads, slice, |_| pool.hand(), work);
    counts.iter().sum::<u64>() as f64 / time.as_secs_f64()
}

/// Steps a second, all threads together, when `threads` threads work for the time of `slice`.
///
/// # Panics
/// When the backend breaks its promises.
pub fn steps<W: Work>(work: &W, threads: usize, slice: Duration) -> f64 {
    let run = |mut hand, stop: &AtomicBool| {
        let mut count = 0_u64;
        loop {
            work.step(&mut hand);
            count += 1;
            // Relaxed: nothing is handed over with it.
            if stop.load(Ordering::Relaxed) {
                return count;
            }
        }
    };
    let (time, counts) = for_a_while(threads, slice, |thread| work.hand(thread), run);
    counts.iter().sum::<u64>() as f64 / time.as_secs_f64()
}

#[inline]
fn pair<'pool, C: Contender>(pool: &'pool C, hand: &mut C::Hand<'pool>, blocks: u32) {
    pool.take(hand, black_box(blocks)).expect("the pool has room for all");
    black_box(&mut *hand);
    pool.give_back(hand).expect("a hand has what it took");
}

/// Runs `work` on so many threads until `slice` is over, which it is told by the flag. Returns the time
/// from the first one's start to the flag, and what each returned.
///
/// Where there are fewer cores than threads, the flag may be set before anybody has begun. Nothing was measured
/// then, and it is done again.
fn for_a_while<H, R: Send>(
    threads: usize,
    slice: Duration,
    ready: impl Fn(usize) -> H + Sync,
    work: impl Fn(H, &AtomicBool) -> R + Sync,
) -> (Duration, Vec<R>) {
    loop {
        let stop = AtomicBool::new(false);
        let wait = || {
            thread::sleep(slice);
            stop.store(true, Ordering::Relaxed);
            Instant::now()
        };
        let (stopped, spans) = together(threads, &ready, |hand| work(hand, &stop), wait);
        let begun = spans.iter().map(|span| span.begun).min();
        let time = begun.map_or(Duration::ZERO, |begun| stopped.saturating_duration_since(begun));
        if !time.is_zero() {
            return (time, spans.into_iter().map(|span| span.result).collect());
        }
    }
}

/// When a thread worked, and what it returned.
struct Span<R> {
    begun: Instant,
    ended: Instant,
    result: R,
}

/// Runs `work` on so many threads that begin together, each with what `ready` made for it beforehand, and
/// `meanwhile` on this one. Each thread is pinned to a core of its own, as far as there are cores.
fn together<H, R: Send, M>(
    threads: usize,
    ready: impl Fn(usize) -> H + Sync,
    work: impl Fn(H) -> R + Sync,
    meanwhile: impl FnOnce() -> M,
) -> (M, Vec<Span<R>>) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let begin = Barrier::new(threads + 1);
    let (begin, ready, work) = (&begin, &ready, &work);
    thread::scope(|scope| {
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
                    Span { begun, ended: Instant::now(), result }
                })
            })
            .collect();
        begin.wait();
        let met = meanwhile();
        let join = |thread: thread::ScopedJoinHandle<'_, Span<R>>| {
            thread.join().expect("no thread panicked")
        };
        (met, running.into_iter().map(join).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::{self, Visitor};

    #[test]
    fn a_time_in_which_nobody_had_begun_is_not_told() {
        // The flag is set at once: often before the threads have begun.
        let nothing = |(), _: &AtomicBool| ();
        for _ in 0..50 {
            let (time, done) = for_a_while(4, Duration::ZERO, |_| (), nothing);
            assert!(time > Duration::from_nanos(1) && done.len() == 4, "{time:?}");
        }
    }

    #[test]
    fn every_contender_runs_and_keeps_its_blocks() {
        struct Runs;
        impl Visitor for Runs {
            fn visit<C: Contender + 'static>(&mut self) {
                let pool = C::new(100);
                for threads in [1, 2, 4] {
                    pairs(&pool, threads, 16, 100);
                    assert!(rate(&pool, threads, 16, Duration::from_millis(5)) > 0.0);
                    assert_eq!(pool.free(), 100, "{}", C::NAME);
                }
            }
        }
        backends::all(&mut Runs);
    }
}
