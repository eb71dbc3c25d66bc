//! What the JSON file holds.

use serde::Serialize;

/// Everything, with what it was measured on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) machine: String,
    pub(crate) pool_blocks: u32,
    pub(crate) rounds: u16,
    pub(crate) slice_ms: u64,
    pub(crate) rows: Vec<Row>,
    pub(crate) near_exhaustion: Vec<NearExhaustion>,
    pub(crate) size: Vec<Size>,
    pub(crate) memory: Vec<Memory>,
}

/// A contender, a number of threads and a size of requests: pairs of allocate and free a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) backend: &'static str,
    pub(crate) threads: u8,
    /// Blocks of a request.
    pub(crate) n: u32,
    /// Millions of pairs a second, all threads together: the median of the rounds, and their quartiles.
    pub(crate) mpairs_per_s: f64,
    pub(crate) q1: f64,
    pub(crate) q3: f64,
    /// The median of the rounds' ratios to the baseline in the same round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) x_mutex_owner: Option<f64>,
}

/// A contender in a pool 95 % of which is held: two threads, requests of random size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NearExhaustion {
    pub(crate) backend: &'static str,
    pub(crate) threads: u8,
    /// Millions of granted pairs a second.
    pub(crate) mpairs_per_s: f64,
    pub(crate) q1: f64,
    pub(crate) q3: f64,
    pub(crate) granted: u64,
    pub(crate) refused: u64,
    /// Refusals of what had to fit, and grants of what could not.
    pub(crate) wrong: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) x_mutex_owner: Option<f64>,
}

/// A large pool beside a small one: one thread.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Size {
    pub(crate) backend: &'static str,
    pub(crate) n: u32,
    /// Blocks of the larger pool; the smaller one is the one of the other tables.
    pub(crate) blocks: u32,
    /// Nanoseconds of a pair.
    pub(crate) small_ns: f64,
    pub(crate) large_ns: f64,
    /// The median of the rounds' ratios of the larger to the smaller pool.
    pub(crate) ratio: f64,
}

/// Heap memory of a pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Memory {
    pub(crate) backend: &'static str,
    pub(crate) blocks: u32,
    pub(crate) bytes: usize,
    pub(crate) bytes_per_block: f64,
}
