//! What the thread that writes agents' sequences to disk shows.

use latchless::observe::{Observe, Reading};

use crate::cache::WriterReport;

impl Observe for WriterReport {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<WriterReport>;
        const JOBS: &str = "latchless_cache_writes_total";
        const DONE: &str = "Sequences that were handed over to be written, by what became of them";
        static READINGS: [Of; 3] = [
            Of::counter(JOBS, DONE, |writer| writer.saved).label("outcome", "saved"),
            Of::counter(JOBS, DONE, |writer| writer.superseded).label("outcome", "superseded"),
            Of::counter(JOBS, DONE, |writer| writer.failed).label("outcome", "failed"),
        ];
        &READINGS
    }
}
