//! One request that has a sequence: how far its prompt is computed, what comes next, and its text.

use std::time::Instant;

use latchless::{AgentId, RequestId};

use super::admit::Place;
use super::assemble::Demand;
use super::completion::FinishReason;
use super::error::RequestError;
use super::piece::Piece;
use super::queue::Priority;
use super::text::TextFilter;
use super::ticket::Ticket;
use super::warm::Stored;
use crate::backend::{Batch, BatchRow, Model, RowOutOfBatch, Sampling, SequenceId, Token};

/// A request that the lane has taken from the inbox and that has no sequence yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) ticket: Ticket,
    /// With room for `max_tokens` more, so that the lane allocates nothing for it.
    pub(crate) prompt: Vec<Token>,
    /// Tokens that may be generated: what was asked, and what the sequence has room for.
    pub(crate) max_tokens: u32,
    pub(crate) sampling: Sampling,
    pub(crate) stops: Vec<String>,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
    /// Whose file its sequence goes to.
    pub(crate) name: Option<AgentId>,
    /// What there is of it on disk.
    pub(crate) stored: Stored,
}

impl Arrival {
    /// Ends it without a sequence.
    pub(crate) fn end(self, reason: FinishReason) {
        self.ticket.finish(String::new(), reason);
    }
}

/// Another request that is computing what this one begins with, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) request: RequestId,
    /// Tokens that the two have in common.
    pub(crate) tokens: u32,
}

#[derive(Debug)]
pub(crate) struct Running<S> {
    ticket: Ticket,
    pub(crate) sequence: SequenceId,
    pub(crate) sampler: S,
    /// The prompt and what was generated.
    tokens: Vec<Token>,
    prompt: u32,
    /// Tokens that are computed before one is drawn: the prompt, or, of a request whose state was dropped,
    /// all that it had.
    known: u32,
    /// Tokens that the backend keeps for it: the first so many.
    pub(crate) kept: u32,
    max_tokens: u32,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
    /// It waits for another one to compute the prefix that they have in common.
    pub(crate) leader: Option<Leader>,
    /// Its state is in host memory; it leaves its sequence at the end of the step.
    pub(crate) parked: bool,
    /// Steps in a row in which its reader was behind, of those in which somebody waited for a sequence.
    pub(crate) steps_behind: u32,
    /// Whose file its sequence goes to.
    name: Option<AgentId>,
    text: TextFilter,
    /// The text that became certain last; kept to spare an allocation a token.
    certain: String,
    /// Why it is over; it is taken out at the end of the step.
    ended: Option<FinishReason>,
}

impl<S> Running<S> {
    /// A request in its place.
    pub(crate) fn new(arrival: Arrival, place: Place, sampler: S, now: Instant) -> Self {
        let Arrival { mut ticket, prompt, max_tokens, stops, priority, deadline, name, .. } =
            arrival;
        let Place { sequence, kept, resumed } = place;
        ticket.admitted(now);
        ticket.found(kept, if resumed { kept } else { 0 });
        Self {
            ticket,
            sequence,
            sampler,
            prompt: prompt.len() as u32,
            known: prompt.len() as u32,
            tokens: prompt,
            kept,
            max_tokens,
            priority,
            deadline,
            leader: None,
            parked: false,
            steps_behind: 0,
            name,
            text: TextFilter::new(stops),
            certain: String::new(),
            ended: None,
        }
    }

    pub(crate) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    pub(crate) fn ticket_mut(&mut self) -> &mut Ticket {
        &mut self.ticket
    }

    pub(crate) fn prompt(&self) -> &[Token] {
        &self.tokens[..self.prompt as usize]
    }

    /// What it could put into the next batch.
    pub(crate) fn demand(&self) -> Demand {
        if !self.is_active() || self.leader.is_some() {
            Demand::Nothing
        } else if !self.ticket.has_room() {
            // Its reader is behind. The first token always has room.
            Demand::Nothing
        } else if self.is_prefilling() {
            Demand::Prefill(self.known - self.kept)
        } else if self.has_next() {
            Demand::Decode
        } else {
            Demand::Nothing
        }
    }

    /// Whether a part of its prompt is not computed yet, or of what it had when its state was dropped.
    pub(crate) fn is_prefilling(&self) -> bool {
        self.kept < self.known
    }

    /// Tokens that it has, computed or not.
    pub(crate) fn tokens_known(&self) -> u32 {
        self.tokens.len() as u32
    }

    /// Its state was dropped: what it has is computed again.
    pub(crate) fn forget(&mut self) {
        self.ticket.recomputes(self.kept);
        self.known = self.tokens.len() as u32;
        self.kept = 0;
    }

    /// Whether it waits for its reader.
    pub(crate) fn is_paused(&self) -> bool {
        !self.ticket.has_room()
    }

    /// A token was drawn that is not decoded yet.
    fn has_next(&self) -> bool {
        (self.kept as usize) < self.tokens.len()
    }

    /// Puts its next `rows` rows into the batch; logits are wanted for the last token that it has.
    pub(crate) fn push_rows(&self, rows: u32, batch: &mut Batch) -> Result<(), RowOutOfBatch> {
        for position in self.kept..self.kept + rows {
            let Some(&token) = self.tokens.get(position as usize) else { break };
            let logits = position + 1 >= self.known;
            batch.push(BatchRow { token, sequence: self.sequence, position, logits })?;
        }
        Ok(())
    }

    /// `rows` rows were computed. `true` when a token is to be drawn from the last of them.
    pub(crate) fn advance(&mut self, rows: u32) -> bool {
        self.kept += rows;
        !self.is_prefilling()
    }

    /// Its sequence begins with `kept` tokens that were not computed for it.
    pub(crate) fn found(&mut self, kept: u32) {
        self.kept = kept;
        self.ticket.found(kept, 0);
    }

    /// A token was drawn.
    pub(crate) fn accept(&mut self, token: Token, model: &dyn Model, now: Instant) {
        if model.is_end_of_generation(token) {
            self.ended = Some(FinishReason::EndOfGeneration);
            return;
        }
        model.token_bytes(token, self.text.bytes_mut());
        self.certain.clear();
        let stop = self.text.advance(&mut self.certain);
        self.ticket.send(token, Piece::from(self.certain.as_str()), now);
        if let Some(index) = stop {
            self.ended = Some(FinishReason::Stop { index });
        } else if self.ticket.generated() >= self.max_tokens {
            self.ended = Some(FinishReason::Length);
        } else {
            self.tokens.push(token);
        }
    }

    /// Marks it as over, unless it is already.
    pub(crate) fn end(&mut self, reason: FinishReason) {
        self.ended.get_or_insert(reason);
    }

    /// Marks it as failed, unless it is over already.
    pub(crate) fn fail(&mut self, error: RequestError) {
        self.end(FinishReason::Failed(error));
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether it has its sequence and goes on.
    pub(crate) fn is_active(&self) -> bool {
        !self.is_over() && !self.parked
    }

    /// What its sequence may keep for the agent's next turn: nothing after a failure, which leaves a
    /// sequence that nobody can vouch for, and nothing of what somebody did not want any more.
    pub(crate) fn take_kept(&mut self) -> Option<Vec<Token>> {
        let vouched = match &self.ended {
            Some(FinishReason::Deadline) => true,
            Some(reason) => reason.is_success(),
            None => false,
        };
        if !vouched {
            return None;
        }
        self.tokens.truncate(self.kept as usize);
        Some(std::mem::take(&mut self.tokens))
    }

    /// Whose file its sequence goes to.
    pub(crate) fn take_name(&mut self) -> Option<AgentId> {
        self.name.take()
    }

    /// Publishes its end. Its sequence must be cleared, or kept for the next, before.
    pub(crate) fn finish(mut self) {
        // `LaneGone` cannot be reached: the lane finishes what is over.
        let reason = self.ended.unwrap_or(FinishReason::Failed(RequestError::LaneGone));
        self.ticket.finish(self.text.finish(), reason);
    }
}
