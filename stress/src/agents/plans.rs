//! A plan under load: every change that was recorded is read once, from the changeset that was the newest
//! when the recording began or a newer one, and those of a thread in their order.

use latchless::{ChangesetId, PlanContext, RecordError, SealError};

use super::ledger::{End, Item, Ledger};
use crate::violation::Violation;

#[derive(Debug, Clone, Copy)]
struct Change {
    item: Item,
    thread: u16,
    /// The newest changeset before the recording began.
    newest: Option<ChangesetId>,
}

/// The plan of a round.
pub(super) struct Plans {
    context: PlanContext<Change>,
    ledger: Ledger,
    threads: u16,
}

impl Plans {
    pub(super) fn new(threads: u16, operations: u64) -> Self {
        let ledger = Ledger::new("change", threads, operations);
        Self { context: PlanContext::new(), ledger, threads }
    }

    pub(super) fn start(&self) -> Result<(), Violation> {
        let before = self.context.newest();
        match self.context.start() {
            Ok(started) if Some(started) > before => Ok(()),
            other => Err(Violation::answer("a changeset was started", (before, other))),
        }
    }

    /// `true`: there was an open changeset.
    pub(super) fn record(&self, thread: u16, issued: &mut u32) -> Result<bool, Violation> {
        let Some(item) = self.ledger.issue(thread, issued) else { return Ok(false) };
        let newest = self.context.newest();
        let recorded = self.context.record(Change { item, thread, newest });
        match recorded {
            Ok(into) if Some(into) >= newest => Ok(true),
            Ok(into) => Err(Violation::answer("a stale changeset", (into, newest))),
            Err(RecordError::NotStarted(_)) if newest.is_some() => {
                Err(Violation::answer("a changeset had been started", newest))
            }
            Err(RecordError::NotStarted(back) | RecordError::Sealed(back, _)) => {
                Violation::count("the change that came back", item.index() as u64, {
                    back.item.index() as u64
                })?;
                self.ledger.withdraw(item);
                Ok(false)
            }
        }
    }

    /// Seals one of the last changesets, if nobody has.
    pub(super) fn seal(&self, pick: usize) -> Result<(), Violation> {
        let Some(newest) = self.context.newest() else { return Ok(()) };
        let back = pick as u64 % 4;
        self.seal_one(ChangesetId(newest.0.saturating_sub(back)))
    }

    fn seal_one(&self, changeset: ChangesetId) -> Result<(), Violation> {
        let sealed = match self.context.seal(changeset) {
            Ok(sealed) => sealed,
            Err(SealError::Sealed { .. }) => return Ok(()),
            Err(error) => return Err(Violation::answer("a changeset that was started", error)),
        };
        let mut last = vec![None; usize::from(self.threads)];
        for change in sealed {
            if change.newest > Some(changeset) {
                return Err(self.ledger.violation("recorded in a stale changeset", change.item));
            }
            let last = &mut last[usize::from(change.thread)];
            if last.replace(change.item) > Some(change.item) {
                return Err(self.ledger.violation("read out of order", change.item));
            }
            self.ledger.end(change.item, End::Done)?;
        }
        Ok(())
    }

    /// Nobody runs: all changesets are sealed, and every change must have been read.
    pub(super) fn settle(&self) -> Result<(), Violation> {
        let started = self.context.newest().map_or(0, |newest| newest.0 + 1);
        (0..started).map(ChangesetId).try_for_each(|changeset| self.seal_one(changeset))?;
        self.ledger.check()
    }
}
