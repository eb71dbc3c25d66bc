//! The ledger: a mark for every thing that is handed on, so that one that ends twice is *seen*, at the
//! moment of its second end, and one that never ends is seen when the round is checked.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::violation::Violation;

/// A thing that is to end once: a task, a change, a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item(u32);

impl Item {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// How a thing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Done = 2,
    /// It did not work out, which is an end, too.
    Failed = 3,
}

/// Never issued, or taken back before anybody else could have it.
const NONE: u8 = 0;
const OPEN: u8 = 1;

/// Marks of the things of one kind, of a round.
#[derive(Debug)]
pub(crate) struct Ledger {
    what: &'static str,
    marks: Box<[AtomicU8]>,
    of_each: u32,
}

impl Ledger {
    /// For at most `of_each` things of each of the threads.
    pub(crate) fn new(what: &'static str, threads: u16, of_each: u64) -> Self {
        let marks = (0..u64::from(threads) * of_each).map(|_| AtomicU8::new(NONE)).collect();
        Self { what, marks, of_each: of_each as u32 }
    }

    /// The next one of a thread that counts its own; none when it has had all of them.
    pub(crate) fn issue(&self, thread: u16, issued: &mut u32) -> Option<Item> {
        let place = (*issued < self.of_each).then_some(*issued)?;
        *issued += 1;
        let item = Item(u32::from(thread) * self.of_each + place);
        self.mark(item).store(OPEN, Ordering::Release);
        Some(item)
    }

    /// Takes one back that was not handed on.
    pub(crate) fn withdraw(&self, item: Item) {
        self.mark(item).store(NONE, Ordering::Release);
    }

    /// A thing has ended.
    pub(crate) fn end(&self, item: Item, end: End) -> Result<(), Violation> {
        let before = self.mark(item).swap(end as u8, Ordering::AcqRel);
        if before == OPEN { Ok(()) } else { Err(self.violation("ended twice", item)) }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self, item: Item) -> Option<End> {
        match self.mark(item).load(Ordering::Acquire) {
            mark if mark == End::Done as u8 => Some(End::Done),
            mark if mark == End::Failed as u8 => Some(End::Failed),
            _ => None,
        }
    }

    /// Nothing is on its way any more: everything that was issued must have ended.
    pub(crate) fn check(&self) -> Result<(), Violation> {
        match self.marks.iter().position(|mark| mark.load(Ordering::Acquire) == OPEN) {
            Some(lost) => Err(self.violation("lost", Item(lost as u32))),
            None => Ok(()),
        }
    }

    pub(crate) fn violation(&self, state: &'static str, item: Item) -> Violation {
        Violation::NotOnce { what: self.what, item: item.0, state }
    }

    fn mark(&self, item: Item) -> &AtomicU8 {
        &self.marks[item.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_twice_or_never_is_seen() {
        let ledger = Ledger::new("task", 2, 2);
        let mut issued = 0;
        let first = ledger.issue(1, &mut issued).unwrap();
        let second = ledger.issue(1, &mut issued).unwrap();
        assert_eq!(ledger.issue(1, &mut issued), None, "no more than agreed upon");
        assert_ne!(first, ledger.issue(0, &mut 0).unwrap());
        assert_eq!(ledger.end(first, End::Done), Ok(()));
        assert_eq!(ledger.ended(first), Some(End::Done));
        assert_eq!(ledger.end(first, End::Failed), Err(ledger.violation("ended twice", first)));
        ledger.withdraw(Item(0));
        assert_eq!(ledger.check(), Err(ledger.violation("lost", second)));
        assert_eq!(ledger.end(second, End::Failed), Ok(()));
        assert_eq!(ledger.check(), Ok(()));
    }
}
