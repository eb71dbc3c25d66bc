//! What a context holds, seen from outside: the length of each sequence and the rows of the last
//! batch that have logits.
//!
//! llama.cpp trusts its caller. A row or a sequence out of range, or a sample from a row that wanted
//! no logits, ends the process or reads memory that is not there; a gap in the positions is refused
//! only sometimes. So both backends ask this ledger first, and it is the one place that says no.

use super::{BackendError, Batch, DecodeError, Limits, SequenceId};

/// The mirror of one context.
#[derive(Debug)]
pub(crate) struct Ledger {
    limits: Limits,
    vocabulary: u32,
    /// Tokens of each sequence.
    lengths: Vec<u32>,
    /// Lengths as they will be after the batch under check; kept to spare an allocation a batch.
    ends: Vec<u32>,
    /// For each row of the last batch that was computed, whether it has logits.
    logits: Vec<bool>,
}

impl Ledger {
    /// The ledger of an empty context.
    pub(crate) fn new(limits: Limits, vocabulary: u32) -> Self {
        let lengths = vec![0; limits.sequences as usize];
        let ends = lengths.clone();
        let logits = Vec::with_capacity(limits.batch_rows as usize);
        Self { limits, vocabulary, lengths, ends, logits }
    }

    /// What the context can hold.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Tokens that `sequence` keeps; 0 when there is no such sequence.
    pub(crate) fn len(&self, sequence: SequenceId) -> u32 {
        self.lengths.get(sequence.0 as usize).copied().unwrap_or(0)
    }

    /// Whether `batch` makes sense now. From here on no row has logits, until [`Self::commit`].
    pub(crate) fn admit(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        self.logits.clear();
        let bad = |reason: String| Err(DecodeError::BadBatch { reason });
        if batch.is_empty() {
            return bad("it has no rows".into());
        }
        if batch.len() > self.limits.batch_rows as usize {
            let (rows, most) = (batch.len(), self.limits.batch_rows);
            return bad(format!("it has {rows} rows, this context takes {most}"));
        }
        self.ends.copy_from_slice(&self.lengths);
        for (index, row) in batch.rows().iter().enumerate() {
            let (token, sequence, position) = (row.token.0, row.sequence.0, row.position);
            if u32::try_from(token).map_or(true, |token| token >= self.vocabulary) {
                let size = self.vocabulary;
                return bad(format!(
                    "row {index}: token {token} is outside the vocabulary of {size}"
                ));
            }
            let Some(end) = self.ends.get_mut(sequence as usize) else {
                let sequences = self.limits.sequences;
                return bad(format!(
                    "row {index}: sequence {sequence} does not exist, this context has {sequences}"
                ));
            };
            if position != *end {
                return bad(format!(
                    "row {index}: position {position} in sequence {sequence}, whose next one is {end}"
                ));
            }
            if position >= self.limits.tokens_per_sequence {
                let most = self.limits.tokens_per_sequence;
                return bad(format!(
                    "row {index}: sequence {sequence} already has the {most} tokens that one can have"
                ));
            }
            *end += 1;
        }
        Ok(())
    }

    /// All rows of the batch that was admitted last are computed.
    pub(crate) fn commit(&mut self, batch: &Batch) {
        self.lengths.copy_from_slice(&self.ends);
        self.logits.extend(batch.rows().iter().map(|row| row.logits));
    }

    /// `sequence` keeps `len` tokens: after a truncation, or a batch that was computed in part.
    pub(crate) fn set_len(&mut self, sequence: SequenceId, len: u32) {
        if let Some(entry) = self.lengths.get_mut(sequence.0 as usize) {
            *entry = len;
        }
    }

    /// Refuses a sequence that the context does not have.
    pub(crate) fn known(&self, sequence: SequenceId) -> Result<(), BackendError> {
        let sequences = self.limits.sequences;
        if sequence.0 < sequences {
            Ok(())
        } else {
            Err(BackendError::UnknownSequence { sequence, sequences })
        }
    }

    /// Refuses to let `to` begin with what `from` does not keep, or where something is already.
    pub(crate) fn shareable(
        &self,
        from: SequenceId,
        to: SequenceId,
        tokens: u32,
    ) -> Result<(), BackendError> {
        self.known(from)?;
        self.vacant(to)?;
        if tokens == 0 || tokens > self.len(from) {
            let reason = "it does not keep so many";
            return Err(BackendError::NotShared { from, to, tokens, reason });
        }
        Ok(())
    }

    /// Refuses a sequence that is not there or not empty.
    pub(crate) fn vacant(&self, sequence: SequenceId) -> Result<(), BackendError> {
        self.known(sequence)?;
        match self.len(sequence) {
            0 => Ok(()),
            len => Err(BackendError::Failed {
                doing: "filling a sequence",
                reason: format!("sequence {} keeps {len} tokens; clear it first", sequence.0),
            }),
        }
    }

    /// Refuses a row of the last batch that has no logits.
    pub(crate) fn has_logits(&self, row: usize) -> Result<(), BackendError> {
        if self.logits.get(row) == Some(&true) {
            Ok(())
        } else {
            Err(BackendError::NoLogits { row, rows: self.logits.len() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BatchRow, Token};
    use super::*;

    const LIMITS: Limits =
        Limits { cells: 16, tokens_per_sequence: 3, sequences: 2, batch_rows: 4 };

    fn batch(rows: &[(i32, u32, u32, bool)]) -> Batch {
        let mut batch = Batch::with_capacity(8);
        for &(token, sequence, position, logits) in rows {
            let (token, sequence) = (Token(token), SequenceId(sequence));
            batch.push(BatchRow { token, sequence, position, logits }).unwrap();
        }
        batch
    }

    #[test]
    fn rows_of_sequences_may_be_mixed_as_long_as_each_continues_its_own() {
        let mut ledger = Ledger::new(LIMITS, 10);
        let mixed = batch(&[(1, 0, 0, false), (2, 1, 0, false), (3, 0, 1, true), (4, 1, 1, false)]);
        assert_eq!(ledger.admit(&mixed), Ok(()));
        assert_eq!(ledger.len(SequenceId(0)), 0, "nothing counts before it is computed");
        ledger.commit(&mixed);
        assert_eq!((ledger.len(SequenceId(0)), ledger.len(SequenceId(1))), (2, 2));
        assert_eq!(ledger.has_logits(2), Ok(()));
        assert_eq!(ledger.has_logits(3), Err(BackendError::NoLogits { row: 3, rows: 4 }));
        assert_eq!(ledger.has_logits(4), Err(BackendError::NoLogits { row: 4, rows: 4 }));
    }

    /// Each of these corrupts memory, aborts or computes nonsense inside llama.cpp.
    #[test]
    fn what_llama_cpp_trusts_its_caller_with_is_refused() {
        let mut ledger = Ledger::new(LIMITS, 10);
        let good = batch(&[(1, 0, 0, true), (1, 0, 1, true)]);
        ledger.admit(&good).unwrap();
        ledger.commit(&good);
        for (rows, expected) in [
            (&[][..], "no rows"),
            (&[(1, 0, 2, true); 5], "5 rows, this context takes 4"),
            (&[(10, 0, 2, true)], "token 10 is outside the vocabulary of 10"),
            (&[(-1, 0, 2, true)], "token -1 is outside"),
            (&[(1, 2, 0, true)], "sequence 2 does not exist"),
            (&[(1, u32::MAX, 0, true)], "does not exist"),
            (&[(1, 0, 3, true)], "position 3 in sequence 0, whose next one is 2"),
            (&[(1, 0, 1, true)], "position 1 in sequence 0, whose next one is 2"),
            (&[(1, 1, 1, true)], "position 1 in sequence 1, whose next one is 0"),
            (&[(1, 0, 2, true), (1, 0, 3, true)], "already has the 3 tokens"),
            (&[(1, 1, 1, true), (1, 1, 0, true)], "position 1 in sequence 1"),
        ] {
            let error = ledger.admit(&batch(rows)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
            assert_eq!(ledger.len(SequenceId(0)), 2, "a refused batch changes nothing");
        }
    }

    /// llama.cpp would hand out the logits of an older batch, or memory that was never written.
    #[test]
    fn no_row_has_logits_before_a_batch_or_after_a_refused_one() {
        let mut ledger = Ledger::new(LIMITS, 10);
        assert_eq!(ledger.has_logits(0), Err(BackendError::NoLogits { row: 0, rows: 0 }));
        let good = batch(&[(1, 0, 0, true)]);
        ledger.admit(&good).unwrap();
        assert!(ledger.has_logits(0).is_err(), "admitted is not computed");
        ledger.commit(&good);
        assert_eq!(ledger.has_logits(0), Ok(()));
        ledger.admit(&good).unwrap_err();
        assert_eq!(ledger.has_logits(0), Err(BackendError::NoLogits { row: 0, rows: 0 }));
    }

    #[test]
    fn sequences_are_known_by_their_range() {
        let ledger = Ledger::new(LIMITS, 10);
        assert_eq!(ledger.known(SequenceId(1)), Ok(()));
        let sequence = SequenceId(2);
        assert_eq!(
            ledger.known(sequence),
            Err(BackendError::UnknownSequence { sequence, sequences: 2 })
        );
        assert_eq!(ledger.len(sequence), 0);
    }

    /// llama.cpp marks cells that are not there, or mixes two sequences in one.
    #[test]
    fn only_what_is_kept_is_shared_and_only_into_nothing() {
        let mut ledger = Ledger::new(LIMITS, 10);
        ledger.set_len(SequenceId(0), 2);
        let share = |from, to, tokens| {
            let refused = ledger.shareable(SequenceId(from), SequenceId(to), tokens);
            refused.map_err(|error| error.to_string())
        };
        assert_eq!(share(0, 1, 2), Ok(()));
        for (from, to, tokens, expected) in [
            (0, 1, 3, "does not keep so many"),
            (0, 1, 0, "does not keep so many"),
            (2, 1, 1, "sequence 2 does not exist"),
            (0, 2, 1, "sequence 2 does not exist"),
            (0, 0, 1, "keeps 2 tokens; clear it first"),
        ] {
            let error = share(from, to, tokens).unwrap_err();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        }
    }
}
