//! From the disk to a sequence: asked for when it is a request's turn, copied in when it is there. What is still
//! on its way to the disk is taken from there.
//!
//! The request keeps its place in the queue meanwhile and those behind it go first. No more states are on
//! their way, or wait in memory, than the context has sequences; a request that would be one more waits for the
//! disk, too, and holds nobody up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use latchless::RequestId;

use super::super::admit::{Place, WORTH_SHARING, usable};
use super::super::idle::common_prefix;
use super::super::lane::{Lane, StepReport};
use super::super::running::Arrival;
use crate::backend::{Backend, SequenceId, Token};
use crate::cache::{CacheError, LoadJob, SavedSequence};

/// What a waiting request has of the disk.
#[derive(Debug, Default)]
pub(crate) enum Stored {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// There is something, and as much is being read already as may.
    Later,
    /// It is being read.
    Asked,
    /// It was read, or was in memory still.
    Here(Arc<SavedSequence>),
    /// There is nothing, or it cannot be had.
    Nothing,
}

/// What the reader says.
#[derive(Debug)]
pub(crate) struct Loaded {
    request: RequestId,
    outcome: Result<SavedSequence, CacheError>,
}

/// What a look at the disk comes to for the request whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It may go on.
    GoOn,
    /// It waits for the disk; the next may go first.
    Wait,
}

impl<B: Backend> Lane<B> {
    /// Takes what was read, and lets those go on who have waited long enough.
    pub(crate) fn take_loaded(&mut self) {
        let Some(warm) = &mut self.warm else { return };
        if warm.asked.is_empty() {
            return;
        }
        for Loaded { request, outcome } in warm.loaded.take_all() {
            let waiting = warm.asked.iter().position(|(asked, _)| *asked == request);
            let Some(index) = waiting else { continue };
            warm.asked.swap_remove(index);
            // It may have been cancelled meanwhile.
            let Some(arrival) = self.queue.find(request) else { continue };
            arrival.stored = match outcome {
                Ok(saved) => Stored::Here(Arc::new(saved)),
                Err(error) => {
                    tracing::warn!(%request, %error, "a stored sequence was not read; computing it");
                    Stored::Nothing
                }
            };
        }
        if warm.asked.is_empty() {
            return;
        }
        let now = Instant::now();
        warm.asked.retain(|(request, until)| {
            let late = *until <= now;
            if late && let Some(arrival) = self.queue.find(*request) {
                tracing::warn!(%request, "the disk took too long; computing what is stored there");
                arrival.stored = Stored::Nothing;
            }
            !late
        });
    }

    /// Has those looked at again that could not ask the disk, now that one may.
    pub(crate) fn look_again(&mut self) {
        if self.warm.is_some() && self.may_ask() {
            self.queue.for_each(|arrival| {
                if matches!(arrival.stored, Stored::Later) {
                    arrival.stored = Stored::Unknown;
                }
            });
        }
    }

    /// Whether one more state may be on its way.
    fn may_ask(&self) -> bool {
        let asked = self.warm.as_ref().map_or(0, |warm| warm.asked.len());
        let here = self.queue.count(|arrival| matches!(arrival.stored, Stored::Here(_)));
        asked + here < self.shared.limits.sequences as usize
    }

    /// Looks whether more of the prompt of the waiting request at `index` is on disk, or on its way there, than
    /// in the context, and asks for it.
    pub(crate) fn look(&mut self, index: usize) -> Look {
        let Some(warm) = &self.warm else { return Look::GoOn };
        let arrival = self.queue.at(index);
        if !matches!(arrival.stored, Stored::Unknown) {
            return Look::GoOn;
        }
        let prompt = usable(&arrival.prompt);
        // In this order: what is written between the two is found by both, and not by neither.
        let unwritten = warm.longest_unwritten(prompt);
        let found = warm.cache.peek(prompt).map(|found| (found.common as u32, found.agent));
        let on_disk = found.as_ref().map_or(0, |found| found.0);
        let in_memory = unwritten.as_ref().map_or(0, |unwritten| unwritten.0);
        let most = on_disk.max(in_memory);
        if most < WORTH_SHARING || most < self.hot(prompt) + WORTH_SHARING {
            return Look::GoOn;
        }
        if let Some((common, saved)) = unwritten
            && common == most
        {
            self.queue.at_mut(index).stored = Stored::Here(saved);
            return Look::GoOn;
        }
        let Some((_, agent)) = found else { return Look::GoOn };
        if !self.may_ask() {
            self.queue.at_mut(index).stored = Stored::Later;
            return Look::Wait;
        }
        let request = arrival.ticket.id();
        let (loaded, control) = (warm.loaded.clone(), warm.control.clone());
        let deliver = Box::new(move |outcome| {
            // No room: so many others were late that this one would be, too.
            let _late = loaded.push(Loaded { request, outcome });
            control.bell.ring();
        });
        let job = LoadJob { cache: warm.cache.clone(), agent, deliver };
        if !warm.reader.load(job) {
            self.queue.at_mut(index).stored = Stored::Nothing;
            return Look::GoOn;
        }
        let now = Instant::now();
        if let Some(warm) = &mut self.warm {
            // A patience beyond the clock's end is as good as a day.
            let until = now.checked_add(warm.patience).unwrap_or(now + Duration::from_hours(24));
            warm.asked.push((request, until));
        }
        self.queue.at_mut(index).stored = Stored::Asked;
        Look::Wait
    }

    /// Tokens of `prompt` that a request need not compute as things are.
    fn hot(&self, prompt: &[Token]) -> u32 {
        if self.backend.shares_cells() {
            return self.best_source(prompt, None).map_or(0, |found| found.tokens);
        }
        self.idle.longest_prefix(prompt, |_| true).map_or(0, |found| found.1)
    }

    /// An empty sequence that now begins with what was read for `arrival`; `None` when that is no more than
    /// what the context has, or cannot be used.
    pub(crate) fn resume(
        &mut self,
        arrival: &mut Arrival,
        report: &mut StepReport,
    ) -> Option<Place> {
        if !matches!(arrival.stored, Stored::Here(_)) {
            return None;
        }
        let Stored::Here(saved) = std::mem::replace(&mut arrival.stored, Stored::Nothing) else {
            return None;
        };
        let prompt = usable(&arrival.prompt);
        let common = common_prefix(&saved.tokens, prompt);
        if common < self.hot(prompt) + WORTH_SHARING {
            return None;
        }
        self.make_cells(saved.tokens.len(), prompt, report);
        let sequence = self.empty_sequence(prompt, report).ok()?;
        match self.restore_state(sequence, &saved, common) {
            Ok(()) => {
                tracing::debug!(
                    request = %arrival.ticket.id(), tokens = common, "resumed from disk"
                );
                Some(Place { sequence, kept: common, resumed: true })
            }
            Err(reason) => {
                tracing::warn!(
                    request = %arrival.ticket.id(), reason,
                    "a stored sequence was not restored; computing it"
                );
                // A refusal is logged there.
                let _ = self.retire(sequence);
                None
            }
        }
    }

    /// Clears idle sequences until `tokens` more find room, as far as can be told: cells that two
    /// sequences share are counted twice.
    fn make_cells(&mut self, tokens: usize, prompt: &[Token], report: &mut StepReport) {
        let cells = self.shared.limits.cells as usize;
        let running: usize = self.running.iter().map(|running| running.kept as usize).sum();
        while self.idle.tokens() + running + tokens > cells && self.evict_for(prompt, report) {}
    }

    fn restore_state(
        &mut self,
        sequence: SequenceId,
        saved: &SavedSequence,
        common: u32,
    ) -> Result<(), String> {
        let restored = self.backend.load_sequence(sequence, &saved.state);
        let found = restored.map_err(|error| error.to_string())?;
        if found as usize != saved.tokens.len() {
            let expected = saved.tokens.len();
            return Err(format!("it has {found} tokens instead of {expected}"));
        }
        if common < found {
            self.backend.truncate(sequence, common).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
