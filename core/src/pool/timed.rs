//! A pool that measures how long its operations take: for hosts that want to know, at two readings of
//! the clock an operation. The pool itself measures nothing.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use super::BlockPool;
use super::accounts::AgentHandle;
use super::error::{AllocateError, HandleError};
use super::handles::BlockHandle;
use super::histogram::LatencyHistogram;
use super::lease::BlockLease;
use crate::id::LayerId;

/// A [`BlockPool`] whose allocations and frees through this are timed. Everything else is done with the
/// [`pool`](Self::pool) itself.
///
/// What is measured is the caller's time, that is, also what the scheduler takes away in between: on a
/// machine with more threads than cores `max` says more about that than about the pool.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, Timed};
///
/// let pool = BlockPool::new(PoolConfig::new(100, ModelSpec::new(4, 8, 128, 16)?))?;
/// let timed = Timed::new(&pool);
/// let agent = pool.open_account()?;
/// for _ in 0..10 {
///     let lease = timed.allocate(agent, LayerId(0), 20)?;
///     assert_eq!(lease.len(), 20);
/// }
/// assert_eq!((timed.allocations().snapshot().count(), timed.frees().snapshot().count()), (10, 10));
/// println!("{:?}", timed.allocations());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Timed<P: Deref<Target = BlockPool>> {
    pool: P,
    allocations: LatencyHistogram,
    frees: LatencyHistogram,
}

impl<P: Deref<Target = BlockPool>> Timed<P> {
    /// Times operations on `pool`, a reference or an `Arc`; 30 KiB.
    pub fn new(pool: P) -> Self {
        Self { pool, allocations: LatencyHistogram::new(), frees: LatencyHistogram::new() }
    }

    /// The pool, untimed.
    pub fn pool(&self) -> &BlockPool {
        &self.pool
    }

    /// How long allocations took, refused ones included.
    pub fn allocations(&self) -> &LatencyHistogram {
        &self.allocations
    }

    /// How long it took to drop leases, and to free lists of handles, refused ones included.
    pub fn frees(&self) -> &LatencyHistogram {
        &self.frees
    }

    /// [`BlockPool::allocate`], timed, and the drop of the lease too.
    ///
    /// # Errors
    /// [`AllocateError`]; the pool is unchanged then.
    pub fn allocate(
        &self,
        agent: AgentHandle,
        layer: LayerId,
        blocks: u32,
    ) -> Result<TimedLease<'_>, AllocateError> {
        self.time(|pool| pool.allocate(agent, layer, blocks))
    }

    /// [`BlockPool::allocate_sequence`], timed, and the drop of the lease too.
    ///
    /// # Errors
    /// [`AllocateError`]; the pool is unchanged then.
    pub fn allocate_sequence(
        &self,
        agent: AgentHandle,
        tokens: u32,
    ) -> Result<TimedLease<'_>, AllocateError> {
        self.time(|pool| pool.allocate_sequence(agent, tokens))
    }

    /// [`BlockPool::free`], timed.
    ///
    /// # Errors
    /// [`HandleError`], about the first bad handle; nothing is freed then.
    pub fn free(&self, agent: AgentHandle, handles: &[BlockHandle]) -> Result<u32, HandleError> {
        let begin = Instant::now();
        let freed = self.pool.free(agent, handles);
        self.frees.record(begin.elapsed());
        freed
    }

    fn time<'a>(
        &'a self,
        allocate: impl FnOnce(&'a BlockPool) -> Result<BlockLease<'a>, AllocateError>,
    ) -> Result<TimedLease<'a>, AllocateError> {
        let begin = Instant::now();
        let lease = allocate(&self.pool);
        self.allocations.record(begin.elapsed());
        Ok(TimedLease { lease: lease?, frees: Some(&self.frees) })
    }
}

/// A [`BlockLease`] whose drop is timed.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, Timed, TimedLease};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let timed = Timed::new(&pool);
/// let lease: TimedLease<'_> = timed.allocate(agent, LayerId(0), 5)?;
/// drop(lease);
/// assert_eq!(timed.frees().snapshot().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a lease frees its blocks"]
pub struct TimedLease<'a> {
    lease: BlockLease<'a>,
    frees: Option<&'a LatencyHistogram>,
}

impl<'a> TimedLease<'a> {
    /// The lease, to be dropped untimed, or moved to where it is not only borrowed.
    pub fn untimed(mut self) -> BlockLease<'a> {
        self.frees = None;
        self.lease.take()
    }
}

impl Drop for TimedLease<'_> {
    fn drop(&mut self) {
        if let Some(frees) = self.frees {
            let lease = self.lease.take();
            let begin = Instant::now();
            drop(lease);
            frees.record(begin.elapsed());
        }
    }
}

impl<'a> Deref for TimedLease<'a> {
    type Target = BlockLease<'a>;

    fn deref(&self) -> &BlockLease<'a> {
        &self.lease
    }
}

impl<'a> DerefMut for TimedLease<'a> {
    fn deref_mut(&mut self) -> &mut BlockLease<'a> {
        &mut self.lease
    }
}

impl fmt::Debug for TimedLease<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lease.fmt(f)
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::ModelSpec;
    use crate::pool::PoolConfig;

    fn counts<P: Deref<Target = BlockPool>>(timed: &Timed<P>) -> (u64, u64) {
        (timed.allocations().snapshot().count(), timed.frees().snapshot().count())
    }

    #[test]
    fn everything_is_timed_once() {
        let spec = ModelSpec::new(2, 1, 1, 1).unwrap();
        let pool = Arc::new(BlockPool::new(PoolConfig::new(100, spec)).unwrap());
        let timed = Timed::new(Arc::clone(&pool));
        let agent = pool.open_account().unwrap();
        let mut lease = timed.allocate(agent, LayerId(0), 50).unwrap();
        assert!(timed.allocate(agent, LayerId(0), 51).is_err());
        assert_eq!(counts(&timed), (2, 0), "a refusal takes time too");
        let part = lease.split_off(20).unwrap();
        drop(lease);
        assert_eq!((counts(&timed), pool.usage().used), ((2, 1), 20));
        drop(part);
        assert_eq!((counts(&timed), pool.usage().used), ((2, 1), 0));

        let handles = timed.allocate_sequence(agent, 5).unwrap().untimed().into_handles();
        assert_eq!(counts(&timed), (3, 1));
        assert_eq!(timed.free(agent, &handles), Ok(10));
        assert!(timed.free(agent, &handles).is_err());
        assert_eq!((counts(&timed), timed.pool().usage().used), ((3, 3), 0));
    }
}
