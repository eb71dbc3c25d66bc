//! Freezes: a thread is stopped for long at whatever instruction it is.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use latchless_freezing::{Enlisted, Victim, times_frozen};

use super::{Churned, Latencies};
use crate::os::scheduling::confine;
use crate::{BLOCKS, Churn};

/// Cores that everything runs on.
const CORES: usize = 2;

/// Threads that take and give back in a loop: as many as cores, so that none is kept waiting for a core by
/// the others, which would show in the pool's place.
const WORKERS: usize = CORES;

/// With churn, every so many pairs a worker does a round of it.
const PAIRS_A_ROUND: u64 = 64;

/// The longest time between two freezes.
const LONGEST_GAP_NS: u64 = 2_000_000;

/// What is done to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freezes {
    /// How often one of them is frozen.
    pub count: u32,
    /// How long it stays so.
    pub time: Duration,
    /// Chooses threads and moments.
    pub seed: u64,
}

/// Two threads on two cores take and give back; again and again a random one of them is stopped at a
/// random instruction. Returns the latencies of operations in which their own thread was not stopped:
/// what a stopped thread did to the others. With `churn`, they also register agents, share blocks, set
/// quotas and try new geometries, and can be stopped within that.
///
/// # Errors
/// The system's, when threads cannot be placed or signalled.
///
/// # Panics
/// When the contender breaks its promises.
pub fn run<C: Churn>(freezes: Freezes, churn: bool) -> io::Result<(Latencies, Churned)> {
    let pool = C::new(BLOCKS);
    let mut held = super::hold(&pool);
    let stop = AtomicBool::new(false);
    let (pool, stop) = (&pool, &stop);
    let outcome = thread::scope(|scope| {
        let run = scope.spawn(move || -> io::Result<_> {
            confine(CORES)?;
            thread::scope(|scope| {
                let (ready, victims) = channel();
                let workers: Vec<_> = (0..WORKERS)
                    .map(|_| {
                        let ready = ready.clone();
                        scope.spawn(move || work(pool, ready, stop, churn))
                    })
                    .collect();
                drop(ready);
                let victims: Vec<_> = victims.iter().collect();
                let frozen = freeze_at_random(&victims, freezes);
                // Relaxed: nothing is handed over with it.
                stop.store(true, Ordering::Relaxed);
                let mut total = (Latencies::default(), Churned::default());
                for worker in workers {
                    let (latencies, churned) = worker.join().expect("no thread panicked");
                    total = (total.0.plus(&latencies), total.1.plus(churned));
                }
                frozen?;
                Ok(total)
            })
        });
        run.join().expect("no thread panicked")
    })?;
    pool.give_back(&mut held).expect("a hand has what it took");
    assert_eq!(pool.free(), BLOCKS, "{} lost blocks", C::NAME);
    Ok(outcome)
}

fn freeze_at_random(victims: &[Victim], freezes: Freezes) -> io::Result<()> {
    let mut rng = fastrand::Rng::with_seed(freezes.seed);
    for _ in 0..freezes.count {
        // The rest of the wait is spent awake: a timer's edge is no random moment.
        let until = Instant::now() + Duration::from_nanos(rng.u64(..LONGEST_GAP_NS));
        thread::sleep(Duration::from_nanos(rng.u64(..LONGEST_GAP_NS / 2)));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        if let Some(victim) = victims.get(rng.usize(..victims.len())) {
            victim.freeze(freezes.time)?;
        }
    }
    Ok(())
}

fn work<C: Churn>(
    pool: &C,
    ready: Sender<Victim>,
    stop: &AtomicBool,
    churn: bool,
) -> (Latencies, Churned) {
    let mut hand = pool.hand();
    let mut latencies = Latencies::default();
    let mut churned = Churned::default();
    let enlisted = Enlisted::this_thread().expect("few threads, each enlisted once");
    // Whoever waits for it is there until all have reported.
    let _heard = ready.send(enlisted.victim());
    drop(ready);
    for pair in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if churn && pair % PAIRS_A_ROUND == 0 {
            let before = times_frozen();
            churned.round(pool, || times_frozen() != before);
        }
        let before = times_frozen();
        latencies.operation(pool, &mut hand, || times_frozen() != before);
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
        let freezes = Freezes { count: 3, time: Duration::from_millis(1), seed: 5 };
        for churn in [false, true] {
            let (latencies, _) = run::<Leases>(freezes, churn).unwrap();
            assert!(latencies.row("s", "b", Churned::default()).operations > 0);
        }
        run::<MutexOwner>(freezes, true).unwrap();
    }
}
