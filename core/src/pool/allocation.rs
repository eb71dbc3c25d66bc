//! Waiting for blocks: what [`allocate_within`](BlockPool::allocate_within) and the async forms do.
//!
//! A caller waits for permits only. With permits in hand the rest of an allocation is the usual path and
//! waits for nobody; see [`permits`](super::permits), "Waiting", for the queue.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::BlockPool;
use super::accounts::AgentHandle;
use super::error::{AllocateError, WaitError};
use super::lease::{BlockLease, Lease, RawLease};
use super::permits::{Place, QueueFull};
use crate::id::LayerId;
use crate::mutant::mutant;
use crate::sync::{Thread, current_thread, park_timeout, thread_index};

/// A thread that waits looks again after this time, whether it was woken or not: what a releaser costs
/// it that is frozen between its release and the wake-up.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Who waits for a pool's blocks, and for how long.
///
/// ```
/// use latchless::{BlockPool, ModelSpec, PoolConfig, Waiting};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// # let _ = agent;
/// let Waiting { waiters, oldest, .. } = pool.waiting();
/// assert_eq!((waiters, oldest), (0, None), "nobody waits");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Callers that have a place in the queue.
    pub waiters: u32,
    /// How long the one has waited so far that has waited longest; `None` when nobody waits.
    pub oldest: Option<Duration>,
    /// The longest that anybody waited who has left the queue, with blocks or without.
    pub longest: Duration,
}

/// A request for blocks that waits until it can be met: a future, of any executor, or
/// [`within`](Self::within) a time on this thread.
///
/// - The blocks are had at the first poll if enough are free and nobody waits. Else the request joins
///   the pool's queue, with its first poll, and is served in order: first in, first out, so that a big
///   request is not passed by small ones for ever.
/// - Dropping it leaves nothing behind: its place in the queue is free again, and blocks that have just
///   been granted go to the next in the queue.
/// - A request that has been granted its blocks and is not polled keeps them, and delays nobody else. So
///   does one that waits and is leaked, once its turn has come.
/// - Whoever frees blocks wakes those who can now be served: it runs their executor's `wake`.
///
/// Two agents that keep blocks while they wait for more can wait for each other: allocate all at once,
/// or wait with a deadline and free what you have when it is over.
///
/// ```
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig};
///
/// let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(4, 8, 128, 16)?))?;
/// let agent = pool.open_account()?;
/// let most = pool.allocate(agent, LayerId(0), 15)?;
///
/// let mut allocation = pin!(pool.allocate_async(agent, LayerId(0), 10));
/// let mut executor = Context::from_waker(Waker::noop()); // Yours would wake the task.
/// assert!(allocation.as_mut().poll(&mut executor).is_pending());
/// drop(most);
/// let Poll::Ready(lease) = allocation.as_mut().poll(&mut executor) else { unreachable!() };
/// assert_eq!(lease?.len(), 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "an allocation asks for nothing before it is polled or waited for"]
pub struct Allocation<P: Deref<Target = BlockPool>> {
    pool: P,
    request: Request,
    /// The place in the queue, and the blocks it waits for, while it waits.
    waiting: Option<(Place, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    agent: AgentHandle,
    wants: Wants,
}

#[derive(Debug, Clone, Copy)]
enum Wants {
    Layer(LayerId, u32),
    Sequence { tokens: u32 },
}

impl<P: Deref<Target = BlockPool> + Clone> Allocation<P> {
    fn new(pool: P, agent: AgentHandle, wants: Wants) -> Self {
        Self { pool, request: Request { agent, wants }, waiting: None }
    }

    /// Waits on this thread, for `timeout` at most. [`Duration::MAX`] waits for ever.
    ///
    /// # Errors
    /// [`WaitError`]; the pool is unchanged then, and nothing of the request is left.
    pub fn within(mut self, timeout: Duration) -> Result<Lease<P>, WaitError> {
        // Before anything is made for waiting: most requests need not.
        if let Some(result) = self.attempt().transpose() {
            return result;
        }
        let deadline = Instant::now().checked_add(timeout);
        let waker = Waker::from(Arc::new(Unpark(current_thread())));
        loop {
            if let Some(result) = self.advance(&waker).transpose() {
                return result;
            }
            let left =
                deadline.map_or(LOOK_AGAIN, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                let requested = self.request.blocks(&self.pool);
                return Err(WaitError::TimedOut { requested, timeout });
            }
            park_timeout(left.min(LOOK_AGAIN));
        }
    }

    /// What can be done now; `None` when it has to wait.
    fn advance(&mut self, waker: &Waker) -> Result<Option<Lease<P>>, WaitError> {
        loop {
            if let Some((place, _)) = &self.waiting
                && !self.pool.permits.poll(place, waker)
            {
                return self.attempt_from_reserve();
            }
            if let Some((place, blocks)) = self.waiting.take() {
                self.pool.permits.take_up(&place);
                let mut lease = self.empty_lease();
                if self.request.take_granted(&self.pool, &mut lease.raw, blocks)? {
                    return Ok(Some(lease));
                }
            }
            if let Some(lease) = self.attempt()? {
                return Ok(Some(lease));
            }
            let (blocks, total) = (self.request.blocks(&self.pool), self.pool.permits.total());
            if blocks > total {
                return Err(WaitError::NeverFits { requested: blocks, total });
            }
            let place = self.pool.permits.join(blocks, waker).map_err(|QueueFull| {
                WaitError::TooManyWaiters { max_waiters: self.pool.permits.places().0 }
            })?;
            self.waiting = Some((place, blocks));
        }
    }

    /// While waiting for the pool: what the agent's own reserve has got back is granted to nobody, so it
    /// looks there itself.
    fn attempt_from_reserve(&mut self) -> Result<Option<Lease<P>>, WaitError> {
        let standing = self.pool.accounts.standing(self.request.agent);
        if standing.is_some_and(|standing| !standing.limited) {
            return Ok(None);
        }
        let result = self.attempt().transpose();
        if result.is_some() {
            self.leave_queue();
        }
        result.transpose()
    }

    /// The request without waiting; `None` when too few blocks are free.
    fn attempt(&self) -> Result<Option<Lease<P>>, WaitError> {
        let mut lease = self.empty_lease();
        match self.request.take(&self.pool, &mut lease.raw) {
            Ok(()) => Ok(Some(lease)),
            Err(AllocateError::Exhausted { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn empty_lease(&self) -> Lease<P> {
        let layer = match self.request.wants {
            Wants::Layer(layer, _) => Some(layer),
            Wants::Sequence { .. } => None,
        };
        Lease::new(self.pool.clone(), RawLease::empty(self.request.agent, layer))
    }
}

impl Request {
    fn take(self, pool: &BlockPool, raw: &mut RawLease) -> Result<(), AllocateError> {
        match self.wants {
            Wants::Layer(layer, blocks) => pool.take_of_layer(raw, layer, blocks),
            Wants::Sequence { tokens } => pool.take_of_sequence(raw, tokens),
        }
    }

    /// Blocks that it wants under the geometry in force.
    fn blocks(self, pool: &BlockPool) -> u32 {
        match self.wants {
            Wants::Layer(_, blocks) => blocks,
            Wants::Sequence { tokens } => {
                u32::try_from(pool.model().spec.blocks_for(tokens)).unwrap_or(u32::MAX)
            }
        }
    }

    /// Takes `blocks` blocks for which the queue has granted the permits. False, and the permits are
    /// given back, when the request has to be made anew: the geometry was replaced just before it joined
    /// the queue, so that it wants another number, or its agent was freed as a whole at this moment.
    fn take_granted(
        self,
        pool: &BlockPool,
        raw: &mut RawLease,
        blocks: u32,
    ) -> Result<bool, AllocateError> {
        let home = thread_index();
        // With permits in hand the geometry stays.
        let fits = match self.wants {
            Wants::Layer(layer, _) => pool.check_layer(layer).map(|()| true),
            Wants::Sequence { .. } => Ok(self.blocks(pool) == blocks),
        };
        let standing = pool.accounts.standing(self.agent).ok_or(AllocateError::UnknownAgent);
        let refused = match (fits, standing) {
            (Ok(true), Ok(standing)) => {
                return pool.take_permitted(raw, standing.tenure, blocks, home);
            }
            (Ok(false), Ok(_)) => Ok(false),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        pool.permits.release(blocks, home);
        refused
    }
}

impl<P: Deref<Target = BlockPool> + Clone + Unpin> Future for Allocation<P> {
    type Output = Result<Lease<P>, WaitError>;

    /// An allocation that has ended and is polled again makes the same request anew.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().advance(cx.waker()).transpose().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<P: Deref<Target = BlockPool>> Allocation<P> {
    fn leave_queue(&mut self) {
        if let Some((place, _)) = self.waiting.take()
            && !mutant("allocation.place-kept")
        {
            self.pool.permits.leave(&place, thread_index());
        }
    }
}

impl<P: Deref<Target = BlockPool>> Drop for Allocation<P> {
    fn drop(&mut self) {
        self.leave_queue();
    }
}

impl<P: Deref<Target = BlockPool>> fmt::Debug for Allocation<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allocation")
            .field("agent", &self.request.agent)
            .field("wants", &self.request.wants)
            .field("waiting", &self.waiting.is_some())
            .finish_non_exhaustive()
    }
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

impl BlockPool {
    /// Like [`allocate`](Self::allocate), and waits for up to `timeout` when too few blocks are free:
    /// see [`Allocation`].
    ///
    /// # Errors
    /// [`WaitError`]; the pool is unchanged then.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, WaitError};
    /// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(4, 8, 128, 16)?))?;
    /// let agent = pool.open_account()?;
    /// let timeout = Duration::from_millis(5);
    /// let all = pool.allocate_within(agent, LayerId(0), 20, timeout)?;
    /// assert_eq!(
    ///     pool.allocate_within(agent, LayerId(0), 10, timeout).unwrap_err(),
    ///     WaitError::TimedOut { requested: 10, timeout },
    /// );
    /// std::thread::scope(|scope| {
    ///     let waits = scope.spawn(|| pool.allocate_within(agent, LayerId(0), 10, Duration::MAX));
    ///     drop(all);
    ///     assert_eq!(waits.join().unwrap()?.len(), 10);
    ///     Ok::<(), WaitError>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allocate_within(
        &self,
        agent: AgentHandle,
        layer: LayerId,
        blocks: u32,
        timeout: Duration,
    ) -> Result<BlockLease<'_>, WaitError> {
        self.allocate_async(agent, layer, blocks).within(timeout)
    }

    /// Like [`allocate_sequence`](Self::allocate_sequence), and waits for up to `timeout`.
    ///
    /// # Errors
    /// [`WaitError`]; the pool is unchanged then.
    pub fn allocate_sequence_within(
        &self,
        agent: AgentHandle,
        tokens: u32,
        timeout: Duration,
    ) -> Result<BlockLease<'_>, WaitError> {
        self.allocate_sequence_async(agent, tokens).within(timeout)
    }

    /// Like [`allocate`](Self::allocate), as a future that waits when too few blocks are free.
    pub fn allocate_async(
        &self,
        agent: AgentHandle,
        layer: LayerId,
        blocks: u32,
    ) -> Allocation<&Self> {
        Allocation::new(self, agent, Wants::Layer(layer, blocks))
    }

    /// The same with a future and a lease that keep the pool alive, for tasks of their own.
    pub fn allocate_owned_async(
        self: &Arc<Self>,
        agent: AgentHandle,
        layer: LayerId,
        blocks: u32,
    ) -> Allocation<Arc<Self>> {
        Allocation::new(Arc::clone(self), agent, Wants::Layer(layer, blocks))
    }

    /// Like [`allocate_sequence`](Self::allocate_sequence), as a future that waits when too few blocks
    /// are free.
    pub fn allocate_sequence_async(&self, agent: AgentHandle, tokens: u32) -> Allocation<&Self> {
        Allocation::new(self, agent, Wants::Sequence { tokens })
    }

    /// The same with a future and a lease that keep the pool alive, for tasks of their own.
    pub fn allocate_sequence_owned_async(
        self: &Arc<Self>,
        agent: AgentHandle,
        tokens: u32,
    ) -> Allocation<Arc<Self>> {
        Allocation::new(Arc::clone(self), agent, Wants::Sequence { tokens })
    }

    /// Callers that have a place in the queue now: they wait, or have been granted their blocks and have
    /// not looked yet. A gauge.
    pub fn waiters(&self) -> u32 {
        self.permits.places().1
    }

    /// How long those have waited who are in the queue, and who were: a gauge, read one after another.
    ///
    /// ```
    /// use std::time::Duration;
    /// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig};
    ///
    /// let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(4, 8, 128, 16)?))?;
    /// let agent = pool.open_account()?;
    /// let _all = pool.allocate(agent, LayerId(0), 20)?;
    /// assert_eq!(pool.waiting().longest, Duration::ZERO);
    /// let timeout = Duration::from_millis(2);
    /// assert!(pool.allocate_within(agent, LayerId(0), 1, timeout).is_err());
    /// let waiting = pool.waiting();
    /// assert!(waiting.oldest.is_none() && waiting.longest >= timeout);
    /// assert_eq!(pool.counters().total().waited(), waiting.longest, "nobody else waited");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn waiting(&self) -> Waiting {
        let (oldest, longest) = self.permits.wait_ages();
        Waiting { waiters: self.waiters(), oldest, longest }
    }
}
