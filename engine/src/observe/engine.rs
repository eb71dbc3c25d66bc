//! What an engine shows of all its lanes together.

use latchless::observe::{Observe, Reading};

use crate::engine::EngineSnapshot;

impl Observe for EngineSnapshot {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<EngineSnapshot>;
        const REFUSED: &str = "latchless_engine_refusals_total";
        const WHY: &str = "Submits that were refused, by reason";
        static READINGS: [Of; 10] = [
            Of::counter("latchless_engine_swaps_total", "Replacements of the model", |engine| {
                engine.generation
            }),
            Of::gauge("latchless_engine_requests", "Requests that wait or run", |engine| {
                engine.requests.into()
            }),
            Of::gauge(
                "latchless_engine_requests_limit",
                "The most requests that can be inside",
                |engine| engine.max_requests.into(),
            ),
            Of::gauge(
                "latchless_engine_requests_retiring",
                "Requests that the model before has to finish",
                |engine| engine.retiring.into(),
            ),
            Of::gauge("latchless_engine_lanes", "Lanes, retiring ones included", |engine| {
                engine.lanes.len() as f64
            }),
            Of::counter(REFUSED, WHY, |engine| engine.refused.blocks).label("reason", "blocks"),
            Of::counter(REFUSED, WHY, |engine| engine.refused.requests).label("reason", "requests"),
            Of::counter(REFUSED, WHY, |engine| engine.refused.draining).label("reason", "draining"),
            Of::counter(REFUSED, WHY, |engine| engine.refused.closed).label("reason", "closed"),
            Of::counter(REFUSED, WHY, |engine| engine.refused.invalid).label("reason", "invalid"),
        ];
        &READINGS
    }
}
