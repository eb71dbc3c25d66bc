//! The watcher: counts the pool while the workers run, prints status lines, and stops the run in time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use latchless::{BlockPool, Census, PoolUsage};

use crate::report::Status;
use crate::run::Stop;
use crate::tally::{Counts, Tally};
use crate::violation::Violation;

/// Time between two snapshots.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(5);

/// What the watcher watches, and what it obeys.
pub(crate) struct Watcher<'a> {
    pub(crate) pool: &'a BlockPool,
    pub(crate) tally: &'a Tally,
    pub(crate) stop: &'a Stop,
    pub(crate) interrupted: &'a AtomicBool,
    pub(crate) deadline: Option<Instant>,
    pub(crate) status_interval: Duration,
    /// Time without an operation after which the run has stalled.
    pub(crate) stall_after: Duration,
}

/// What was seen.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    /// Snapshots that were taken and summed up.
    pub(crate) snapshots: u64,
    /// The most blocks that were out in one of them.
    pub(crate) most_used: u32,
    /// The most blocks that were between two hands in one of them.
    pub(crate) most_in_flight: u32,
}

impl Watcher<'_> {
    /// Watches until the run is over. When it has stalled, the workers cannot be waited for: `give_up` is
    /// called, and should not return.
    pub(crate) fn watch(&self, print: impl Fn(&Status), give_up: impl Fn(Seen)) -> Seen {
        let begun = Instant::now();
        let mut seen = Seen::default();
        let (mut last, mut last_at) = (Counts::new(), begun);
        let (mut operations, mut progress_at) = (0, begun);
        loop {
            // At least one snapshot, however short the run is.
            match snapshot(self.pool) {
                Ok((usage, census)) => {
                    seen.snapshots += 1;
                    seen.most_used = seen.most_used.max(usage.used);
                    seen.most_in_flight = seen.most_in_flight.max(census.in_flight.len() as u32);
                    if last_at.elapsed() >= self.status_interval {
                        let now = self.tally.snapshot();
                        print(&Status::between(
                            begun.elapsed(),
                            last_at.elapsed(),
                            &last,
                            &now,
                            usage,
                        ));
                        (last, last_at) = (now, Instant::now());
                    }
                }
                Err(violation) => self.stop.broken(violation),
            }
            if self.interrupted.load(Ordering::Acquire) {
                self.stop.interrupt();
            }
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.stop.stop();
            }
            if self.stop.is_over() {
                return seen;
            }
            let now = self.tally.operations();
            if now != operations {
                (operations, progress_at) = (now, Instant::now());
            } else if progress_at.elapsed() >= self.stall_after {
                self.stop.broken(Violation::Stalled(self.stall_after));
                give_up(seen);
                return seen;
            }
            thread::park_timeout(SNAPSHOT_EVERY);
        }
    }
}

/// One look at the pool in use: the parts must be the whole, whatever the workers do.
fn snapshot(pool: &BlockPool) -> Result<(PoolUsage, Census), Violation> {
    let usage = pool.usage();
    sum("usage", usage.total, u64::from(usage.free) + u64::from(usage.used))?;
    let census = pool.census();
    let parts = [census.free, census.owned_total(), census.shared, census.in_flight.len() as u32];
    sum("census", census.total, parts.into_iter().map(u64::from).sum())?;
    Ok((usage, census))
}

fn sum(what: &'static str, total: u32, sum: u64) -> Result<(), Violation> {
    if u64::from(total) == sum { Ok(()) } else { Err(Violation::WrongSum { what, total, sum }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_not_the_whole_are_seen() {
        assert_eq!(sum("census", 10, 10), Ok(()));
        let short = Violation::WrongSum { what: "census", total: 10, sum: 9 };
        assert_eq!(sum("census", 10, 9), Err(short));
    }
}
