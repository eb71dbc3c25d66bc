//! What the scripted backend did, for a test that holds no backend any more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::{Batch, BatchRow};

/// Counts of one backend; any thread may read them while the lane steps.
///
/// The counts are separate words, read one by one: exact when the lane is idle, and each never
/// behind what its reader was told by the lane.
#[derive(Debug, Clone, Default)]
pub struct Probe(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    decodes: AtomicU64,
    failed: AtomicU64,
    rows: AtomicU64,
    samples: AtomicU64,
    truncations: AtomicU64,
    shared: AtomicU64,
    parked: AtomicU64,
    unparked: AtomicU64,
    saved: AtomicU64,
    loaded: AtomicU64,
    batches: Mutex<Vec<Vec<BatchRow>>>,
}

impl Probe {
    /// Calls of `decode`, failed ones included.
    pub fn decodes(&self) -> u64 {
        self.0.decodes.load(Ordering::Acquire)
    }

    /// Calls of `decode` that returned an error.
    pub fn failed_decodes(&self) -> u64 {
        self.0.failed.load(Ordering::Acquire)
    }

    /// Rows that were computed.
    pub fn rows(&self) -> u64 {
        self.0.rows.load(Ordering::Acquire)
    }

    /// Tokens that were drawn.
    pub fn samples(&self) -> u64 {
        self.0.samples.load(Ordering::Acquire)
    }

    /// Truncations that succeeded.
    pub fn truncations(&self) -> u64 {
        self.0.truncations.load(Ordering::Acquire)
    }

    /// Tokens that a sequence began with because another one kept them.
    pub fn shared_tokens(&self) -> u64 {
        self.0.shared.load(Ordering::Acquire)
    }

    /// Sequences that were copied to host memory.
    pub fn parked(&self) -> u64 {
        self.0.parked.load(Ordering::Acquire)
    }

    /// Sequences that were brought back.
    pub fn unparked(&self) -> u64 {
        self.0.unparked.load(Ordering::Acquire)
    }

    /// States that were copied out, to outlive the context.
    pub fn saved(&self) -> u64 {
        self.0.saved.load(Ordering::Acquire)
    }

    /// States that were copied in.
    pub fn loaded(&self) -> u64 {
        self.0.loaded.load(Ordering::Acquire)
    }

    /// The rows of every call of `decode`, failed ones included, in order; empty unless
    /// [`record_batches`](super::ScriptedBuilder::record_batches) asked for them.
    pub fn batches(&self) -> Vec<Vec<BatchRow>> {
        self.0.batches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn decode(&self) -> u64 {
        // One lane writes; Release lets a reader that sees the count see what came before it.
        self.0.decodes.fetch_add(1, Ordering::Release)
    }

    pub(super) fn failed_decode(&self) {
        self.0.failed.fetch_add(1, Ordering::Release);
    }

    pub(super) fn computed(&self, rows: usize) {
        self.0.rows.fetch_add(rows as u64, Ordering::Release);
    }

    pub(super) fn sampled(&self) {
        self.0.samples.fetch_add(1, Ordering::Release);
    }

    pub(super) fn truncated(&self) {
        self.0.truncations.fetch_add(1, Ordering::Release);
    }

    pub(super) fn shared(&self, tokens: u32) {
        self.0.shared.fetch_add(tokens.into(), Ordering::Release);
    }

    pub(super) fn parked_one(&self) {
        self.0.parked.fetch_add(1, Ordering::Release);
    }

    pub(super) fn unparked_one(&self) {
        self.0.unparked.fetch_add(1, Ordering::Release);
    }

    pub(super) fn saved_one(&self) {
        self.0.saved.fetch_add(1, Ordering::Release);
    }

    pub(super) fn loaded_one(&self) {
        self.0.loaded.fetch_add(1, Ordering::Release);
    }

    pub(super) fn record(&self, batch: &Batch) {
        let mut batches = self.0.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.push(batch.rows().to_vec());
    }
}
