//! What gives way when no cell is free: idle sequences first, then one request at a time, whose state goes
//! to host memory until there is room again (swapping, in vLLM's words; Kwon et al., SOSP 2023). When that
//! memory is used up, too, the state is dropped, and computed again in its turn (recomputing).
//!
//! # Nobody for ever
//!
//! The victim is never the most urgent of the oldest, unless its reader is behind: so one request always
//! goes on, and when it ends its room is free. Who is parked comes back before anybody new is admitted,
//! and a request whose reader is behind is parked before one that could go on, so that a reader that is
//! frozen for ever costs its own request only. Not even its sequence: when somebody waits for one and all are
//! taken, those whose readers are behind give theirs up.

use std::cmp::Reverse;

use super::completion::FinishReason;
use super::error::RequestError;
use super::idle::Idle;
use super::lane::{Lane, StepReport};
use super::running::Running;
use crate::backend::{Backend, BackendError};

/// Steps for which a reader may be behind before its request gives its sequence to somebody who waits for
/// one, while others go on. A reader that is slow now and then is not worth a copy of the state.
const PATIENCE_STEPS: u32 = 16;

/// A request without a sequence.
pub(crate) struct Parked<B: Backend> {
    pub(crate) running: Running<B::Sampler>,
    state: State<B>,
}

/// What is left of the state of a request that gave way.
pub(crate) enum State<B: Backend> {
    /// All of it, in host memory.
    Kept {
        state: B::Parked,
        /// What it takes there.
        bytes: u64,
    },
    /// Nothing: its tokens are computed again.
    Dropped,
}

impl<B: Backend> State<B> {
    fn bytes(&self) -> u64 {
        match self {
            Self::Kept { bytes, .. } => *bytes,
            Self::Dropped => 0,
        }
    }
}

impl<B: Backend> Lane<B> {
    /// Frees cells for a batch that found none: `true` when it may be tried again.
    pub(super) fn make_room(&mut self, report: &mut StepReport) -> bool {
        self.evict_idle(report) || self.park_one(report)
    }

    /// Clears the idle sequence that nobody used for the longest time.
    pub(super) fn evict_idle(&mut self, report: &mut StepReport) -> bool {
        if self.idle.len() == 0 {
            return false;
        }
        // Its agent may find it on disk.
        self.keep(0, report);
        let Idle { sequence, tokens, .. } = self.idle.take(0);
        tracing::debug!(sequence = sequence.0, tokens = tokens.len(), "evicted");
        report.evicted += 1;
        // One that is not cleared is kept away from requests, and gave no room: the next may.
        self.retire(sequence).is_ok() || self.evict_idle(report)
    }

    /// Parks the request that loses least by it, when there is another one to go on.
    fn park_one(&mut self, report: &mut StepReport) -> bool {
        let holding = |running: &&Running<B::Sampler>| running.is_active() && running.kept > 0;
        if self.running.iter().filter(holding).count() < 2 {
            return false;
        }
        let victim =
            self.running.iter().enumerate().filter(|(_, running)| holding(running)).min_by_key(
                |(_, running)| {
                    (!running.is_paused(), running.priority, Reverse(running.ticket().id()))
                },
            );
        let Some((index, _)) = victim else { return false };
        self.park(index, report)
    }

    fn park(&mut self, index: usize, report: &mut StepReport) -> bool {
        let running = &self.running[index];
        let (request, sequence) = (running.ticket().id(), running.sequence);
        let bytes = self.backend.state_bytes(sequence);
        // Asked before it is copied: memory never has both.
        let fits = self.parked_bytes().saturating_add(bytes) <= self.most_parked_bytes;
        let state = if fits {
            match self.backend.park(sequence) {
                Ok(state) => State::Kept { state, bytes },
                Err(error) => {
                    tracing::warn!(%request, %error, "a request was not parked");
                    return false;
                }
            }
        } else {
            State::Dropped
        };
        if let Err(error) = self.backend.truncate(sequence, 0) {
            // It goes on where it is: its sequence is as it was.
            tracing::warn!(%request, %error, "a parked sequence was not cleared");
            return false;
        }
        let running = &mut self.running[index];
        tracing::debug!(%request, tokens = running.kept, fits, "parked");
        running.parked = true;
        if !fits {
            running.forget();
            report.dropped += 1;
        }
        self.states.push((request, state));
        report.parked += 1;
        true
    }

    /// Host memory that the states of parked requests take.
    fn parked_bytes(&self) -> u64 {
        let parked = self.parked.iter().map(|parked| &parked.state);
        parked.chain(self.states.iter().map(|(_, state)| state)).map(State::bytes).sum()
    }

    /// Moves those that were parked in this step out of the way. Their sequences are empty.
    pub(super) fn take_out_parked(&mut self) {
        for (request, state) in self.states.drain(..) {
            let index = self.running.iter().position(|one| one.ticket().id() == request);
            let Some(index) = index else { continue };
            let running = self.running.remove(index);
            self.free.push(running.sequence);
            self.parked.push(Parked { running, state });
        }
    }

    /// Whether a parked request could go on if it had room. One whose reader is behind could not, and holds
    /// nobody up.
    pub(super) fn parked_waits(&self) -> bool {
        self.parked.iter().any(|parked| !parked.running.is_paused())
    }

    /// Brings back who gave way, the most urgent first, as long as there is room.
    ///
    /// It is tried when something ended since the last time, or when nothing else can go on.
    pub(super) fn bring_back(&mut self, report: &mut StepReport) {
        while self.parked_waits() {
            let alone = !self.running.iter().any(|one| one.is_active() && !one.is_paused());
            if !(alone || self.room_changed) {
                return;
            }
            if !self.bring_back_one(alone, report) {
                break;
            }
        }
        self.room_changed = false;
    }

    /// `false` when there was no room for the one whose turn it is.
    fn bring_back_one(&mut self, alone: bool, report: &mut StepReport) -> bool {
        let turn = self
            .parked
            .iter()
            .enumerate()
            .filter(|(_, parked)| !parked.running.is_paused())
            .max_by_key(|(_, parked)| {
                (parked.running.priority, Reverse(parked.running.ticket().id()))
            });
        let Some((index, _)) = turn else { return false };
        let mut refused = self.clean_sequences();
        let error = loop {
            let Some(sequence) = self.free.pop() else {
                // Somebody who waits for a reader may have the sequence.
                if self.evict_idle(report) || alone && self.park_paused(report) {
                    continue;
                }
                match refused.take() {
                    Some(error) => break RequestError::NoSequence(error),
                    None => return false,
                }
            };
            let restored = match &self.parked[index].state {
                State::Kept { state, .. } => self.backend.unpark(sequence, state),
                State::Dropped => self.fits_again(index, alone),
            };
            let Err(error) = restored else {
                let Parked { mut running, .. } = self.parked.remove(index);
                tracing::debug!(request = %running.ticket().id(), "brought back");
                (running.sequence, running.parked) = (sequence, false);
                // In the order of age, as if it had never been away.
                let id = running.ticket().id();
                let place = self.running.partition_point(|one| one.ticket().id() < id);
                self.running.insert(place, running);
                report.brought_back += 1;
                return true;
            };
            let _ = self.retire(sequence);
            if !(self.evict_idle(report) || alone && self.park_paused(report)) {
                break RequestError::Unpark(error);
            }
        };
        if !(alone && self.running.is_empty()) {
            return false;
        }
        // Nobody else has a cell, and it does not fit.
        let mut running = self.parked.remove(index).running;
        running.fail(error);
        running.finish();
        report.ended += 1;
        true
    }

    /// Whether a request without a state can be computed again without taking cells from others, as far as
    /// can be told. When nobody else can go on it is tried anyway.
    fn fits_again(&self, index: usize, alone: bool) -> Result<(), BackendError> {
        let held: u32 = self.running.iter().map(|running| running.kept).sum();
        let tokens = self.parked[index].running.tokens_known();
        let taken = self.idle.tokens() + held as usize + tokens as usize;
        if taken < self.shared.limits.cells as usize || alone && self.idle.len() == 0 {
            Ok(())
        } else {
            Err(BackendError::NoRoom { tokens })
        }
    }

    /// Parks a request whose reader is behind.
    fn park_paused(&mut self, report: &mut StepReport) -> bool {
        self.park_least_urgent(Running::is_paused, report)
    }

    /// Somebody waits for a sequence and there is none: parks a request whose reader has been behind for long
    /// enough, or is behind while nobody else goes on.
    pub(super) fn park_behind(&mut self, report: &mut StepReport) -> bool {
        let goes_on = |one: &Running<B::Sampler>| one.is_active() && !one.is_paused();
        let patience = if self.running.iter().any(goes_on) { PATIENCE_STEPS } else { 0 };
        self.park_least_urgent(|one| one.is_paused() && one.steps_behind >= patience, report)
    }

    /// Notes whose reader is behind, once a step in which somebody waits for a sequence.
    pub(super) fn note_behind(&mut self) {
        for one in &mut self.running {
            one.steps_behind = if one.is_paused() { one.steps_behind + 1 } else { 0 };
        }
    }

    fn park_least_urgent(
        &mut self,
        may: impl Fn(&Running<B::Sampler>) -> bool,
        report: &mut StepReport,
    ) -> bool {
        let all = self.running.iter().enumerate();
        let victim = all
            .filter(|(_, one)| one.is_active() && one.kept > 0 && may(one))
            .min_by_key(|(_, one)| (one.priority, Reverse(one.ticket().id())));
        let Some((index, _)) = victim else { return false };
        let done = self.park(index, report);
        self.take_out_parked();
        done
    }

    /// Ends the parked requests that `why` gives a reason for.
    pub(super) fn end_parked(
        &mut self,
        why: impl Fn(&Running<B::Sampler>) -> Option<FinishReason>,
        report: &mut StepReport,
    ) {
        let mut index = 0;
        while index < self.parked.len() {
            let Some(reason) = why(&self.parked[index].running) else {
                index += 1;
                continue;
            };
            let Parked { mut running, state } = self.parked.remove(index);
            // Free what is old before the host hears of it.
            drop(state);
            running.end(reason);
            running.finish();
            report.ended += 1;
        }
    }
}
