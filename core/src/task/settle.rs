//! What follows from the words, and is not in them: which tasks are listed, and which have nothing to
//! wait for any more.
//!
//! Every change that has consequences is made by a thread that is *at it*: it is counted in before the
//! change and out after the consequences. A claimer that finds nothing while somebody is at it does not
//! take that for an answer: it goes over all words and draws every consequence itself. All of them can be
//! drawn twice. So a thread that is frozen half-way costs the others a walk over the words, and hides
//! nothing from them.

use crate::sync::{AtomicUsize, Ordering};

use super::Priority;
use super::contention::Event;
use super::group::{Group, Verdict};
use super::queue::TaskQueue;
use super::word::{Stage, Word, lane_of};
use crate::mutant::mutant;

/// While this lives, its thread is at it.
pub(super) struct AtIt<'a>(&'a AtomicUsize);

impl<'a> AtIt<'a> {
    pub(super) fn new(counter: &'a AtomicUsize) -> Self {
        // AcqRel, before the change: who sees the change sees that we are at it.
        counter.fetch_add(1, Ordering::AcqRel);
        Self(counter)
    }
}

impl Drop for AtIt<'_> {
    fn drop(&mut self) {
        // Release: who does not see us any more sees what we did.
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<T> TaskQueue<T> {
    /// Draws every consequence of every word.
    pub(super) fn settle_all(&self) {
        // What this thread takes over is its own to finish: the other one finds it begun, and leaves.
        self.met.count(Event::Walk as usize);
        let _at_it = AtIt::new(&self.at_it);
        for slot in 0..self.slots.len() {
            let word = self.word(slot);
            match word.stage() {
                Stage::Pending => self.list(slot, word),
                stage if stage.is_over() => self.settle(slot, word),
                _ => {}
            }
        }
    }

    pub(super) fn list(&self, slot: usize, word: Word) {
        let lane = if mutant("tasks.wrong-lane") {
            lane_of(Priority::Normal, None, self.types)
        } else {
            word.lane(self.types)
        };
        self.lanes.list(lane, slot, || self.count(Event::LaneRetry));
    }

    /// Draws the consequences of a task's end. The caller is at it.
    pub(super) fn settle(&self, slot: usize, word: Word) {
        if let Some(record) = self.record(slot, word.generation())
            && let Some(member) = &record.member
        {
            self.settle_member(&member.group, member.place, word.stage() == Stage::Completed);
        }
    }

    /// As [`settle`](Self::settle), for who knows the record.
    pub(super) fn settle_member(&self, group: &Group, place: u32, completed: bool) {
        group.set_outcome(place, completed);
        // Tasks whose end others may have waited for. A list, because the chain may be long; it stays empty, and
        // without memory, unless some fail with this one.
        let mut ended = Vec::new();
        let mut next = Some(place);
        while let Some(place) = next {
            for dependent in group.dependents(place) {
                let verdict = group.verdict(*dependent);
                if self.judge(group, *dependent, verdict) {
                    group.set_outcome(*dependent, false);
                    ended.push(*dependent);
                }
            }
            next = ended.pop();
        }
    }

    /// Lets a task that waits begin or fail; whether it failed just now.
    fn judge(&self, group: &Group, task: u32, verdict: Verdict) -> bool {
        let stage = match verdict {
            Verdict::Wait => return false,
            Verdict::Begin => Stage::Pending,
            Verdict::Never(_) => Stage::Skipped,
        };
        let id = group.id(task);
        let slot = id.slot();
        let word = self.word(slot);
        if word.id(slot) != id || word.stage() != Stage::Waiting {
            return false;
        }
        let next = word.with(stage);
        if !self.replace(slot, word, next) {
            self.count(Event::StepRetry);
            return false;
        }
        if stage == Stage::Pending {
            self.list(slot, next);
        }
        stage == Stage::Skipped
    }
}
