//! Which sequence a request gets, and with how many of its tokens already there.
//!
//! The prompt of an agent's next turn begins with what it said and heard before, and the prompts of many
//! agents begin with the same instructions. So a request takes the sequence that begins most like its
//! prompt: its agent's own idle one as it is, anybody else's by sharing its cells, and when the other is
//! still computing the common part, it waits for that instead of computing it again (as `RadixAttention`
//! schedules, Zheng et al., `SGLang`, 2024).

use std::time::Instant;

use latchless::{AgentHandle, Attention, ModelSpec};

use super::completion::FinishReason;
use super::error::RequestError;
use super::idle::common_prefix;
use super::lane::{Lane, StepReport};
use super::running::{Arrival, Leader, Running};
use super::warm::Look;
use crate::backend::{Backend, BackendError, SequenceId, Token};

/// Tokens in common that make it worth to share cells, or to wait for another request: below, computing
/// them takes a part of a batch.
pub(crate) const WORTH_SHARING: u32 = 16;

/// Where a prompt's beginning is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// In the idle sequence at this index.
    Idle(usize),
    /// In the sequence of the running request at this index.
    Running(usize),
}

/// A sequence that begins like a prompt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    source: Source,
    /// Tokens in common, of which one that runs may have computed a part only.
    pub(crate) tokens: u32,
}

/// A sequence for a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sequence: SequenceId,
    /// Tokens of the prompt that it keeps.
    pub(crate) kept: u32,
    /// They came from disk.
    pub(crate) resumed: bool,
}

impl<B: Backend> Lane<B> {
    /// Gives sequences to those who wait.
    pub(super) fn admit(&mut self, report: &mut StepReport) {
        if self.queue.is_empty() || self.parked_waits() {
            return;
        }
        let mut refused = self.clean_sequences();
        self.admit_all(&mut refused, report);
        self.admit_for_readers_behind(&mut refused, report);
        if !self.running.is_empty() || self.queue.is_empty() {
            return;
        }
        // Nobody runs who could free a sequence: without one, waiting would be for ever.
        refused = self.clean_sequences().or(refused);
        self.admit_all(&mut refused, report);
        if self.running.is_empty()
            && let Some(error) = refused
            && let Some(arrival) = self.queue.take()
        {
            arrival.end(FinishReason::Failed(RequestError::NoSequence(error)));
            report.ended += 1;
        }
    }

    /// Gives out the sequences that can be had.
    fn admit_all(&mut self, refused: &mut Option<BackendError>, report: &mut StepReport) {
        let now = Instant::now();
        self.look_again();
        while self.free.len() + self.idle.len() > 0 {
            let Some(turn) = self.queue.turn() else { break };
            // Who waits for the disk, or to ask it, is passed over: nobody waits for somebody else's file, and
            // one whose state is in memory makes room for the next state.
            if self.look(turn) == Look::Wait {
                continue;
            }
            let Some(mut arrival) = self.queue.take_at(turn) else { break };
            match self.place(&mut arrival, report) {
                Ok(place) => self.start(arrival, place, now, report),
                Err(error) => {
                    *refused = error.or_else(|| refused.take());
                    self.queue.put_back(arrival);
                }
            }
        }
    }

    /// When all sequences are taken, gives out those of requests whose readers are behind.
    fn admit_for_readers_behind(
        &mut self,
        refused: &mut Option<BackendError>,
        report: &mut StepReport,
    ) {
        let none_left = |lane: &Self| lane.free.len() + lane.idle.len() == 0;
        if self.queue.is_empty() || !none_left(self) {
            return;
        }
        self.note_behind();
        while !self.queue.is_empty() && none_left(self) && self.park_behind(report) {
            self.admit_all(refused, report);
        }
    }

    /// Starts a request in its place.
    fn start(&mut self, arrival: Arrival, place: Place, now: Instant, report: &mut StepReport) {
        let Place { sequence, kept, resumed } = place;
        match self.backend.sampler(&arrival.sampling) {
            Ok(sampler) => {
                tracing::debug!(request = %arrival.ticket.id(), sequence = sequence.0, kept, "admitted");
                self.running.push(Running::new(arrival, place, sampler, now));
                report.admitted += 1;
                report.reused_rows += kept;
                report.resumed_rows += if resumed { kept } else { 0 };
                self.find_leader(self.running.len() - 1, report);
            }
            Err(error) => {
                // A refusal is logged there.
                let _ = self.retire(sequence);
                arrival.end(FinishReason::Failed(RequestError::Sampler(error)));
                report.ended += 1;
            }
        }
    }

    /// A sequence for a request: one with what the disk had of it, its agent's own idle one when nothing
    /// begins more like the prompt, else an empty one.
    ///
    /// # Errors
    /// When no sequence is left that could be cleared, with what the backend said of the last one.
    fn place(
        &mut self,
        arrival: &mut Arrival,
        report: &mut StepReport,
    ) -> Result<Place, Option<BackendError>> {
        if let Some(place) = self.resume(arrival, report) {
            return Ok(place);
        }
        let prompt = usable(&arrival.prompt);
        if let Some(place) = self.own_idle(prompt, arrival.ticket.agent(), report) {
            return Ok(place);
        }
        let sequence = self.empty_sequence(prompt, report)?;
        Ok(Place { sequence, kept: 0, resumed: false })
    }

    /// An empty sequence; the idle one that begins most like `prompt` is cleared last.
    ///
    /// # Errors
    /// As [`place`](Self::place).
    pub(crate) fn empty_sequence(
        &mut self,
        prompt: &[Token],
        report: &mut StepReport,
    ) -> Result<SequenceId, Option<BackendError>> {
        let mut refused = None;
        loop {
            let Some(sequence) = self.free.pop() else {
                if self.evict_for(prompt, report) {
                    continue;
                }
                return Err(refused);
            };
            match self.check_clear(sequence) {
                Ok(()) => return Ok(sequence),
                Err(error) => {
                    self.dirty.push(sequence);
                    refused = Some(error);
                }
            }
        }
    }

    /// The agent's own idle sequence, cut to what the prompt begins with, unless another one begins more
    /// like the prompt, or it is mostly of another conversation and there is an empty one.
    fn own_idle(
        &mut self,
        prompt: &[Token],
        agent: AgentHandle,
        report: &mut StepReport,
    ) -> Option<Place> {
        let shares = self.backend.shares_cells();
        // Without shared cells, whoever comes first has what is kept.
        let own = self.idle.longest_prefix(prompt, |idle| !shares || idle.agent == agent);
        let (index, common) = own.filter(|own| own.1 > 0)?;
        let best = self.best_source(prompt, None).map_or(0, |found| found.tokens);
        let same_conversation = common as usize * 2 >= self.idle.tokens_of(index);
        if common + WORTH_SHARING <= best && shares || !(same_conversation || self.free.is_empty())
        {
            return None;
        }
        if self.idle.at(index).agent != agent {
            self.keep(index, report);
        }
        let idle = self.idle.take(index);
        if common as usize == idle.tokens.len()
            || self.backend.truncate(idle.sequence, common).is_ok()
        {
            return Some(Place { sequence: idle.sequence, kept: common, resumed: false });
        }
        // The model forgets only all at once: it is as good as an empty one.
        let _ = self.retire(idle.sequence);
        None
    }

    /// Frees the oldest idle sequence, that which begins most like `prompt` last.
    pub(crate) fn evict_for(&mut self, prompt: &[Token], report: &mut StepReport) -> bool {
        let spared = self.idle.longest_prefix(prompt, |_| true).filter(|found| found.1 > 0);
        if let Some((index, _)) = spared {
            self.idle.touch(index);
        }
        self.evict_idle(report)
    }

    /// What begins most like `prompt`; of running requests only those before `before`.
    pub(crate) fn best_source(&self, prompt: &[Token], before: Option<usize>) -> Option<Found> {
        let idle = self
            .idle
            .longest_prefix(prompt, |_| true)
            .map(|(index, tokens)| Found { source: Source::Idle(index), tokens });
        let running = &self.running[..before.unwrap_or(self.running.len())];
        // Nobody who waits for another one: so nobody can wait in a circle.
        let leads = |one: &Running<B::Sampler>| one.is_active() && one.leader.is_none();
        let running =
            running.iter().enumerate().filter(|(_, one)| leads(one)).map(|(index, one)| Found {
                source: Source::Running(index),
                tokens: common_prefix(one.prompt(), prompt),
            });
        // Of equals the idle one, whose tokens are all there, and then the oldest.
        idle.into_iter().chain(running).fold(None, |best: Option<Found>, found| {
            if best.is_some_and(|best| best.tokens >= found.tokens) { best } else { Some(found) }
        })
    }

    /// Looks for somebody who has, or will have, more of the prompt of the request at `index` than its
    /// own sequence.
    fn find_leader(&mut self, index: usize, report: &mut StepReport) {
        if !self.backend.shares_cells() {
            return;
        }
        let own = &self.running[index];
        let Some(found) = self.best_source(usable(own.prompt()), Some(index)) else { return };
        if found.tokens < own.kept + WORTH_SHARING {
            return;
        }
        match found.source {
            Source::Idle(source) => {
                let from = self.idle.touch(source);
                self.share_cells(from, index, found.tokens, report);
            }
            Source::Running(source) => {
                let leader =
                    Leader { request: self.running[source].ticket().id(), tokens: found.tokens };
                self.running[index].leader = Some(leader);
            }
        }
    }

    /// Lets those go on whose leader has computed what they wait for, or will not any more.
    pub(super) fn follow_leaders(&mut self, report: &mut StepReport) {
        for index in 0..self.running.len() {
            let Some(leader) = self.running[index].leader else { continue };
            let is_it = |one: &Running<B::Sampler>| one.ticket().id() == leader.request;
            let Some(source) = self.running.iter().position(|one| is_it(one) && one.is_active())
            else {
                // It ended, failed or gave way; what it left idle may do as well.
                self.running[index].leader = None;
                self.find_leader(index, report);
                continue;
            };
            if self.running[source].kept < leader.tokens {
                continue;
            }
            self.running[index].leader = None;
            let from = self.running[source].sequence;
            if self.share_cells(from, index, leader.tokens, report) {
                self.share_blocks(source, index, leader.tokens);
            }
        }
    }

    /// Makes the sequence of the request at `index` begin with `tokens` tokens of `from`. When that fails it
    /// computes them itself.
    fn share_cells(
        &mut self,
        from: SequenceId,
        index: usize,
        tokens: u32,
        report: &mut StepReport,
    ) -> bool {
        let Running { sequence: to, kept, .. } = self.running[index];
        let cleared = if kept > 0 { self.backend.truncate(to, 0) } else { Ok(()) };
        let shared = cleared.and_then(|()| self.backend.share(from, to, tokens));
        if let Err(error) = &shared {
            tracing::debug!(from = from.0, to = to.0, tokens, %error, "cells were not shared");
        }
        let now = self.backend.sequence_len(to);
        self.running[index].found(now);
        report.reused_rows += now.saturating_sub(kept);
        shared.is_ok()
    }

    /// Makes two requests hold the same blocks for a prefix that lies in the same cells.
    fn share_blocks(&mut self, from: usize, to: usize, tokens: u32) {
        let blocks = whole_blocks(self.model.spec(), tokens);
        if blocks == 0 {
            return;
        }
        let account = self.running[to].ticket().account();
        let lent = account.and_then(|to| self.running[from].ticket_mut().lend(blocks, to));
        if let Some(lease) = lent {
            self.running[to].ticket_mut().borrow(lease);
        }
    }
}

/// The part of a prompt that may be kept: one token must be computed to give logits.
pub(crate) fn usable(prompt: &[Token]) -> &[Token] {
    prompt.split_last().map_or(&[], |(_, rest)| rest)
}

/// Blocks that `tokens` tokens fill in all layers. With sliding windows a sequence's blocks stand for
/// moving parts of it: none of them is the prefix's for good.
fn whole_blocks(spec: &ModelSpec, tokens: u32) -> u32 {
    if spec.attention().iter().any(|attention| *attention != Attention::Full) {
        return 0;
    }
    let whole = tokens - tokens % spec.block_tokens();
    if whole == 0 { 0 } else { u32::try_from(spec.blocks_for(whole)).unwrap_or(0) }
}
