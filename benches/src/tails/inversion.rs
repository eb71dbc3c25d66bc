//! Priority inversion: a thread of low priority is kept off the cores while it uses the pool.

use std::hint::spin_loop;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Churned, Latencies};
use crate::os::scheduling::{be_idle, confine, pin};
use crate::{BLOCKS, Churn};

/// Cores that everything runs on.
const CORES: usize = 2;

/// Threads of the lowest priority (`SCHED_IDLE`) that take and give back in a loop.
const IDLE_THREADS: usize = 4;

/// How often the measured thread needs blocks.
const PERIOD: Duration = Duration::from_micros(100);

/// With churn, every so many pairs a thread does a round of it.
const PAIRS_A_ROUND: u64 = 16;

/// Two busy threads of normal priority, one on each of two cores, four threads of idle priority that use
/// the pool in a loop, and one of normal priority that takes and gives back every 100 µs for `time`: its
/// latencies. With `churn`, the idle threads and the measured one also register agents, share blocks and
/// try new geometries.
///
/// # Errors
/// The system's, when threads cannot be placed or made idle.
///
/// # Panics
/// When the contender breaks its promises.
pub fn run<C: Churn>(time: Duration, churn: bool) -> io::Result<(Latencies, Churned)> {
    let pool = C::new(BLOCKS);
    let mut held = super::hold(&pool);
    let stop = AtomicBool::new(false);
    let (pool, stop) = (&pool, &stop);
    // A thread of its own, so that the caller stays where it is.
    let outcome = thread::scope(|scope| {
        let run = scope.spawn(move || -> io::Result<_> {
            let cores = confine(CORES)?;
            thread::scope(|scope| {
                for core in cores {
                    scope.spawn(move || hog(core, stop));
                }
                let idle: Vec<_> = (0..IDLE_THREADS)
                    .map(|_| scope.spawn(move || use_pool(pool, stop, churn)))
                    .collect();
                let (latencies, mut churned) = measure(pool, time, churn);
                // Relaxed: nothing is handed over with it.
                stop.store(true, Ordering::Relaxed);
                for thread in idle {
                    churned = churned.plus(thread.join().expect("no thread panicked")?);
                }
                Ok((latencies, churned))
            })
        });
        run.join().expect("no thread panicked")
    })?;
    pool.give_back(&mut held).expect("a hand has what it took");
    assert_eq!(pool.free(), BLOCKS, "{} lost blocks", C::NAME);
    Ok(outcome)
}

/// Keeps a core busy. Where it cannot be pinned, the confinement to as many cores as there are of these
/// has the same effect.
fn hog(core: usize, stop: &AtomicBool) {
    let _anywhere = pin(core);
    while !stop.load(Ordering::Relaxed) {
        spin_loop();
    }
}

fn use_pool<C: Churn>(pool: &C, stop: &AtomicBool, churn: bool) -> io::Result<Churned> {
    be_idle()?;
    let mut hand = pool.hand();
    let mut churned = Churned::default();
    for pair in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if churn && pair % PAIRS_A_ROUND == 0 {
            // This thread is starved: its times say nothing.
            churned.round(pool, || true);
        }
        // Refused only while a new geometry takes all blocks.
        if pool.take(&mut hand, super::REQUEST).is_ok() {
            pool.give_back(&mut hand).expect("a hand has what it took");
        }
    }
    Ok(churned)
}

fn measure<C: Churn>(pool: &C, time: Duration, churn: bool) -> (Latencies, Churned) {
    let mut hand = pool.hand();
    let mut latencies = Latencies::default();
    let mut churned = Churned::default();
    let end = Instant::now() + time;
    for pair in 0_u64.. {
        if Instant::now() >= end {
            break;
        }
        thread::sleep(PERIOD);
        if churn && pair % PAIRS_A_ROUND == 0 {
            churned.round(pool, || false);
        }
        latencies.operation(pool, &mut hand, || false);
    }
    (latencies, churned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::MutexOwner;
    use crate::latchless_pool::Leases;

    #[test]
    fn a_run_measures_and_keeps_its_blocks() {
        for churn in [false, true] {
            let (latencies, _) = run::<Leases>(Duration::from_millis(20), churn).unwrap();
            assert!(latencies.row("s", "b", Churned::default()).operations > 0);
        }
        run::<MutexOwner>(Duration::from_millis(20), true).unwrap();
    }
}
