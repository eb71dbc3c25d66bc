//! Priority inversion: a thread of low priority is kept off the cores while it uses the pool.

use std::hint::spin_loop;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Churned, Latencies};
use crate::agents::Work;
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
    let use_pool = |_, stop: &AtomicBool| use_pool(&pool, stop, churn);
    let ((latencies, churned), idle) = starve(use_pool, || measure(&pool, time, churn))?;
    let churned = idle.into_iter().fold(churned, Churned::plus);
    pool.give_back(&mut held).expect("a hand has what it took");
    assert_eq!(pool.free(), BLOCKS, "{} lost blocks", C::NAME);
    Ok((latencies, churned))
}

/// The same with an [operation of agents](Work): four threads of idle priority do it in a loop, and one of
/// normal priority once every 100 µs for `time`: its latencies.
///
/// # Errors
/// The system's, when threads cannot be placed or made idle.
///
/// # Panics
/// When the backend breaks its promises.
pub fn run_work<W: Work>(time: Duration) -> io::Result<Latencies> {
    let work = W::new();
    let idle = |thread, stop: &AtomicBool| {
        let mut hand = work.hand(thread);
        while !stop.load(Ordering::Relaxed) {
            work.step(&mut hand);
        }
    };
    let measured = || {
        let mut hand = work.hand(IDLE_THREADS);
        let mut latencies = Latencies::default();
        let end = Instant::now() + time;
        while Instant::now() < end {
            thread::sleep(PERIOD);
            latencies.time(|| work.step(&mut hand));
        }
        latencies
    };
    Ok(starve(idle, measured)?.0)
}

/// Runs `measured` on a thread of normal priority, on cores that are kept busy, while threads of idle
/// priority run `idle`, with their numbers, until they are told to stop. Returns what all returned.
fn starve<M: Send, I: Send>(
    idle: impl Fn(usize, &AtomicBool) -> I + Sync,
    measured: impl FnOnce() -> M + Send,
) -> io::Result<(M, Vec<I>)> {
    let stop = AtomicBool::new(false);
    let (idle, stop) = (&idle, &stop);
    // A thread of its own, so that the caller stays where it is.
    thread::scope(|scope| {
        let run = scope.spawn(move || {
            let cores = confine(CORES)?;
            thread::scope(|scope| {
                for core in cores {
                    scope.spawn(move || hog(core, stop));
                }
                let starved: Vec<_> = (0..IDLE_THREADS)
                    .map(|i| scope.spawn(move || be_idle().map(|()| idle(i, stop))))
                    .collect();
                let measured = {
                    let _stop = StopOnDrop(stop);
                    measured()
                };
                let join = |thread: thread::ScopedJoinHandle<'_, io::Result<I>>| {
                    thread.join().expect("no thread panicked")
                };
                Ok((measured, starved.into_iter().map(join).collect::<io::Result<_>>()?))
            })
        });
        run.join().expect("no thread panicked")
    })
}

/// Stops the others, also when what is measured panics: the scope waits for them.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        // Relaxed: nothing is handed over with it.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps a core busy. Where it cannot be pinned, the confinement to as many cores as there are of these
/// has the same effect.
fn hog(core: usize, stop: &AtomicBool) {
    let _anywhere = pin(core);
    while !stop.load(Ordering::Relaxed) {
        spin_loop();
    }
}

fn use_pool<C: Churn>(pool: &C, stop: &AtomicBool, churn: bool) -> Churned {
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
    churned
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
    fn a_panic_of_what_is_measured_ends_the_run() {
        let (ended, end) = std::sync::mpsc::channel::<()>();
        let run = thread::spawn(move || {
            let _ended = ended;
            let idle = |_, stop: &AtomicBool| while !stop.load(Ordering::Relaxed) {};
            starve(idle, || panic!("on purpose"))
        });
        let hung = end.recv_timeout(Duration::from_secs(20));
        assert_eq!(hung, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
        assert!(run.join().is_err());
    }

    #[test]
    fn a_run_measures_and_keeps_its_blocks() {
        for churn in [false, true] {
            let (latencies, _) = run::<Leases>(Duration::from_millis(20), churn).unwrap();
            assert!(latencies.row("s", "b", Churned::default()).operations > 0);
        }
        run::<MutexOwner>(Duration::from_millis(20), true).unwrap();
    }
}
