//! The turns of one side over time. However many there are, they take the same memory: when there are too many,
//! each two become one.

use serde::Serialize;

/// Turns that are kept at most: as many as a plot shows.
const MOST: usize = 300;

/// A turn of one of them, or several in a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Turn {
    /// When it ended, in seconds of its own turns.
    pub(super) at: f64,
    pub(super) seconds: f64,
    pub(super) operations: u64,
    pub(super) longest_ns: u64,
}

impl Turn {
    fn and(&self, later: &Self) -> Self {
        Self {
            at: later.at,
            seconds: self.seconds + later.seconds,
            operations: self.operations + later.operations,
            longest_ns: self.longest_ns.max(later.longest_ns),
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Turns {
    kept: Vec<Turn>,
    /// Turns in each, and in the last one so far.
    width: u64,
    in_last: u64,
}

impl Default for Turns {
    fn default() -> Self {
        Self { kept: Vec::new(), width: 1, in_last: 1 }
    }
}

impl Turns {
    pub(super) fn push(&mut self, turn: Turn) {
        match self.kept.last_mut() {
            Some(last) if self.in_last < self.width => {
                *last = last.and(&turn);
                self.in_last += 1;
            }
            _ => {
                self.kept.push(turn);
                self.in_last = 1;
            }
        }
        if self.kept.len() >= MOST && self.in_last == self.width {
            self.kept = self.kept.chunks_exact(2).map(|two| two[0].and(&two[1])).collect();
            self.width *= 2;
            self.in_last = self.width;
        }
    }

    pub(super) fn into_vec(self) -> Vec<Turn> {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_comparison_keeps_no_more_turns_than_a_short_one_and_loses_nothing() {
        let mut turns = Turns::default();
        let all = 10 * MOST as u64 + 1;
        for turn in 1..=all {
            turns.push(Turn { at: turn as f64, seconds: 1.0, operations: 2, longest_ns: turn });
        }
        let turns = turns.into_vec();
        assert!(turns.len() < MOST && turns.len() >= MOST / 2, "{}", turns.len());
        let operations: u64 = turns.iter().map(|turn| turn.operations).sum();
        let seconds: f64 = turns.iter().map(|turn| turn.seconds).sum();
        assert_eq!((operations, seconds), (2 * all, all as f64));
        let last = turns.last().unwrap();
        assert_eq!((last.at, last.longest_ns), (all as f64, all));
        let before = &turns[..turns.len() - 1];
        assert!(before.iter().all(|turn| turn.operations == turns[0].operations), "all as long");
    }
}
