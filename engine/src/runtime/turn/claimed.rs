//! A claim that is returned unless its task has ended.

use std::fmt;
use std::sync::Arc;

use crate::store::{ChangesetId, Claim, Durability, Finish, Store, StoreError, TaskStatus};

/// Characters of a reason that are kept.
const REASON: usize = 10_000;

/// A claim in the hands of a turn. Dropping it gives the task back, unless it has ended: the next attempt can
/// begin at once, and need not wait for the lease.
pub struct Claimed {
    store: Arc<dyn Store>,
    claim: Claim,
    over: bool,
}

impl Claimed {
    /// Takes care of a claim.
    pub fn new(store: Arc<dyn Store>, claim: Claim) -> Self {
        Self { store, claim, over: false }
    }

    /// The claim.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Whether the task has ended, or is somebody else's.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Ends the task with all that the turn leaves behind. Durable when this returns.
    ///
    /// # Errors
    /// As [`Store::finish`]. After [`StoreError::StaleClaim`] there is nothing to give back.
    pub fn finish(&mut self, finish: &Finish) -> Result<ChangesetId, StoreError> {
        let done = self.store.finish(&self.claim, finish, Durability::Durable);
        self.over |= matches!(done, Ok(_) | Err(StoreError::StaleClaim { .. }));
        done
    }

    /// Gives the task up for good: whatever waits for it is skipped.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn give_up(&mut self, reason: &str) -> Result<(), StoreError> {
        let reason: String = reason.chars().take(REASON).collect();
        let finish = Finish::new(Err(reason));
        match self.finish(&finish) {
            Err(StoreError::Status { from: TaskStatus::Assigned, .. }) => {
                // It was never begun, and must have been to fail.
                self.store.start(&self.claim, Durability::Relaxed)?;
                self.finish(&finish).map(drop)
            }
            done => done.map(drop),
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // Relaxed: should it be lost, the lease ends. Refused when the task is somebody else's by now.
        if let Err(error) = self.store.release(&self.claim, Durability::Relaxed) {
            tracing::debug!(task = %self.claim.task, %error, "a claim was not given back");
        }
    }
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed")
            .field("claim", &self.claim)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
