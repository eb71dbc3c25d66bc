//! What a backend can say went wrong.

use super::SequenceId;

/// A backend could not do what it was asked; its state is as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// A sequence outside `0 .. sequences`.
    #[error("sequence {} does not exist: this context was made for {sequences}", .sequence.0)]
    UnknownSequence {
        /// The sequence asked for.
        sequence: SequenceId,
        /// Sequences of the context.
        sequences: u32,
    },
    /// A sample from a row that the last batch does not have, or that wanted no logits.
    #[error(
        "row {row} has no logits in the last batch of {rows} rows; push it with `logits: true`"
    )]
    NoLogits {
        /// The row asked for.
        row: usize,
        /// Rows of the last batch.
        rows: usize,
    },
    /// A sampling parameter that means nothing.
    #[error("{parameter} is {value}; give it {allowed}")]
    Sampling {
        /// Which one.
        parameter: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A grammar that cannot be read.
    #[error("the grammar is refused: {reason}; give it in GBNF with a rule `root`")]
    Grammar {
        /// What was wrong.
        reason: String,
    },
    /// A sequence cannot begin with another one's tokens.
    #[error(
        "sequence {} cannot share {tokens} tokens with sequence {}: {reason}; decode them again",
        .from.0, .to.0
    )]
    NotShared {
        /// The sequence that keeps the tokens.
        from: SequenceId,
        /// The sequence that was to begin with them.
        to: SequenceId,
        /// Tokens that were to be shared.
        tokens: u32,
        /// Why not.
        reason: &'static str,
    },
    /// Too few cells are free to bring a sequence back.
    #[error("no room in the context for {tokens} tokens; clear a sequence and try again")]
    NoRoom {
        /// Tokens that were parked.
        tokens: u32,
    },
    /// The model keeps a state that cannot be taken back token by token (a recurrent layer, or a
    /// sliding window that has moved on).
    #[error(
        "sequence {} cannot forget its tokens from {from} on, only all of them: truncate it to 0 and \
         decode it again",
        .sequence.0
    )]
    PartialForget {
        /// The sequence.
        sequence: SequenceId,
        /// Where it was to end.
        from: u32,
    },
    /// The model has no chat template, or the template refused the messages.
    #[error("the chat template cannot be applied: {reason}; submit the prompt as text instead")]
    ChatTemplate {
        /// What was wrong.
        reason: String,
    },
    /// The state of a sequence could not be copied out of the context or into it.
    #[error(
        "the state of sequence {} could not be copied: {reason}; decode its tokens instead",
        .sequence.0
    )]
    State {
        /// The sequence.
        sequence: SequenceId,
        /// What was wrong.
        reason: String,
    },
    /// Anything else, in the backend's own words.
    #[error("{doing}: {reason}")]
    Failed {
        /// What the backend was doing.
        doing: &'static str,
        /// What it said.
        reason: String,
    },
}

/// A batch was not computed, or only in part: compare [`sequence_len`](super::Backend::sequence_len)
/// with what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No cells left for the batch. Nothing was computed; a smaller batch, or one sequence less, may
    /// fit.
    #[error("no room in the context for this batch; free a sequence or send fewer rows")]
    NoRoom,
    /// The rows make no sense to the context (a position that leaves a gap, a token outside the
    /// vocabulary, a sequence it does not have). Nothing was computed.
    #[error("the batch was refused: {reason}")]
    BadBatch {
        /// What was wrong.
        reason: String,
    },
    /// The computation failed.
    #[error("the computation failed: {reason}")]
    Failed {
        /// What the backend said.
        reason: String,
    },
}
