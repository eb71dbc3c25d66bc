//! What goes wrong, and when.

use super::super::{Batch, DecodeError, SequenceId, Token};

/// When a decode fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeTrigger {
    /// The decode of this number, counted from 0 over the backend's life, failed ones included.
    Decode(u64),
    /// Every batch with this token in a row: poison in a prompt.
    Token(Token),
    /// Every batch that extends a sequence which holds this token, in the batch or before it: poison
    /// that stays.
    Holding(Token),
    /// Every batch with a row of this sequence.
    Sequence(SequenceId),
    /// Every batch with more rows than this.
    RowsAbove(usize),
}

/// How a decode fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeFault {
    /// [`DecodeError::NoRoom`]; nothing is computed.
    NoRoom,
    /// [`DecodeError::BadBatch`]; nothing is computed.
    BadBatch,
    /// [`DecodeError::Failed`]; nothing is computed.
    Failed,
    /// [`DecodeError::Failed`] after the first rows are computed, as when the second of llama.cpp's
    /// physical batches fails.
    FailedAfter {
        /// Rows that are computed.
        rows: usize,
    },
    /// The lane's thread panics.
    Panic,
}

/// When drawing a token fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleTrigger {
    /// The call of `sample` of this number, counted from 0 over the backend's life.
    Sample(u64),
    /// Every draw for this sequence.
    Sequence(SequenceId),
    /// Every draw for a sequence that holds this token.
    Holding(Token),
}

impl DecodeTrigger {
    /// Whether decode `number` of `batch` fails; `holds` tells whether a sequence holds a token now.
    pub(super) fn fires(
        self,
        number: u64,
        batch: &Batch,
        holds: impl Fn(SequenceId, Token) -> bool,
    ) -> bool {
        let mut rows = batch.rows().iter();
        match self {
            Self::Decode(failing) => number == failing,
            Self::Token(token) => rows.any(|row| row.token == token),
            Self::Holding(token) => {
                rows.any(|row| row.token == token || holds(row.sequence, token))
            }
            Self::Sequence(sequence) => rows.any(|row| row.sequence == sequence),
            Self::RowsAbove(most) => batch.len() > most,
        }
    }
}

impl DecodeFault {
    /// The rows that are computed all the same, and the error.
    ///
    /// # Panics
    /// For [`DecodeFault::Panic`]: that is the fault.
    pub(super) fn strike(self, number: u64) -> (usize, DecodeError) {
        let reason = format!("a fault was injected into decode {number}");
        match self {
            Self::NoRoom => (0, DecodeError::NoRoom),
            Self::BadBatch => (0, DecodeError::BadBatch { reason }),
            Self::Failed => (0, DecodeError::Failed { reason }),
            Self::FailedAfter { rows } => (rows, DecodeError::Failed { reason }),
            Self::Panic => panic!("{reason}"),
        }
    }
}

impl SampleTrigger {
    /// Whether draw `number` for `sequence` fails; `holds` as above.
    pub(super) fn fires(
        self,
        number: u64,
        sequence: SequenceId,
        holds: impl Fn(SequenceId, Token) -> bool,
    ) -> bool {
        match self {
            Self::Sample(failing) => number == failing,
            Self::Sequence(failing) => sequence == failing,
            Self::Holding(token) => holds(sequence, token),
        }
    }
}
