//! The changing side: KV cells and the logits of the last batch.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use latchless_llama_raw::state::{self, StateError};
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::{DecodeError as RawDecodeError, LlamaStateSeqFlags};
use self_cell::self_cell;

use super::super::ledger::Ledger;
use super::super::{
    Backend, BackendError, Batch, BatchRow, DecodeError, Limits, Model, Sampling, SequenceId, Token,
};
use super::memory::{self, Footprint};
use super::options::CELL_STEP;
use super::runtime::{creating, runtime};
use super::{CellLayout, ContextOptions, LlamaModel, LlamaSampler, LoadError, capture, threads};
use crate::cache::ModelTag;

type RawContext<'model> = llama_cpp_2::context::LlamaContext<'model>;

self_cell!(
    /// A context and the model that it points into: the model goes last.
    struct Bound {
        owner: Arc<LlamaModel>,
        #[covariant]
        dependent: RawContext,
    }
);

/// Rows that llama.cpp computes at once. A larger batch is computed in parts of this size, of which
/// the first can succeed and the second fail.
const PHYSICAL_ROWS: u32 = 512;

/// One llama.cpp context.
pub struct LlamaContext {
    bound: Bound,
    /// Allocated once, for as many rows as a batch can have and one sequence a row.
    batch: LlamaBatch<'static>,
    ledger: Ledger,
    layout: CellLayout,
    threads: u32,
}

impl fmt::Debug for LlamaContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlamaContext")
            .field("model", self.bound.borrow_owner())
            .field("limits", &self.ledger.limits())
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl LlamaContext {
    pub(super) fn new(model: Arc<LlamaModel>, options: &ContextOptions) -> Result<Self, LoadError> {
        options.validate()?;
        model.proved(|| Self::prove(&model))?;
        Self::make(model, options, threads::threads(options.threads))
    }

    fn make(
        model: Arc<LlamaModel>,
        options: &ContextOptions,
        threads: u32,
    ) -> Result<Self, LoadError> {
        let cells = options.cells(model.trained_context());
        let rows = options.batch_rows.min(cells);
        let physical = rows.min(PHYSICAL_ROWS);
        let footprint = Footprint::new(model.header(), physical, options.sequences);
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(cells))
            .with_n_batch(rows)
            .with_n_ubatch(physical)
            .with_n_seq_max(options.sequences)
            .with_n_threads(threads as i32)
            .with_n_threads_batch(threads as i32)
            .with_no_perf(true)
            .with_kv_unified(options.layout == CellLayout::Shared)
            // Sliding-window layers keep all cells, so that a sequence can forget its last tokens.
            .with_swa_full(true);
        let runtime = runtime()?;
        let one_at_a_time = creating();
        // Asked under the lock, so that two contexts are not granted the same memory.
        footprint.check(cells, memory::available())?;
        let (bound, reason) = capture::with_reason(|| {
            Bound::try_new(model, |model| model.raw().new_context(runtime, params))
        });
        let bound = bound.map_err(|_| LoadError::Context { cells, reason })?;
        let context = Self::from_bound(bound, options, threads);
        drop(one_at_a_time);
        Ok(context)
    }

    fn from_bound(bound: Bound, options: &ContextOptions, threads: u32) -> Self {
        let (model, raw) = (bound.borrow_owner(), bound.borrow_dependent());
        // What llama.cpp made of the options counts.
        let (cells, sequences) = (raw.n_ctx(), options.sequences);
        let cells_of_one = match options.layout {
            CellLayout::Shared => cells,
            CellLayout::Divided => cells / sequences,
        };
        let limits = Limits {
            cells,
            tokens_per_sequence: cells_of_one.min(model.trained_context()),
            sequences,
            batch_rows: raw.n_batch(),
        };
        let ledger = Ledger::new(limits, model.vocabulary_size());
        let batch = LlamaBatch::new(limits.batch_rows as usize, 1);
        Self { bound, batch, ledger, layout: options.layout, threads }
    }

    /// ggml's threads.
    pub fn threads(&self) -> u32 {
        self.threads
    }

    /// Decodes one token in a context as small as they come. A model without KV cells shows here: its
    /// sequences stay empty.
    ///
    /// With one thread, because lanes may be at work beside it: where two teams of ggml's threads share the
    /// cores, the scheduler may put each team on one core of its own, where its threads wait for each other for
    /// a slice of time at every barrier. This token took 1.5 s then, and so did theirs.
    fn prove(model: &Arc<LlamaModel>) -> Result<(), LoadError> {
        let options = ContextOptions {
            cells: Some(CELL_STEP),
            layout: CellLayout::Shared,
            sequences: 1,
            batch_rows: 1,
            ..ContextOptions::default()
        };
        let mut context = Self::make(Arc::clone(model), &options, 1)?;
        let (token, sequence) = (model.any_token(), SequenceId(0));
        let mut batch = Batch::with_capacity(1);
        let _fits = batch.push(BatchRow { token, sequence, position: 0, logits: true });
        let (outcome, reason) = capture::with_reason(|| context.decode(&batch));
        if outcome.is_err() {
            return Err(LoadError::Context { cells: CELL_STEP, reason });
        }
        if context.len_by_llama(sequence) != 1 {
            let architecture = model.header().architecture.clone();
            return Err(LoadError::Unsupported { path: model.path().into(), architecture });
        }
        Ok(())
    }

    /// Tokens of a sequence as llama.cpp has them: one more than the last position, -1 for none.
    fn len_by_llama(&self, sequence: SequenceId) -> u32 {
        let last = self.bound.borrow_dependent().kv_cache_seq_pos_max(sequence.0 as i32);
        u32::try_from(last + 1).unwrap_or(0)
    }

    /// Whether every token of a sequence lies in a cell of its own.
    fn keeps_all(&self, sequence: SequenceId) -> bool {
        self.bound.borrow_dependent().kv_cache_seq_pos_min(sequence.0 as i32) == 0
    }

    /// The keys and values of a sequence that exists, as llama.cpp writes them.
    fn state(&self, sequence: SequenceId) -> Result<Vec<u8>, BackendError> {
        let state = state::get(self.bound.borrow_dependent(), sequence.0 as i32);
        state.map_err(|error| BackendError::State { sequence, reason: error.to_string() })
    }

    /// Puts [`Self::state`] into a sequence that exists; after an error a part of it may be there.
    fn set_state(&mut self, sequence: SequenceId, state: &[u8]) -> Result<(), StateError> {
        let id = sequence.0 as i32;
        let set = self.bound.with_dependent_mut(|_, raw| state::set(raw, id, state));
        let len = self.len_by_llama(sequence);
        self.ledger.set_len(sequence, len);
        set
    }

    /// Draws with a sampler of llama.cpp's own.
    #[cfg(test)]
    pub(super) fn sample_raw(
        &self,
        row: usize,
        sampler: &mut llama_cpp_2::sampling::LlamaSampler,
    ) -> i32 {
        self.ledger.has_logits(row).expect("the row has logits");
        sampler.sample(self.bound.borrow_dependent(), row as i32).0
    }

    /// Copies the rows into llama.cpp's batch.
    fn fill(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        self.batch.clear();
        for row in batch.rows() {
            let (token, sequence) = (LlamaToken(row.token.0), row.sequence.0 as i32);
            self.batch
                .add(token, row.position as i32, &[sequence], row.logits)
                .map_err(|error| DecodeError::BadBatch { reason: error.to_string() })?;
        }
        Ok(())
    }
}

impl Backend for LlamaContext {
    type Sampler = LlamaSampler;
    type Parked = LlamaParked;

    fn model(&self) -> Arc<dyn Model> {
        Arc::clone(self.bound.borrow_owner()) as Arc<dyn Model>
    }

    fn limits(&self) -> Limits {
        self.ledger.limits()
    }

    fn sampler(&self, sampling: &Sampling) -> Result<LlamaSampler, BackendError> {
        LlamaSampler::new(self.bound.borrow_owner(), sampling)
    }

    fn decode(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        self.ledger.admit(batch)?;
        self.fill(batch)?;
        let rows = &mut self.batch;
        let outcome = self.bound.with_dependent_mut(|_, raw| raw.decode(rows));
        let Err(error) = outcome else {
            self.ledger.commit(batch);
            return Ok(());
        };
        // llama.cpp takes back the part that failed and keeps the parts before it.
        for row in batch.rows() {
            let len = self.len_by_llama(row.sequence);
            self.ledger.set_len(row.sequence, len);
        }
        Err(match error {
            RawDecodeError::NoKvCacheSlot => DecodeError::NoRoom,
            RawDecodeError::NTokensZero => {
                DecodeError::BadBatch { reason: "llama.cpp cannot make sense of it".into() }
            }
            RawDecodeError::Unknown(code) => {
                DecodeError::Failed { reason: format!("llama.cpp returned {code}") }
            }
        })
    }

    fn sample(&mut self, row: usize, sampler: &mut LlamaSampler) -> Result<Token, BackendError> {
        self.ledger.has_logits(row)?;
        sampler.draw(self.bound.borrow_dependent(), row as i32)
    }

    fn sequence_len(&self, sequence: SequenceId) -> u32 {
        self.ledger.len(sequence)
    }

    fn truncate(&mut self, sequence: SequenceId, from: u32) -> Result<(), BackendError> {
        self.ledger.known(sequence)?;
        let len = self.ledger.len(sequence);
        if from >= len {
            return Ok(());
        }
        // What remains must be whole. Recurrent layers keep one state, and sliding windows may have
        // dropped what lies behind them: then the first position in memory is not 0.
        if from > 0 && !self.keeps_all(sequence) {
            return Err(BackendError::PartialForget { sequence, from });
        }
        let start = (from > 0).then_some(from);
        let removed = self
            .bound
            .with_dependent_mut(|_, raw| raw.clear_kv_cache_seq(Some(sequence.0), start, None));
        let len = self.len_by_llama(sequence);
        self.ledger.set_len(sequence, len);
        match removed {
            Ok(true) => Ok(()),
            Ok(false) => Err(BackendError::PartialForget { sequence, from }),
            Err(error) => {
                let reason = error.to_string();
                Err(BackendError::Failed { doing: "forgetting tokens", reason })
            }
        }
    }

    fn shares_cells(&self) -> bool {
        // Where each sequence has its own part, llama.cpp copies whole parts or aborts.
        self.layout == CellLayout::Shared
    }

    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) -> Result<(), BackendError> {
        self.ledger.shareable(from, to, tokens)?;
        let refused = |reason| Err(BackendError::NotShared { from, to, tokens, reason });
        if !self.shares_cells() {
            return refused("each sequence has its own part of the cells");
        }
        if !self.keeps_all(from) {
            return refused("the model keeps a state of the whole sequence, not of each token");
        }
        let (source, target) = (from.0 as i32, to.0 as i32);
        let copied = self.bound.with_dependent_mut(|_, raw| {
            raw.copy_kv_cache_seq(source, target, Some(0), Some(tokens))
        });
        let len = self.len_by_llama(to);
        self.ledger.set_len(to, len);
        if copied.is_err() || len != tokens {
            self.truncate(to, 0)?;
            return refused("llama.cpp did not copy them");
        }
        Ok(())
    }

    fn park(&mut self, sequence: SequenceId) -> Result<LlamaParked, BackendError> {
        self.ledger.known(sequence)?;
        let state = self.state(sequence)?;
        Ok(LlamaParked { state, tokens: self.ledger.len(sequence) })
    }

    fn unpark(&mut self, sequence: SequenceId, parked: &LlamaParked) -> Result<(), BackendError> {
        self.ledger.vacant(sequence)?;
        let tokens = parked.tokens;
        if tokens == 0 {
            return Ok(());
        }
        let restored = self.set_state(sequence, &parked.state);
        if restored.is_err() || self.ledger.len(sequence) != tokens {
            // The state is llama.cpp's own, of this context: what can be missing is room.
            self.truncate(sequence, 0)?;
            return Err(BackendError::NoRoom { tokens });
        }
        Ok(())
    }

    fn state_tag(&self) -> Result<ModelTag, BackendError> {
        let sequences = self.ledger.limits().sequences;
        self.bound.borrow_owner().tag_of(self.layout, sequences).map_err(|error| {
            let reason = format!("its file cannot be read: {error}");
            BackendError::Failed { doing: "identifying the model", reason }
        })
    }

    fn state_bytes(&self, sequence: SequenceId) -> u64 {
        if self.ledger.len(sequence) == 0 {
            return 0;
        }
        let flags = LlamaStateSeqFlags::empty();
        let raw = self.bound.borrow_dependent();
        raw.state_seq_get_size_ext(sequence.0 as i32, flags) as u64
    }

    fn save_sequence(&mut self, sequence: SequenceId) -> Result<Vec<u8>, BackendError> {
        self.ledger.known(sequence)?;
        if self.ledger.len(sequence) == 0 {
            return Err(BackendError::State { sequence, reason: "it has no tokens".into() });
        }
        self.state(sequence)
    }

    fn load_sequence(&mut self, sequence: SequenceId, state: &[u8]) -> Result<u32, BackendError> {
        self.truncate(sequence, 0)?;
        let (loaded, reason) = capture::with_reason(|| self.set_state(sequence, state));
        let len = self.ledger.len(sequence);
        let most = self.ledger.limits().tokens_per_sequence;
        let reason = match loaded {
            Ok(()) if len > 0 && len <= most => return Ok(len),
            Ok(()) if len == 0 => "it has no tokens".into(),
            Ok(()) => format!("it has {len} tokens, a sequence of this context at most {most}"),
            Err(error) => format!("{error} ({reason})"),
        };
        // A part of the state may be there.
        self.truncate(sequence, 0)?;
        Err(BackendError::State { sequence, reason })
    }
}

/// One sequence of a [`LlamaContext`] in host memory: keys and values as llama.cpp writes them, good for
/// that context only.
pub struct LlamaParked {
    state: Vec<u8>,
    tokens: u32,
}

impl LlamaParked {
    /// Tokens that were kept.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.state.len()
    }
}

impl fmt::Debug for LlamaParked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlamaParked")
            .field("tokens", &self.tokens)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
