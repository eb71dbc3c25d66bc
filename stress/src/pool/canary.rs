//! The canary: a table beside the pool in which every thread marks the blocks it holds, so that a block
//! in two hands is *seen*, at the moment in which the second hand takes it.
//!
//! A thread marks a block right after the pool gave it out and unmarks it right before the pool gets it
//! back. A mark that is found there when a block is taken, or that is not there when it is given back, is
//! a broken invariant.
//!
//! # Firm and loose marks
//!
//! Most blocks belong to agents that only their own thread frees as a whole: their marks are *firm*, and
//! carry a count of holders for blocks that are shared. Blocks of the [commons](crate::pool::commons), agents
//! that any thread may free at any time, may be gone from a thread's hands without its doing: their marks
//! are *loose*. A loose mark remembers how often its agent had been swept when it was made; as long as
//! that number stands, it is as good as a firm one, and afterwards it says nothing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use latchless::BlockId;

use crate::part::Cell;
use crate::pool::commons::Sweeps;
use crate::violation::Violation;

/// What the table says of a block: `loose (1) | sweeps (39) | agent (8) | thread (16)`, or
/// `0 | holders (47) | thread (16)`; the thread counts from 1, so that 0 is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    pub(crate) const NONE: Self = Self(0);
    const LOOSE: u64 = 1 << 63;
    const ONE_HOLDER: u64 = 1 << 16;
    const THREAD: u64 = Self::ONE_HOLDER - 1;
    const SWEEPS_SHIFT: u32 = 24;
    /// A number of sweeps that never stands: the agent was being swept when the mark was made.
    const UNJUDGED: u64 = (1 << 39) - 1;

    /// A block that only `thread` gives back.
    pub(crate) fn firm(thread: u16) -> Self {
        Self(Self::ONE_HOLDER | (u64::from(thread) + 1))
    }

    /// A block of a common agent, held by `thread`, made when the agent had been swept `sweeps` times.
    pub(crate) fn loose(thread: u16, agent: u8, sweeps: Option<u64>) -> Self {
        let sweeps = sweeps.unwrap_or(Self::UNJUDGED) & Self::UNJUDGED;
        let number = sweeps << Self::SWEEPS_SHIFT | u64::from(agent) << 16;
        Self(Self::LOOSE | number | (u64::from(thread) + 1))
    }

    fn is_loose(self) -> bool {
        self.0 & Self::LOOSE != 0
    }

    fn agent(self) -> u8 {
        (self.0 >> 16) as u8
    }

    fn sweeps(self) -> u64 {
        (self.0 & !Self::LOOSE) >> Self::SWEEPS_SHIFT
    }

    fn thread(self) -> u64 {
        self.0 & Self::THREAD
    }

    fn holders(self) -> u64 {
        self.0 / Self::ONE_HOLDER
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("nobody");
        }
        let thread = self.thread() - 1;
        if self.is_loose() {
            write!(f, "thread {thread} for common agent {}", self.agent())
        } else {
            let holders = self.holders();
            write!(f, "thread {thread} ({holders} holder{})", if holders == 1 { "" } else { "s" })
        }
    }
}

/// Marks of a cell of the map that are looked at.
const MOST_LOOKS: usize = 64;

/// The table of marks.
#[derive(Debug)]
pub(crate) struct Canary {
    marks: Box<[AtomicU64]>,
    sweeps: Box<[Sweeps]>,
}

impl Canary {
    /// A table for `blocks` blocks and `commons` common agents, nobody's yet.
    pub(crate) fn new(blocks: u32, commons: u8) -> Self {
        Self {
            marks: (0..blocks).map(|_| AtomicU64::new(0)).collect(),
            sweeps: (0..commons).map(|_| Sweeps::default()).collect(),
        }
    }

    /// The sweeps of a common agent.
    pub(crate) fn sweeps(&self, agent: u8) -> &Sweeps {
        &self.sweeps[usize::from(agent)]
    }

    /// Marks blocks that the pool has just given out.
    pub(crate) fn take(
        &self,
        blocks: impl IntoIterator<Item = BlockId>,
        mark: Mark,
    ) -> Result<(), Violation> {
        self.take_over(blocks, Mark::NONE, mark)
    }

    /// Marks blocks that are this thread's now, and may bear its mark `before`.
    pub(crate) fn take_over(
        &self,
        blocks: impl IntoIterator<Item = BlockId>,
        before: Mark,
        mark: Mark,
    ) -> Result<(), Violation> {
        for block in blocks {
            let word = self.word(block)?;
            let mut holder = self.load(block)?;
            // A mark that does not stand any more is not made: the block may be somebody else's since.
            while self.stands(mark) {
                if holder != before && self.stands(holder) {
                    return Err(Violation::GivenTwice { block, taker: mark, holder });
                }
                match word.compare_exchange(holder.0, mark.0, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => break,
                    Err(now) => holder = Mark(now),
                }
            }
        }
        Ok(())
    }

    /// Adds a holder to blocks that are held firmly.
    pub(crate) fn share(
        &self,
        blocks: impl IntoIterator<Item = BlockId>,
        mark: Mark,
    ) -> Result<(), Violation> {
        blocks
            .into_iter()
            .try_for_each(|block| self.change_firm(block, mark, |now| now.0 + Mark::ONE_HOLDER))
    }

    /// Unmarks blocks that the pool is about to get back; of shared ones, takes one holder away.
    pub(crate) fn give_back(
        &self,
        blocks: impl IntoIterator<Item = BlockId>,
        mark: Mark,
    ) -> Result<(), Violation> {
        for block in blocks {
            if mark.is_loose() {
                self.change_loose(block, mark, Mark::NONE)?;
            } else {
                self.change_firm(block, mark, |now| match now.holders() {
                    1 => 0,
                    _ => now.0 - Mark::ONE_HOLDER,
                })?;
            }
        }
        Ok(())
    }

    /// Replaces the marks of blocks that are this thread's beyond doubt: held firmly, or refused by the
    /// agent that they were marked for.
    pub(crate) fn replace(
        &self,
        blocks: impl IntoIterator<Item = BlockId>,
        from: Mark,
        to: Mark,
    ) -> Result<(), Violation> {
        for block in blocks {
            self.word(block)?
                .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
                .map_err(|found| Violation::WrongMark { block, holder: from, found: Mark(found) })?;
        }
        Ok(())
    }

    /// Replaces loose marks as far as they are still there.
    pub(crate) fn replace_loose(
        &self,
        blocks: impl IntoIterator<Item = BlockId>,
        from: Mark,
        to: Mark,
    ) -> Result<(), Violation> {
        blocks.into_iter().try_for_each(|block| self.change_loose(block, from, to))
    }

    /// Forgets loose marks of blocks that a lease has lost.
    pub(crate) fn forget(&self, blocks: impl IntoIterator<Item = BlockId>, mark: Mark) {
        for word in blocks.into_iter().filter_map(|block| self.marks.get(block.0 as usize)) {
            // Lost to whoever has the block now.
            let _ = word.compare_exchange(mark.0, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// The first block that has a mark: none, when nobody holds anything.
    pub(crate) fn first_marked(&self) -> Option<(BlockId, Mark)> {
        let marks = self.marks.iter().map(|word| Mark(word.load(Ordering::Acquire)));
        let (i, mark) = marks.enumerate().find(|(_, mark)| *mark != Mark::NONE)?;
        Some((BlockId(i as u32), mark))
    }

    /// What the marks say, in at most so many cells. For the eye: they change meanwhile, and of large cells
    /// some are looked at.
    pub(crate) fn map(&self, cells: usize) -> Vec<Cell> {
        let blocks = self.marks.len();
        let cells = cells.min(blocks);
        let cell = |number: usize| {
            let [from, to] = [number, number + 1].map(|number| number * blocks / cells);
            let mut cell = Cell::default();
            for word in self.marks[from..to].iter().step_by((to - from).div_ceil(MOST_LOOKS)) {
                let mark = Mark(word.load(Ordering::Relaxed));
                cell.of += 1;
                match mark {
                    Mark::NONE => {}
                    mark if mark.is_loose() => cell.common += 1,
                    mark if mark.holders() > 1 => cell.shared += 1,
                    _ => cell.held += 1,
                }
            }
            cell
        };
        (0..cells).map(cell).collect()
    }

    /// Whether a mark says that its thread holds the block. The agent's sweeps are read after the mark:
    /// whoever got a block through a sweep sees that the sweep began.
    fn stands(&self, mark: Mark) -> bool {
        mark != Mark::NONE
            && (!mark.is_loose() || self.sweeps(mark.agent()).stand_at(mark.sweeps()))
    }

    fn change_firm(
        &self,
        block: BlockId,
        mark: Mark,
        next: impl Fn(Mark) -> u64,
    ) -> Result<(), Violation> {
        let word = self.word(block)?;
        let mut now = self.load(block)?;
        loop {
            if now.is_loose() || now.thread() != mark.thread() {
                return Err(Violation::WrongMark { block, holder: mark, found: now });
            }
            match word.compare_exchange(now.0, next(now), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(other) => now = Mark(other),
            }
        }
    }

    fn change_loose(&self, block: BlockId, from: Mark, to: Mark) -> Result<(), Violation> {
        let word = self.word(block)?;
        match word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire) {
            Err(found) if self.stands(from) => {
                Err(Violation::WrongMark { block, holder: from, found: Mark(found) })
            }
            _ => Ok(()),
        }
    }

    fn load(&self, block: BlockId) -> Result<Mark, Violation> {
        Ok(Mark(self.word(block)?.load(Ordering::Acquire)))
    }

    fn word(&self, block: BlockId) -> Result<&AtomicU64, Violation> {
        let total = self.marks.len();
        self.marks
            .get(block.0 as usize)
            .ok_or_else(|| Violation::answer("a block that the pool does not have", (block, total)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: [BlockId; 1] = [BlockId(3)];

    #[test]
    fn a_block_in_two_hands_is_seen() {
        let canary = Canary::new(8, 1);
        canary.take(BLOCK, Mark::firm(0)).unwrap();
        let twice =
            Violation::GivenTwice { block: BLOCK[0], taker: Mark::firm(1), holder: Mark::firm(0) };
        assert_eq!(canary.take(BLOCK, Mark::firm(1)), Err(twice));
        assert!(canary.take(BLOCK, Mark::firm(0)).is_err(), "twice to one thread");
        assert!(canary.take([BlockId(8)], Mark::firm(0)).is_err(), "no such block");
    }

    #[test]
    fn a_mark_that_is_gone_is_seen() {
        let canary = Canary::new(8, 1);
        let mark = Mark::firm(0);
        assert!(canary.give_back(BLOCK, mark).is_err());
        canary.take(BLOCK, mark).unwrap();
        assert!(canary.give_back(BLOCK, Mark::firm(1)).is_err());
        canary.give_back(BLOCK, mark).unwrap();
        assert_eq!(canary.first_marked(), None);
    }

    #[test]
    fn the_last_holder_unmarks() {
        let canary = Canary::new(8, 1);
        let mark = Mark::firm(2);
        canary.take(BLOCK, mark).unwrap();
        canary.share(BLOCK, mark).unwrap();
        canary.give_back(BLOCK, mark).unwrap();
        assert!(canary.first_marked().is_some());
        assert!(canary.take(BLOCK, Mark::firm(1)).is_err());
        canary.give_back(BLOCK, mark).unwrap();
        canary.take(BLOCK, Mark::firm(1)).unwrap();
    }

    #[test]
    fn a_loose_mark_stands_until_its_agent_is_swept() {
        let canary = Canary::new(8, 1);
        let loose = || Mark::loose(0, 0, canary.sweeps(0).settled());
        let before = loose();
        canary.take(BLOCK, before).unwrap();
        assert!(canary.take(BLOCK, Mark::firm(1)).is_err(), "nothing has taken it from thread 0");
        canary.sweeps(0).sweep(|| assert_eq!(canary.sweeps(0).settled(), None));
        canary.take(BLOCK, Mark::firm(1)).unwrap();
        canary.give_back(BLOCK, before).unwrap();
        assert!(canary.give_back(BLOCK, loose()).is_err(), "taken after the sweep, and not marked");
        let late = canary.take(BLOCK, before);
        assert_eq!(late, Ok(()), "given out, swept and given out again before it was marked");
        assert!(canary.take(BLOCK, loose()).is_err(), "thread 1 has it, and nothing was swept");
        canary.give_back(BLOCK, Mark::firm(1)).unwrap();
        assert_eq!(canary.first_marked(), None);
    }

    #[test]
    fn marks_of_a_time_of_sweeping_are_not_judged() {
        let canary = Canary::new(8, 1);
        let mark = canary.sweeps(0).sweep(|| Mark::loose(0, 0, canary.sweeps(0).settled()));
        canary.take(BLOCK, mark).unwrap();
        canary.take(BLOCK, Mark::firm(1)).unwrap();
        canary.give_back(BLOCK, mark).unwrap();
        canary.give_back(BLOCK, Mark::firm(1)).unwrap();
    }

    #[test]
    fn blocks_are_taken_over_from_the_own_mark_only() {
        let canary = Canary::new(8, 1);
        let loose = Mark::loose(0, 0, canary.sweeps(0).settled());
        canary.take(BLOCK, loose).unwrap();
        assert!(canary.take_over(BLOCK, Mark::firm(0), Mark::firm(1)).is_err());
        canary.take_over(BLOCK, loose, Mark::firm(0)).unwrap();
        assert!(canary.take_over(BLOCK, loose, Mark::firm(0)).is_err());
    }

    #[test]
    fn the_map_has_every_block_once() {
        let canary = Canary::new(1_000, 1);
        let mark = Mark::firm(0);
        canary.take((0..10).map(BlockId), mark).unwrap();
        canary.share((0..4).map(BlockId), mark).unwrap();
        let loose = Mark::loose(0, 0, canary.sweeps(0).settled());
        canary.take((500..520).map(BlockId), loose).unwrap();
        let first = Cell { held: 6, shared: 4, common: 0, of: 10 };
        for cells in [1_000, 5_000, 37, 100] {
            let map = canary.map(cells);
            assert_eq!(map.len(), cells.min(1_000));
            assert_eq!(map.iter().map(|cell| cell.of).sum::<u32>(), 1_000);
            assert_eq!(map.iter().map(|cell| cell.common).sum::<u32>(), 20);
        }
        assert_eq!(canary.map(100)[0], first);
        assert!(canary.map(1)[0].of <= MOST_LOOKS as u32 && canary.map(0).is_empty());
    }
}
