//! What a pool shows.

use std::time::Duration;

use super::{FAST_BOUNDS, Observe, Reading, Unit};
use crate::pool::{BlockPool, Census, Latencies, PoolUsage, StripeCounters, Timed, Waiting};

/// A pool at a glance: see [`BlockPool::snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSnapshot {
    /// How many blocks are free, and how many are not.
    pub usage: PoolUsage,
    /// Bytes that one block of one layer stands for, in the geometry in force.
    pub block_bytes: u64,
    /// How often the geometry was replaced.
    pub generation: u64,
    /// Agents that can be registered at once.
    pub max_agents: u32,
    /// Who waits for blocks.
    pub waiting: Waiting,
    /// What happened off the fast path, on all stripes together.
    pub counters: StripeCounters,
}

impl BlockPool {
    /// What there is to see without a walk over the blocks, for a display or a recorder of metrics. Reads
    /// only, in time proportional to the stripes and the places for waiting (and to the accounts once an
    /// agent has had a reserve); nobody waits for it, and it waits for nobody.
    ///
    /// The numbers are read one after another while the pool goes on: each is true at its moment.
    ///
    /// ```
    /// use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig};
    /// let pool = BlockPool::new(PoolConfig::new(100, ModelSpec::new(1, 8, 128, 16)?))?;
    /// let agent = pool.open_account()?;
    /// let lease = pool.allocate(agent, LayerId(0), 30)?;
    /// let snapshot = pool.snapshot();
    /// assert_eq!(snapshot.usage.used, 30);
    /// assert_eq!(snapshot.block_bytes, 2 * 2 * 8 * 128 * 16, "keys and values of 16 bits");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> PoolSnapshot {
        let model = self.model();
        PoolSnapshot {
            usage: self.usage(),
            block_bytes: model.spec.bytes_per_block(),
            generation: model.number,
            max_agents: self.max_agents(),
            waiting: self.waiting(),
            counters: self.counters().total(),
        }
    }
}

/// How long a [`Timed`] pool's operations took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLatencies {
    /// Allocations, refused ones included.
    pub allocations: Latencies,
    /// Frees.
    pub frees: Latencies,
}

impl<P: std::ops::Deref<Target = BlockPool>> Timed<P> {
    /// Both histograms as they are now; 30 KiB.
    pub fn latencies(&self) -> PoolLatencies {
        PoolLatencies { allocations: self.allocations().snapshot(), frees: self.frees().snapshot() }
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

impl Observe for PoolSnapshot {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<PoolSnapshot>;
        const RETRIES: &str = "latchless_pool_retries_total";
        const RETRIED: &str = "Changes of a word that another thread's came before, by the word";
        const REFUSALS: &str = "latchless_pool_refusals_total";
        const REFUSED: &str = "Requests that were refused, by what was used up";
        static READINGS: [Of; 24] = [
            Of::gauge("latchless_pool_blocks", "Blocks of the pool", |pool| {
                pool.usage.total.into()
            }),
            Of::gauge("latchless_pool_blocks_free", "Blocks that could be allocated", |pool| {
                pool.usage.free.into()
            }),
            Of::gauge("latchless_pool_blocks_used", "Blocks that are out", |pool| {
                pool.usage.used.into()
            }),
            Of::gauge(
                "latchless_pool_blocks_reserved",
                "Of the free blocks, those that are reserved for some agent",
                |pool| pool.usage.reserved.into(),
            ),
            Of::gauge(
                "latchless_pool_block_bytes",
                "Bytes that a block of one layer stands for",
                |pool| pool.block_bytes as f64,
            )
            .unit(Unit::Bytes),
            Of::gauge(
                "latchless_pool_agents_limit",
                "Agents that can be registered at once",
                |pool| pool.max_agents.into(),
            ),
            Of::counter(
                "latchless_pool_reconfigurations_total",
                "Replacements of the geometry",
                |pool| pool.generation,
            ),
            Of::gauge("latchless_pool_waiters", "Callers that wait for blocks", |pool| {
                pool.waiting.waiters.into()
            }),
            Of::gauge(
                "latchless_pool_oldest_wait_seconds",
                "How long the one has waited that waits longest; 0 when nobody does",
                |pool| pool.waiting.oldest.map_or(0.0, seconds),
            )
            .unit(Unit::Seconds),
            Of::gauge(
                "latchless_pool_longest_wait_seconds",
                "The longest that anybody waited who has left the queue",
                |pool| seconds(pool.waiting.longest),
            )
            .unit(Unit::Seconds),
            Of::counter("latchless_pool_waits_total", "Requests that had to wait", |pool| {
                pool.counters.waits
            }),
            Of::counter(
                "latchless_pool_waited_nanoseconds_total",
                "Time that they waited, of those who have left the queue",
                |pool| pool.counters.waited_ns,
            )
            .unit(Unit::Nanoseconds),
            Of::counter(REFUSALS, REFUSED, |pool| pool.counters.refusals)
                .label("reason", "exhausted"),
            Of::counter(REFUSALS, REFUSED, |pool| pool.counters.quota_refusals)
                .label("reason", "quota"),
            Of::counter(
                "latchless_pool_steals_total",
                "Requests whose permits came from another thread's stripe",
                |pool| pool.counters.steals,
            ),
            Of::counter(
                "latchless_pool_gathers_total",
                "Requests for which no stripe had enough: the pool is nearly full",
                |pool| pool.counters.gathers,
            ),
            Of::counter(
                "latchless_pool_gather_moves_total",
                "Stripes whose permits were moved to the centre",
                |pool| pool.counters.moves,
            ),
            Of::counter(
                "latchless_pool_slow_releases_total",
                "Releases that found their stripe closed by a gather",
                |pool| pool.counters.slow_releases,
            ),
            Of::counter(
                "latchless_pool_scans_total",
                "Spans that were looked at in order, because the free list named none",
                |pool| pool.counters.scans,
            ),
            Of::counter(RETRIES, RETRIED, |pool| pool.counters.retries).label("word", "centre"),
            Of::counter(RETRIES, RETRIED, |pool| pool.counters.stripe_retries)
                .label("word", "stripe"),
            Of::counter(RETRIES, RETRIED, |pool| pool.counters.span_retries).label("word", "span"),
            Of::counter(RETRIES, RETRIED, |pool| pool.counters.account_retries)
                .label("word", "account"),
            Of::counter(RETRIES, RETRIED, |pool| pool.counters.seat_retries).label("word", "seat"),
        ];
        &READINGS
    }
}

impl Observe for PoolLatencies {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<PoolLatencies>;
        static READINGS: [Of; 2] = [
            Of::histogram(
                "latchless_pool_allocate_seconds",
                "How long an allocation took its caller",
                FAST_BOUNDS,
                |pool| &pool.allocations,
            ),
            Of::histogram(
                "latchless_pool_free_seconds",
                "How long it took to drop a lease or to free handles",
                FAST_BOUNDS,
                |pool| &pool.frees,
            ),
        ];
        &READINGS
    }
}

impl Observe for Census {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<Census>;
        static READINGS: [Of; 3] = [
            Of::gauge("latchless_pool_owners", "Agents that have blocks", |census| {
                census.owned.len() as f64
            }),
            Of::gauge("latchless_pool_blocks_shared", "Blocks with several holders", |census| {
                census.shared.into()
            }),
            Of::gauge(
                "latchless_pool_blocks_in_flight",
                "Blocks in the middle of being taken or given back; what stays while nothing runs \
                 is lost",
                |census| census.in_flight.len() as f64,
            ),
        ];
        &READINGS
    }
}
