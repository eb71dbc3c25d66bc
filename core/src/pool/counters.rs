//! Counting what happens off the fast path.
//!
//! An allocation that finds its permits in its thread's stripe and its blocks under its cursor, and the
//! free that gives them back, count nothing. Everything else ends in one relaxed add on a line of the
//! thread's stripe. So counting costs the steady state nothing, and what is counted tells how far a pool
//! is from it.

use std::time::Duration;

use super::BlockPool;
use crate::contention::Tally;

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Retry,
    Steal,
    Gather,
    Move,
    Refusal,
    QuotaRefusal,
    SlowRelease,
    Wait,
    Listed,
    Scan,
    Unlisted,
    StripeRetry,
    SpanRetry,
    AccountRetry,
    SeatRetry,
    WaitedNanos,
}

const EVENTS: usize = Event::WaitedNanos as usize + 1;

/// What happened on the threads of one stripe, or on all of them, since the pool was made.
///
/// ```
/// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig, StripeCounters};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let _lease = pool.allocate(agent, LayerId(0), 20)?;
/// assert!(pool.allocate(agent, LayerId(0), 1).is_err());
/// let StripeCounters { refusals, .. } = pool.counters().total();
/// assert_eq!(refusals, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StripeCounters {
    /// Changes of the permits' central word that somebody else's change came before, and that were tried
    /// again.
    pub retries: u64,
    /// Requests whose permits came from another thread's stripe.
    pub steals: u64,
    /// Gathers begun: no stripe had enough for a request. Many of them mean that the pool is nearly full,
    /// or has more stripes than its requests let it fill.
    pub gathers: u64,
    /// Stripes whose permits were moved to the centre for a gather.
    pub moves: u64,
    /// Requests that were refused for want of free blocks, waiting ones at each look included.
    pub refusals: u64,
    /// Requests that were refused by their agent's quota before they took anything.
    pub quota_refusals: u64,
    /// Releases that found their stripe closed by a gather.
    pub slow_releases: u64,
    /// Requests that joined the queue of those who wait.
    pub waits: u64,
    /// Spans that were taken from the free list.
    pub listed: u64,
    /// Spans that were looked at in order, because the free list had none or somebody was inside.
    pub scans: u64,
    /// Spans that were not listed when they should have been, because somebody was inside the list.
    pub unlisted: u64,
    /// Changes of a stripe's permits that another thread's came before, and that were tried again: threads
    /// that share a stripe, or take from each other's.
    pub stripe_retries: u64,
    /// Claims of a span's blocks that another thread's claim or release came before, and that were tried
    /// again.
    pub span_retries: u64,
    /// Changes of an agent's account that another thread's came before, and that were tried again: one
    /// agent's blocks, or its limits, in many hands.
    pub account_retries: u64,
    /// Places in the queue of those who wait that another thread took first.
    pub seat_retries: u64,
    /// Nanoseconds that those who joined the queue waited, until they took up their blocks or gave up: the sum
    /// of those who have left it. See [`waited`](Self::waited).
    pub waited_ns: u64,
}

impl StripeCounters {
    /// Time that those who joined the queue waited, all together.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited_ns)
    }
}

/// The [counters](StripeCounters) of a pool, by stripe.
///
/// ```
/// use latchless::{BlockPool, ModelSpec, PoolConfig, PoolCounters};
/// # let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(2, 8, 128, 16)?))?;
/// # let agent = pool.open_account()?;
/// let earlier: PoolCounters = pool.counters();
/// # let _ = agent;
/// assert_eq!(pool.counters().since(&earlier).total().refusals, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolCounters {
    /// What the threads of each stripe met.
    pub stripes: Vec<StripeCounters>,
}

impl PoolCounters {
    /// All stripes together.
    pub fn total(&self) -> StripeCounters {
        self.stripes
            .iter()
            .fold(StripeCounters::default(), |sum, stripe| sum.zip(*stripe, u64::saturating_add))
    }

    /// What happened between `earlier` and this, two snapshots of one pool.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = self.stripes.iter().zip(&earlier.stripes);
        Self { stripes: pairs.map(|(now, then)| now.zip(*then, u64::saturating_sub)).collect() }
    }
}

impl StripeCounters {
    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self::read(|event| with(self.of(event), other.of(event)))
    }

    fn read(count: impl Fn(Event) -> u64) -> Self {
        Self {
            retries: count(Event::Retry),
            steals: count(Event::Steal),
            gathers: count(Event::Gather),
            moves: count(Event::Move),
            refusals: count(Event::Refusal),
            quota_refusals: count(Event::QuotaRefusal),
            slow_releases: count(Event::SlowRelease),
            waits: count(Event::Wait),
            listed: count(Event::Listed),
            scans: count(Event::Scan),
            unlisted: count(Event::Unlisted),
            stripe_retries: count(Event::StripeRetry),
            span_retries: count(Event::SpanRetry),
            account_retries: count(Event::AccountRetry),
            seat_retries: count(Event::SeatRetry),
            waited_ns: count(Event::WaitedNanos),
        }
    }

    fn of(&self, event: Event) -> u64 {
        match event {
            Event::Retry => self.retries,
            Event::Steal => self.steals,
            Event::Gather => self.gathers,
            Event::Move => self.moves,
            Event::Refusal => self.refusals,
            Event::QuotaRefusal => self.quota_refusals,
            Event::SlowRelease => self.slow_releases,
            Event::Wait => self.waits,
            Event::Listed => self.listed,
            Event::Scan => self.scans,
            Event::Unlisted => self.unlisted,
            Event::StripeRetry => self.stripe_retries,
            Event::SpanRetry => self.span_retries,
            Event::AccountRetry => self.account_retries,
            Event::SeatRetry => self.seat_retries,
            Event::WaitedNanos => self.waited_ns,
        }
    }
}

/// The counters of one layer of a pool.
#[derive(Debug)]
pub(super) struct Counters(Tally<EVENTS>);

impl Counters {
    /// For `stripes` stripes, a power of two.
    pub(super) fn new(stripes: usize) -> Self {
        Self(Tally::with_stripes(stripes))
    }

    /// Counts an event of the calling thread.
    #[cold]
    pub(super) fn add(&self, event: Event) {
        self.0.count(event as usize);
    }

    /// Adds to the time that the calling thread has waited.
    pub(super) fn waited(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.add(Event::WaitedNanos as usize, nanoseconds);
    }

    pub(super) fn load(&self, stripe: usize, event: Event) -> u64 {
        self.0.of(stripe, event as usize)
    }
}

impl BlockPool {
    /// What happened off the fast path since the pool was made: counters that are read one after another
    /// while they go on.
    ///
    /// ```
    /// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig};
    ///
    /// let pool = BlockPool::new(PoolConfig::new(100, ModelSpec::new(1, 8, 128, 16)?).stripes(2))?;
    /// let agent = pool.open_account()?;
    /// let before = pool.counters();
    /// let lease = pool.allocate(agent, LayerId(0), 20)?;
    /// drop(lease);
    /// assert_eq!(pool.counters(), before, "the fast path counts nothing");
    ///
    /// // No stripe has 80, and then none has 21: twice the permits are gathered, and once in vain.
    /// let lease = pool.allocate(agent, LayerId(0), 80)?;
    /// assert!(pool.allocate(agent, LayerId(0), 21).is_err());
    /// let met = pool.counters().since(&before).total();
    /// assert_eq!((met.gathers, met.refusals), (2, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn counters(&self) -> PoolCounters {
        let layers = [self.permits.counters(), self.blocks.counters(), self.accounts.counters()];
        let stripe = |stripe| {
            // Each event is counted by one of them.
            StripeCounters::read(|event| layers.iter().map(|layer| layer.load(stripe, event)).sum())
        };
        PoolCounters { stripes: (0..layers[0].0.stripes()).map(stripe).collect() }
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;
    use crate::id::LayerId;
    use crate::model::ModelSpec;
    use crate::pool::PoolConfig;
    use crate::sync::thread_index;

    #[test]
    fn every_event_has_its_own_number() {
        let counters = Counters::new(2);
        let events = [
            Event::Retry,
            Event::Steal,
            Event::Gather,
            Event::Move,
            Event::Refusal,
            Event::QuotaRefusal,
            Event::SlowRelease,
            Event::Wait,
            Event::Listed,
            Event::Scan,
            Event::Unlisted,
            Event::StripeRetry,
            Event::SpanRetry,
            Event::AccountRetry,
            Event::SeatRetry,
            Event::WaitedNanos,
        ];
        assert_eq!(events.len(), EVENTS);
        for (times, event) in events.into_iter().enumerate() {
            (0..times).for_each(|_| counters.add(event));
        }
        let stripe = thread_index() % 2;
        let counted = StripeCounters::read(|event| counters.load(stripe, event));
        for (times, event) in events.into_iter().enumerate() {
            assert_eq!(counted.of(event), times as u64, "{event:?}");
        }
        let other = StripeCounters::read(|event| counters.load(1 - stripe, event));
        assert_eq!(other, StripeCounters::default());
    }

    /// What one thread meets, counted on its stripe: nothing as long as its own stripe and span do.
    #[test]
    fn what_a_thread_meets_is_counted() {
        let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
        let pool = BlockPool::new(PoolConfig::new(128, spec).stripes(2)).unwrap();
        let agent = pool.open_account().unwrap();
        let allocate = |blocks| pool.allocate(agent, LayerId(0), blocks);
        let none = StripeCounters::default();
        drop((allocate(30).unwrap(), allocate(30).unwrap()));
        assert_eq!(pool.counters().total(), none);

        // The home stripe has 64 permits, and then 24; the home span has 64 blocks, and the other is
        // found in order, since it was never listed.
        let leases = (allocate(40).unwrap(), allocate(40).unwrap());
        assert_eq!(pool.counters().total(), StripeCounters { steals: 1, scans: 1, ..none });
        drop(leases);
        let before = pool.counters();
        let all = allocate(128).unwrap();
        assert!(allocate(1).is_err());
        drop(all);
        let met = pool.counters().since(&before).total();
        assert_eq!((met.refusals, met.slow_releases, met.retries), (1, 1, 0));
        assert_eq!((met.gathers, met.moves), (1, 2));
        pool.set_quota(agent, Some(5)).unwrap();
        assert!(allocate(6).is_err());
        assert_eq!(pool.counters().since(&before).total().quota_refusals, 1);
        let stripes = pool.counters().stripes;
        assert_eq!(stripes[1 - thread_index() % 2], none, "only this thread met anything");
    }

    #[test]
    fn snapshots_add_up_and_subtract() {
        let counters =
            |retries, scans| StripeCounters { retries, scans, ..StripeCounters::default() };
        let then = PoolCounters { stripes: vec![counters(1, 2), counters(3, 4)] };
        let now = PoolCounters { stripes: vec![counters(10, 2), counters(5, 40)] };
        assert_eq!(now.total(), counters(15, 42));
        let between = PoolCounters { stripes: vec![counters(9, 0), counters(2, 36)] };
        assert_eq!(now.since(&then), between);
    }
}
