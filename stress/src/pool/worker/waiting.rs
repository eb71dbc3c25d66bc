//! Waiting for blocks: with a deadline, or as a future that is given up after some looks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use latchless::{AllocateError, Allocation, BlockLease, BlockPool, WaitError};

use super::limits::Bounds;
use super::{OWN_AGENTS, Worker};
use crate::panics::Panics;
use crate::phase::Phase;
use crate::pool::Came;
use crate::tally::unfrozen;
use crate::violation::Violation;

/// The longest that a thread is ready to wait, in microseconds.
const LONGEST_US: u64 = 1_000;
/// How late a wait may end of a thread that was not frozen: a loaded machine is excused, a lost wake-up is not.
const LATE: Duration = Duration::from_secs(20);
/// Looks at a future before it is given up, at most, and the time between two.
const LOOKS: usize = 3;
const NAP: Duration = Duration::from_micros(50);
/// Threads that always find a place in the queue: each takes one at a time, and it has more.
const FEW_THREADS: u16 = 64;

/// A request that is ready to wait.
struct Request<'pool> {
    agent: usize,
    /// Blocks, or the tokens of a sequence.
    wants: Wants,
    allocation: Allocation<&'pool BlockPool>,
}

#[derive(Debug, Clone, Copy)]
enum Wants {
    Blocks(u32),
    Tokens(u32),
}

impl<'pool> Worker<'pool, '_> {
    /// Waits for blocks with a deadline.
    pub(super) fn wait(&mut self, blocks: u32, pick: usize, other: usize) -> Result<(), Violation> {
        let Some(Request { agent, wants, allocation }) = self.request(blocks, pick, other) else {
            return self.free(pick);
        };
        let bounds = self.bounds(agent);
        let timeout = Duration::from_micros((other >> 16) as u64 % LONGEST_US);
        let begun = Instant::now();
        let (waited, time) = unfrozen(|| allocation.within(timeout));
        let over = begun.elapsed();
        in_time(timeout, time)?;
        if let Err(WaitError::TimedOut { requested, timeout: said }) = waited {
            timed_out(timeout, said, over)?;
            if !self.may_be(wants, requested) {
                return Err(Violation::answer("a wait for other blocks", (wants, requested)));
            }
            self.has_to_wait(&bounds, requested)?;
            self.counts.outcomes[Came::TimedOut as usize] += 1;
            return self.free(pick);
        }
        self.arrived(agent, wants, &bounds, waited, pick).map(drop)
    }

    /// Waits as a task does that looks some times and is dropped then.
    pub(super) fn wait_async(
        &mut self,
        blocks: u32,
        pick: usize,
        other: usize,
    ) -> Result<(), Violation> {
        self.look_for(Waker::noop(), blocks, pick, other)
    }

    /// The same as a task whose waker panics, on the thread of whoever frees what it waits for.
    pub(super) fn wait_with_panics(
        &mut self,
        blocks: u32,
        pick: usize,
        other: usize,
    ) -> Result<(), Violation> {
        let panics = Arc::new(Panics::default());
        self.look_for(&Waker::from(Arc::clone(&panics)), blocks, pick, other)?;
        self.counts.outcomes[Came::Panicked as usize] += panics.count();
        Ok(())
    }

    fn look_for(
        &mut self,
        waker: &Waker,
        blocks: u32,
        pick: usize,
        other: usize,
    ) -> Result<(), Violation> {
        let Some(Request { agent, wants, mut allocation }) = self.request(blocks, pick, other)
        else {
            return self.free(pick);
        };
        let bounds = self.bounds(agent);
        let looks = 1 + (other >> 16) % LOOKS;
        for look in 0..looks {
            if look > 0 {
                thread::sleep(NAP);
            }
            match Pin::new(&mut allocation).poll(&mut Context::from_waker(waker)) {
                Poll::Pending => self.has_to_wait(&bounds, self.now_wants(wants))?,
                Poll::Ready(result) => {
                    let came = self.arrived(agent, wants, &bounds, result, pick)?;
                    self.counts.outcomes[Came::Waited as usize] += u64::from(came && look > 0);
                    return Ok(());
                }
            }
        }
        drop(allocation);
        self.counts.outcomes[Came::GivenUp as usize] += 1;
        self.free(pick)
    }

    /// A request that this thread may make; none when it has what it may have.
    fn request(&self, blocks: u32, pick: usize, other: usize) -> Option<Request<'pool>> {
        let room = self.room();
        let agent = (other >> 1) % OWN_AGENTS;
        let (pool, handle) = (self.world.pool, self.own[agent].handle);
        let (wants, allocation) = if other.is_multiple_of(2) {
            let blocks = Some(blocks.min(room)).filter(|blocks| *blocks > 0)?;
            (Wants::Blocks(blocks), pool.allocate_async(handle, self.layer(pick), blocks))
        } else {
            let tokens = self.tokens(blocks, pick)?;
            (Wants::Tokens(tokens), pool.allocate_sequence_async(handle, tokens))
        };
        Some(Request { agent, wants, allocation })
    }

    /// Judges what came of a request, and keeps it; whether there was something to be kept.
    fn arrived(
        &mut self,
        agent: usize,
        wants: Wants,
        bounds: &Bounds,
        result: Result<BlockLease<'pool>, WaitError>,
        pick: usize,
    ) -> Result<bool, Violation> {
        let granted = match result {
            Ok(lease) => self.granted(self.now_wants(wants), bounds, Ok(lease))?,
            Err(WaitError::Refused(error @ AllocateError::QuotaExceeded { requested, .. }))
                if self.may_be(wants, requested) =>
            {
                self.granted::<BlockLease<'_>>(requested, bounds, Err(error))?
            }
            Err(WaitError::TooManyWaiters { .. }) if self.world.scale.threads > FEW_THREADS => None,
            Err(error) => return Err(Violation::answer("a request that waits", error)),
        };
        let came = granted.is_some();
        match granted {
            Some(lease) => self.keep(lease, self.mark(), self.place(agent))?,
            None => self.free(pick)?,
        }
        Ok(came)
    }

    /// Judges that a request could not be met at once.
    fn has_to_wait(&self, bounds: &Bounds, blocks: u32) -> Result<(), Violation> {
        if self.world.phase == Phase::Calm {
            return Err(Violation::SpuriousRefusal { requested: blocks });
        }
        bounds.exhausted(blocks, &self.world.reconfigures)
    }

    /// The blocks that a request takes under the geometry in force: exact with blocks in hand.
    fn now_wants(&self, wants: Wants) -> u32 {
        match wants {
            Wants::Blocks(blocks) => blocks,
            Wants::Tokens(tokens) => self.world.pool.model().spec.blocks_for(tokens) as u32,
        }
    }

    /// Whether a request may have been for so many blocks under any geometry.
    fn may_be(&self, wants: Wants, blocks: u32) -> bool {
        match wants {
            Wants::Blocks(wanted) => wanted == blocks,
            Wants::Tokens(tokens) => {
                self.world.specs.iter().any(|spec| spec.blocks_for(tokens) == u64::from(blocks))
            }
        }
    }
}

/// Judges how long a wait took, unless its thread was frozen.
fn in_time(timeout: Duration, took: Option<Duration>) -> Result<(), Violation> {
    match took {
        Some(took) if took > timeout + LATE => {
            Err(Violation::answer("a wait outlived its deadline", (timeout, took)))
        }
        _ => Ok(()),
    }
}

/// Judges a wait that `said` that its time was over after `took`.
fn timed_out(timeout: Duration, said: Duration, took: Duration) -> Result<(), Violation> {
    if said == timeout && took >= timeout {
        return Ok(());
    }
    Err(Violation::answer("a wait that timed out", (timeout, said, took)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(3);

    #[test]
    fn a_wait_that_is_given_up_too_early_or_too_late_is_seen() {
        assert_eq!(timed_out(TIMEOUT, TIMEOUT, TIMEOUT), Ok(()));
        assert!(timed_out(TIMEOUT, TIMEOUT, TIMEOUT / 2).is_err());
        assert!(timed_out(TIMEOUT, TIMEOUT / 2, TIMEOUT).is_err(), "another's deadline");
        assert_eq!(in_time(TIMEOUT, Some(LATE)), Ok(()));
        assert!(in_time(TIMEOUT, Some(TIMEOUT + LATE * 2)).is_err());
        assert_eq!(in_time(TIMEOUT, None), Ok(()), "it was frozen");
    }
}
