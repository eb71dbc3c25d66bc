//! What a lane shows.

use latchless::observe::{Observe, Reading, SLOW_BOUNDS};

use crate::engine::LaneSnapshot;

impl Observe for LaneSnapshot {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<LaneSnapshot>;
        const ROWS: &str = "latchless_lane_rows_total";
        const COMPUTED: &str = "Rows of batches that were computed, by what they were for";
        const KEPT: &str = "latchless_lane_kept_rows_total";
        const SPARED: &str = "Rows of prompts that were not computed, by where they were kept";
        const ENDED: &str = "latchless_lane_requests_ended_total";
        const WHY: &str = "Requests that ended, by reason";
        const PRESSURE: &str = "latchless_lane_pressure_total";
        const ROOM: &str = "What was done for want of cells, by what it was";
        const TOKENS: &str = "latchless_lane_tokens_total";
        const OF: &str = "Tokens of the requests that ended, by what they were";
        static READINGS: [Of; 31] = [
            Of::gauge("latchless_lane_requests_running", "Requests that have a sequence", |lane| {
                lane.running.into()
            }),
            Of::gauge("latchless_lane_requests_waiting", "Requests that wait for one", |lane| {
                lane.waiting.into()
            }),
            Of::gauge(
                "latchless_lane_idle_sequences",
                "Sequences that are kept for their agent's next turn",
                |lane| lane.idle_sequences.into(),
            ),
            Of::gauge("latchless_lane_idle_tokens", "Tokens in them", |lane| {
                lane.idle_tokens as f64
            }),
            Of::counter("latchless_lane_steps_total", "Steps", |lane| lane.steps),
            Of::counter("latchless_lane_admitted_total", "Requests that got a sequence", |lane| {
                lane.admitted
            }),
            Of::counter(ROWS, COMPUTED, |lane| lane.prefill_rows).label("phase", "prefill"),
            Of::counter(ROWS, COMPUTED, |lane| lane.decode_rows).label("phase", "decode"),
            Of::counter(KEPT, SPARED, |lane| lane.reused_rows - lane.resumed_rows)
                .label("where", "context"),
            Of::counter(KEPT, SPARED, |lane| lane.resumed_rows).label("where", "disk"),
            Of::counter(
                "latchless_lane_failed_decodes_total",
                "Decodes that the backend failed",
                |lane| lane.failed_decodes,
            ),
            Of::counter(PRESSURE, ROOM, |lane| lane.evicted).label("what", "evicted"),
            Of::counter(PRESSURE, ROOM, |lane| lane.parked).label("what", "parked"),
            Of::counter(PRESSURE, ROOM, |lane| lane.dropped).label("what", "dropped"),
            Of::counter(PRESSURE, ROOM, |lane| lane.brought_back).label("what", "brought_back"),
            Of::counter(
                "latchless_lane_saved_total",
                "Sequences that were handed over to be written to disk",
                |lane| lane.saved,
            ),
            Of::counter(ENDED, WHY, |lane| lane.ended.end_of_generation)
                .label("reason", "end_of_generation"),
            Of::counter(ENDED, WHY, |lane| lane.ended.length).label("reason", "length"),
            Of::counter(ENDED, WHY, |lane| lane.ended.stop).label("reason", "stop"),
            Of::counter(ENDED, WHY, |lane| lane.ended.cancelled).label("reason", "cancelled"),
            Of::counter(ENDED, WHY, |lane| lane.ended.deadline).label("reason", "deadline"),
            Of::counter(ENDED, WHY, |lane| lane.ended.shutdown).label("reason", "shutdown"),
            Of::counter(ENDED, WHY, |lane| lane.ended.failed).label("reason", "failed"),
            Of::counter(TOKENS, OF, |lane| lane.prompt_tokens).label("kind", "prompt"),
            Of::counter(TOKENS, OF, |lane| lane.cached_tokens).label("kind", "cached"),
            Of::counter(TOKENS, OF, |lane| lane.recomputed_tokens).label("kind", "recomputed"),
            Of::counter(TOKENS, OF, |lane| lane.generated_tokens).label("kind", "generated"),
            Of::histogram(
                "latchless_lane_batch_seconds",
                "How long a batch took: the time between two tokens of whoever generates",
                SLOW_BOUNDS,
                |lane| &lane.batch,
            ),
            Of::histogram(
                "latchless_lane_queue_seconds",
                "From submit until a request got a sequence",
                SLOW_BOUNDS,
                |lane| &lane.queued,
            ),
            Of::histogram(
                "latchless_lane_first_token_seconds",
                "From submit to the first token",
                SLOW_BOUNDS,
                |lane| &lane.first_token,
            ),
            Of::histogram(
                "latchless_lane_request_seconds",
                "From submit to the end",
                SLOW_BOUNDS,
                |lane| &lane.total,
            ),
        ];
        &READINGS
    }
}
