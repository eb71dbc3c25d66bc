//! What an engine needs from whatever computes: a [`Model`] that any thread may ask, and a [`Backend`]
//! that one lane drives.
//!
//! The two are apart because a prompt is tokenised, and its blocks are reserved, on the thread of the
//! host that submits it, while the lane is in the middle of a decode. So a [`Model`] is immutable and
//! shared (`Arc<dyn Model>`), and a [`Backend`] holds everything that changes: the context with its KV
//! cells and the logits of the last batch.
//!
//! Two backends are here: `llama` runs GGUF models through llama.cpp, [`scripted`] is deterministic,
//! needs no model and fails on demand.

mod batch;
mod error;
mod ledger;
#[cfg(feature = "llama")]
pub mod llama;
mod sampling;
pub mod scripted;

use std::sync::Arc;

use latchless::ModelSpec;

use crate::cache::ModelTag;

pub use self::batch::{Batch, BatchRow, RowOutOfBatch};
pub use self::error::{BackendError, DecodeError};
pub use self::sampling::{Draw, Penalties, Sampling};

/// A token of a model's vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub i32);

/// A sequence of a backend's context, `0 .. Limits::sequences`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u32);

/// One message of a chat, in the roles that the model's template knows ("system", "user", "assistant").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who speaks: "system", "user" or "assistant".
    pub role: String,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// What the model is told about its part.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// What a user says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// What the model said before.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }

    /// A message in any role that the model's template knows.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// What one context can hold and take at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tokens that all sequences together can keep (llama.cpp: `n_ctx`).
    pub cells: u32,
    /// Tokens that one sequence can keep, prompt and generated ones together.
    pub tokens_per_sequence: u32,
    /// Sequences that can live at once (llama.cpp: `n_seq_max`).
    pub sequences: u32,
    /// Rows of one batch (llama.cpp: `n_batch`).
    pub batch_rows: u32,
}

/// The immutable side of a loaded model: everything a submitting thread needs.
pub trait Model: Send + Sync + 'static {
    /// The model's name for people, for example `"SmolLM2 135M Instruct"`.
    fn name(&self) -> &str;

    /// The geometry of its KV cache.
    fn spec(&self) -> &ModelSpec;

    /// Turns text into tokens. `special` reads control tokens such as `<|im_start|>` as what they mean
    /// and adds the ones that the model wants at the start; without it they are plain text.
    ///
    /// # Errors
    /// [`BackendError`] when the text cannot be tokenised.
    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<Token>, BackendError>;

    /// Appends the bytes that `token` stands for. They may be a part of a UTF-8 character; control
    /// tokens and tokens outside the vocabulary append nothing.
    fn token_bytes(&self, token: Token, out: &mut Vec<u8>);

    /// Whether `token` ends a generation.
    fn is_end_of_generation(&self, token: Token) -> bool;

    /// Tokens in the vocabulary; a valid [`Token`] is below.
    fn vocabulary_size(&self) -> u32;

    /// Writes a chat by the model's own template, ending where the assistant is to speak.
    ///
    /// # Errors
    /// [`BackendError`] when the model has no template, or it refuses these messages.
    fn chat_prompt(&self, messages: &[ChatMessage]) -> Result<String, BackendError>;
}

/// The changing side of a loaded model: one context, driven by one lane.
///
/// Every method takes `&mut self` or is cheap; none is called while another runs. A backend that is
/// asked for something impossible (a row outside the batch, a sequence it does not have) answers with
/// an error and is unchanged: it never aborts the process.
pub trait Backend: Send + 'static {
    /// The state of one request's sampling: seed, penalties and so on.
    type Sampler: Send;

    /// One sequence in host memory, for the context that it was parked from.
    type Parked: Send;

    /// The model behind this context.
    fn model(&self) -> Arc<dyn Model>;

    /// What this context can hold.
    fn limits(&self) -> Limits;

    /// A new sampler.
    ///
    /// # Errors
    /// [`BackendError`] when the parameters mean nothing to this backend.
    fn sampler(&self, sampling: &Sampling) -> Result<Self::Sampler, BackendError>;

    /// Computes one batch: all rows or, with an error, possibly a part of them (see
    /// [`Backend::sequence_len`]). The rows of a sequence continue it without a gap, in order. After
    /// an error no row has logits, not even one of the batch before.
    ///
    /// # Errors
    /// [`DecodeError`], typed by what the lane can do about it.
    fn decode(&mut self, batch: &Batch) -> Result<(), DecodeError>;

    /// Draws the next token from the logits of `row` of the last batch, and tells the sampler.
    ///
    /// # Errors
    /// [`BackendError`] when the row is outside the last batch, wanted no logits, or the sampler fails.
    fn sample(&mut self, row: usize, sampler: &mut Self::Sampler) -> Result<Token, BackendError>;

    /// Tokens that `sequence` keeps now; 0 for one that was never used or was cleared.
    fn sequence_len(&self, sequence: SequenceId) -> u32;

    /// Forgets the tokens of `sequence` from position `from` on; `0` clears it, a `from` behind its end
    /// changes nothing. Logits of the last batch stay.
    ///
    /// # Errors
    /// [`BackendError`] when the sequence is unknown, or the model can only forget a sequence whole
    /// (clearing never fails for that).
    fn truncate(&mut self, sequence: SequenceId, from: u32) -> Result<(), BackendError>;

    /// Whether [`share`](Self::share) works at all: sequences of this context can have cells in common.
    fn shares_cells(&self) -> bool;

    /// Makes `to`, which is empty, begin with the first `tokens` tokens of `from`: the cells of a common
    /// prefix are marked as both sequences', not copied, and stay as long as one of them keeps them.
    ///
    /// # Errors
    /// [`BackendError`] when a sequence is unknown, `to` is not empty, `from` keeps fewer tokens, or the
    /// context cannot share cells; nothing is changed then.
    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) -> Result<(), BackendError>;

    /// Copies what `sequence` keeps to host memory, until this context has room for it again; the sequence
    /// is as before. For another context or another process there is
    /// [`save_sequence`](Self::save_sequence).
    ///
    /// # Errors
    /// [`BackendError`] when the sequence is unknown or its state cannot be read.
    fn park(&mut self, sequence: SequenceId) -> Result<Self::Parked, BackendError>;

    /// Makes `sequence`, which is empty, keep what was parked, in cells of its own.
    ///
    /// # Errors
    /// [`BackendError::NoRoom`] when too few cells are free, another one when the sequence is unknown or
    /// not empty; the sequence is empty, and what was parked is as before.
    fn unpark(&mut self, sequence: SequenceId, parked: &Self::Parked) -> Result<(), BackendError>;

    /// What states of this context belong to: a context with an equal tag takes them, any other one
    /// refuses them.
    ///
    /// # Errors
    /// [`BackendError`] when the model cannot be told from others, for instance because its file is gone.
    fn state_tag(&self) -> Result<ModelTag, BackendError>;

    /// Bytes that [`park`](Self::park) and [`save_sequence`](Self::save_sequence) would take now; 0 for a
    /// sequence that is unknown or empty.
    fn state_bytes(&self, sequence: SequenceId) -> u64;

    /// The state of `sequence` as bytes that outlive this context, for
    /// [`load_sequence`](Self::load_sequence): what the model remembers of its tokens, not the tokens
    /// themselves. The context is as before.
    ///
    /// # Errors
    /// [`BackendError`] when the sequence is unknown or empty, or its state cannot be copied.
    fn save_sequence(&mut self, sequence: SequenceId) -> Result<Vec<u8>, BackendError>;

    /// Gives `sequence` a state that [`save_sequence`](Self::save_sequence) returned, of this context or
    /// of another one of the same model and geometry, in this process or in another, and returns how many
    /// tokens it now has. What the sequence held goes first, so that memory never holds both. Logits of
    /// the last batch stay.
    ///
    /// # Errors
    /// [`BackendError`] when the sequence is unknown, or the state is cut off, foreign, or longer than
    /// there is room. The sequence is empty then.
    fn load_sequence(&mut self, sequence: SequenceId, state: &[u8]) -> Result<u32, BackendError>;
}
