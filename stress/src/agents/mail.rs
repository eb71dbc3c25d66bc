//! Outboxes under load: every message comes out once, popped or because a newer one came.

use std::sync::atomic::{AtomicU64, Ordering};

use latchless::Outbox;

use super::ledger::{End, Item, Ledger};
use crate::violation::Violation;

const OUTBOXES: usize = 4;
/// Few, so that the oldest has to go now and then.
const MESSAGES: usize = 32;

/// The outboxes of a round.
pub(super) struct Mail {
    outboxes: Vec<(Outbox<Item>, AtomicU64)>,
    ledger: Ledger,
}

impl Mail {
    pub(super) fn new(threads: u16, operations: u64) -> Result<Self, Violation> {
        let outbox = |_| Ok((Outbox::new(MESSAGES)?, AtomicU64::new(0)));
        let outboxes = (0..OUTBOXES).map(outbox).collect::<Result<_, latchless::OutboxCapacity>>();
        let outboxes = outboxes.map_err(|error| Violation::answer("an outbox", error))?;
        Ok(Self { outboxes, ledger: Ledger::new("message", threads, operations) })
    }

    /// `true`: an older one had to go.
    pub(super) fn push(
        &self,
        thread: u16,
        issued: &mut u32,
        pick: usize,
    ) -> Result<bool, Violation> {
        let Some(item) = self.ledger.issue(thread, issued) else { return Ok(false) };
        let (outbox, gone) = &self.outboxes[pick % OUTBOXES];
        let Some(oldest) = outbox.push(item) else { return Ok(false) };
        gone.fetch_add(1, Ordering::Relaxed);
        self.ledger.end(oldest, End::Failed)?;
        Ok(true)
    }

    pub(super) fn pop(&self, pick: usize) -> Result<(), Violation> {
        let popped = self.outboxes[pick % OUTBOXES].0.pop();
        popped.map_or(Ok(()), |item| self.ledger.end(item, End::Done))
    }

    /// Nobody runs: what is left is taken out, and then every message has come out.
    pub(super) fn settle(&self) -> Result<(), Violation> {
        for (outbox, gone) in &self.outboxes {
            Violation::count("messages that had to go", gone.load(Ordering::Relaxed), {
                outbox.dropped()
            })?;
            while let Some(item) = outbox.pop() {
                self.ledger.end(item, End::Done)?;
            }
        }
        self.ledger.check()
    }
}
