//! The rows of one decode.

use super::{SequenceId, Token};

/// One token of a batch: where it goes, and whether its logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRow {
    /// The token.
    pub token: Token,
    /// The sequence it extends.
    pub sequence: SequenceId,
    /// Its position in that sequence, counted from 0.
    pub position: u32,
    /// Whether the next token will be sampled from this row.
    pub logits: bool,
}

/// A batch under assembly: at most as many rows as it was made for.
///
/// The bound is kept here so that no backend can be handed more rows than its context takes, which
/// llama.cpp answers with an abort.
#[derive(Debug, Clone)]
pub struct Batch {
    rows: Vec<BatchRow>,
    capacity: usize,
}

/// The batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the batch already holds its {capacity} rows; decode it first")]
pub struct RowOutOfBatch {
    /// Rows that the batch was made for.
    pub capacity: usize,
}

impl Batch {
    /// An empty batch for at most `capacity` rows.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { rows: Vec::with_capacity(capacity), capacity }
    }

    /// Adds a row and returns its index, by which its logits are sampled.
    ///
    /// # Errors
    /// [`RowOutOfBatch`] when the batch is full.
    pub fn push(&mut self, row: BatchRow) -> Result<usize, RowOutOfBatch> {
        if self.rows.len() == self.capacity {
            return Err(RowOutOfBatch { capacity: self.capacity });
        }
        self.rows.push(row);
        Ok(self.rows.len() - 1)
    }

    /// Empties the batch; its memory stays.
    pub fn clear(&mut self) {
        self.rows.clear();
    }

    /// The rows, in the order of their indices.
    pub fn rows(&self) -> &[BatchRow] {
        &self.rows
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Rows that still fit.
    pub fn room(&self) -> usize {
        self.capacity - self.rows.len()
    }

    /// Whether there is nothing to decode.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More rows than the context takes would abort the process inside llama.cpp.
    #[test]
    fn a_full_batch_refuses_and_a_cleared_one_takes_again() {
        let row = |position| BatchRow {
            token: Token(1),
            sequence: SequenceId(0),
            position,
            logits: position == 1,
        };
        let mut batch = Batch::with_capacity(2);
        assert_eq!((batch.push(row(0)), batch.push(row(1))), (Ok(0), Ok(1)));
        assert_eq!(batch.push(row(2)), Err(RowOutOfBatch { capacity: 2 }));
        assert_eq!((batch.len(), batch.room(), batch.rows()[1]), (2, 0, row(1)));
        batch.clear();
        assert!(batch.is_empty() && batch.room() == 2);
        assert_eq!(batch.push(row(7)), Ok(0));
    }
}
