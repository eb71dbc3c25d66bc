//! What agents and what is kept about them show.

use super::{Observe, Reading, Unit};
use crate::agent::{
    DirectoryContention, Outbox, OutboxContention, SpawnContention, SpawnSlots, TablePins,
};

/// A spawner's slots at a glance: see [`SpawnSlots::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpawnSnapshot {
    /// The most agents that may run.
    pub limit: usize,
    /// Agents that run or are being started.
    pub running: usize,
    /// How often threads came into each other's way.
    pub contention: SpawnContention,
}

impl SpawnSlots {
    /// What there is to see, for a display or a recorder of metrics. Wait-free: reads only.
    ///
    /// ```
    /// use latchless::{SpawnSlots, Tick};
    /// let slots = SpawnSlots::new(4)?;
    /// let agent = slots.reserve(Tick(0))?;
    /// let snapshot = slots.snapshot();
    /// assert_eq!((snapshot.running, snapshot.limit), (1, 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> SpawnSnapshot {
        SpawnSnapshot {
            limit: self.limit(),
            running: self.running(),
            contention: self.contention(),
        }
    }
}

/// An outbox at a glance: see [`Outbox::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxSnapshot {
    /// Items that it has room for.
    pub capacity: usize,
    /// Items that are in it.
    pub len: usize,
    /// Items that had to go.
    pub dropped: u64,
    /// How often threads came into each other's way.
    pub contention: OutboxContention,
}

impl<T> Outbox<T> {
    /// What there is to see, for a display or a recorder of metrics. Lock-free: reads only.
    ///
    /// A host with thousands of agents adds their outboxes up before it exports them, rather than giving
    /// each a label of its own.
    ///
    /// ```
    /// use latchless::Outbox;
    /// let outbox = Outbox::new(1)?;
    /// outbox.push("first");
    /// outbox.push("second");
    /// let snapshot = outbox.snapshot();
    /// assert_eq!((snapshot.len, snapshot.dropped), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> OutboxSnapshot {
        OutboxSnapshot {
            capacity: self.capacity(),
            len: self.len(),
            dropped: self.dropped(),
            contention: self.contention(),
        }
    }
}

impl Observe for SpawnSnapshot {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<SpawnSnapshot>;
        const RETRIES: &str = "latchless_spawner_retries_total";
        const RETRIED: &str = "Steps that another thread's came before, by the step";
        static READINGS: [Of; 4] = [
            Of::gauge("latchless_spawner_limit", "The most agents that may run", |slots| {
                slots.limit as f64
            }),
            Of::gauge(
                "latchless_spawner_running",
                "Agents that run or are being started",
                |slots| slots.running as f64,
            ),
            Of::counter(RETRIES, RETRIED, |slots| slots.contention.reserve_retries)
                .label("step", "reserve"),
            Of::counter(RETRIES, RETRIED, |slots| slots.contention.step_retries)
                .label("step", "other"),
        ];
        &READINGS
    }
}

impl Observe for OutboxSnapshot {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<OutboxSnapshot>;
        const RETRIES: &str = "latchless_outbox_retries_total";
        const RETRIED: &str = "Steps that another thread's came before, by the step";
        static READINGS: [Of; 6] = [
            Of::gauge("latchless_outbox_limit", "Items that it has room for", |outbox| {
                outbox.capacity as f64
            }),
            Of::gauge("latchless_outbox_items", "Items that wait for a reader", |outbox| {
                outbox.len as f64
            }),
            Of::counter(
                "latchless_outbox_dropped_total",
                "Items that had to go for newer ones",
                |outbox| outbox.dropped,
            ),
            Of::counter(RETRIES, RETRIED, |outbox| outbox.contention.push_retries)
                .label("step", "push"),
            Of::counter(RETRIES, RETRIED, |outbox| outbox.contention.pop_retries)
                .label("step", "pop"),
            Of::counter(RETRIES, RETRIED, |outbox| outbox.contention.node_retries)
                .label("step", "node"),
        ];
        &READINGS
    }
}

impl Observe for TablePins {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<TablePins>;
        static READINGS: [Of; 4] = [
            Of::gauge("latchless_tables_accesses", "Accesses to the block tables", |pins| {
                pins.accesses as f64
            }),
            Of::gauge(
                "latchless_tables_pinned",
                "Threads that are inside a read or a replacement",
                |pins| pins.pinned as f64,
            ),
            Of::gauge(
                "latchless_tables_oldest_pin",
                "Tables that were published since the oldest of these began; one that grows is a \
                 frozen thread",
                |pins| pins.oldest_age as f64,
            ),
            Of::gauge(
                "latchless_tables_unfreed",
                "Replaced tables that are not freed yet",
                |pins| pins.waiting as f64,
            ),
        ];
        &READINGS
    }
}

impl Observe for DirectoryContention {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<DirectoryContention>;
        static READINGS: [Of; 2] = [
            Of::counter(
                "latchless_directory_waits_total",
                "Look-ups of agents by name that found their shard locked",
                |directory| directory.waits,
            ),
            Of::counter(
                "latchless_directory_waited_nanoseconds_total",
                "Time that they waited",
                |directory| u64::try_from(directory.waited.as_nanos()).unwrap_or(u64::MAX),
            )
            .unit(Unit::Nanoseconds),
        ];
        &READINGS
    }
}
