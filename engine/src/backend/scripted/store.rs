//! Cells, and which sequences keep them.

use super::super::{Limits, SequenceId, Token};

/// Where the hash of an empty sequence starts (FNV-1a).
const EMPTY: u64 = 0xCBF2_9CE4_8422_2325;

/// The tokens of one sequence.
#[derive(Debug)]
struct History {
    tokens: Vec<Token>,
    /// After each token, the hash of all up to it, so that a truncation is no recount.
    hashes: Vec<u64>,
    /// Where each token lies.
    cells: Vec<u32>,
}

impl History {
    /// With room for all that a sequence can have, so that a token allocates nothing.
    fn of(limits: Limits) -> Self {
        let most = limits.tokens_per_sequence.min(limits.cells) as usize;
        Self {
            tokens: Vec::with_capacity(most),
            hashes: Vec::with_capacity(most),
            cells: Vec::with_capacity(most),
        }
    }
}

/// As many cells as the context has; one cell may be several sequences'.
#[derive(Debug)]
pub(super) struct Store {
    sequences: Vec<History>,
    /// Sequences that keep each cell.
    keepers: Vec<u32>,
    free: Vec<u32>,
}

impl Store {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            sequences: (0..limits.sequences).map(|_| History::of(limits)).collect(),
            keepers: vec![0; limits.cells as usize],
            free: (0..limits.cells).rev().collect(),
        }
    }

    /// Cells that nobody keeps.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// The tokens of a sequence; none of one that does not exist.
    pub(super) fn tokens(&self, sequence: SequenceId) -> &[Token] {
        self.sequences.get(sequence.0 as usize).map_or(&[], |history| &history.tokens)
    }

    /// Appends a token to a sequence that exists, and returns the hash of its tokens. Without a free cell
    /// the token lies nowhere: only an injected fault computes what has no room.
    pub(super) fn push(&mut self, sequence: SequenceId, token: Token) -> u64 {
        let history = &mut self.sequences[sequence.0 as usize];
        // FNV-1a, a token at a time.
        let before = history.hashes.last().copied().unwrap_or(EMPTY);
        let hash = (before ^ u64::from(token.0 as u32)).wrapping_mul(0x0000_0100_0000_01B3);
        history.tokens.push(token);
        history.hashes.push(hash);
        if let Some(cell) = self.free.pop() {
            self.keepers[cell as usize] = 1;
            history.cells.push(cell);
        }
        hash
    }

    /// Forgets what lies at `from` and behind it; returns how many tokens are left.
    pub(super) fn truncate(&mut self, sequence: SequenceId, from: u32) -> u32 {
        let history = &mut self.sequences[sequence.0 as usize];
        let from = (from as usize).min(history.tokens.len());
        history.tokens.truncate(from);
        history.hashes.truncate(from);
        let kept = from.min(history.cells.len());
        for cell in history.cells.drain(kept..) {
            let keepers = &mut self.keepers[cell as usize];
            *keepers -= 1;
            if *keepers == 0 {
                self.free.push(cell);
            }
        }
        from as u32
    }

    /// Makes `to`, which is empty, begin with `tokens` tokens of `from`, in the same cells.
    pub(super) fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        let len = tokens as usize;
        let [from, to] = [from.0 as usize, to.0 as usize];
        let Ok([source, target]) = self.sequences.get_disjoint_mut([from, to]) else { return };
        target.tokens.extend_from_slice(&source.tokens[..len]);
        target.hashes.extend_from_slice(&source.hashes[..len]);
        target.cells.extend(source.cells.iter().take(len));
        for cell in &target.cells {
            self.keepers[*cell as usize] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_cell_is_free_when_its_last_keeper_lets_go() {
        let limits = Limits { cells: 4, tokens_per_sequence: 4, sequences: 2, batch_rows: 4 };
        let (one, other) = (SequenceId(0), SequenceId(1));
        let mut store = Store::new(limits);
        let hashes = [1, 2, 3].map(|token| store.push(one, Token(token)));
        store.share(one, other, 2);
        assert_eq!((store.free(), store.tokens(other)), (1, &[Token(1), Token(2)][..]));
        assert_eq!(store.push(other, Token(3)), hashes[2], "the same history");
        assert_eq!(store.free(), 0);
        assert_eq!(store.truncate(one, 0), 0);
        assert_eq!(store.free(), 1, "the shared two are still kept");
        assert_eq!(store.truncate(other, 9), 3);
        store.truncate(other, 0);
        assert_eq!(store.free(), 4);
    }
}
