//! What a store shows.

use std::time::Duration;

use latchless::observe::{Observe, Reading, Unit};

use crate::store::StoreStats;

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Observe for StoreStats {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<StoreStats>;
        const WAITS: &str = "latchless_store_waits_total";
        const WAITED: &str = "Waits that began, by what was waited for";
        const GIVEN_UP: &str = "latchless_store_waits_expired_total";
        const EXPIRED: &str = "Waits that were given up, by what was waited for";
        const TIME: &str = "latchless_store_waited_nanoseconds_total";
        const TOOK: &str = "Time that they took which have ended, by what was waited for";
        static READINGS: [Of; 15] = [
            Of::counter("latchless_store_writes_total", "Writes that were carried out", |store| {
                store.writes
            }),
            Of::counter(
                "latchless_store_commits_total",
                "Commits that they were put together into",
                |store| store.groups,
            ),
            Of::counter(
                "latchless_store_rolled_back_total",
                "Groups of writes that were not committed",
                |store| store.rolled_back,
            ),
            Of::counter(
                "latchless_store_relaxed_lost_total",
                "Writes in them whose callers had gone on",
                |store| store.relaxed_lost,
            ),
            Of::gauge("latchless_store_largest_group", "Writes of the largest commit", |store| {
                store.largest_group as f64
            }),
            Of::counter("latchless_store_reads_total", "Reads", |store| store.reads),
            Of::gauge("latchless_store_readers", "Readers that were opened", |store| {
                store.readers as f64
            }),
            Of::counter(
                "latchless_store_outputs_dropped_total",
                "Outputs that went because an agent had too many",
                |store| store.outputs_dropped,
            ),
            Of::counter(
                "latchless_store_write_waited_nanoseconds_total",
                "Time that callers waited until their writes were answered",
                |store| nanoseconds(store.write_waited),
            )
            .unit(Unit::Nanoseconds),
            Of::counter(WAITS, WAITED, |store| store.busy.waits).label("for", "process"),
            Of::counter(WAITS, WAITED, |store| store.reader.waits).label("for", "reader"),
            Of::counter(GIVEN_UP, EXPIRED, |store| store.busy.expired).label("for", "process"),
            Of::counter(GIVEN_UP, EXPIRED, |store| store.reader.expired).label("for", "reader"),
            Of::counter(TIME, TOOK, |store| nanoseconds(store.busy.waited))
                .label("for", "process")
                .unit(Unit::Nanoseconds),
            Of::counter(TIME, TOOK, |store| nanoseconds(store.reader.waited))
                .label("for", "reader")
                .unit(Unit::Nanoseconds),
        ];
        &READINGS
    }
}
