//! One request that has a sequence: how far its prompt is computed, what comes next, and its text.

use std::time::Instant;

use super::assemble::Demand;
use super::completion::FinishReason;
use super::error::RequestError;
use super::queue::Priority;
use super::text::TextFilter;
use super::ticket::Ticket;
use crate::backend::{Batch, BatchRow, Model, RowOutOfBatch, Sampling, SequenceId, Token};

/// A request that the lane has taken from the inbox and that has no sequence yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) ticket: Ticket,
    pub(crate) prompt: Vec<Token>,
    /// Tokens that may be generated: what was asked, and what the sequence has room for.
    pub(crate) max_tokens: u32,
    pub(crate) sampling: Sampling,
    pub(crate) stops: Vec<String>,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
}

impl Arrival {
    /// Ends it without a sequence.
    pub(crate) fn end(self, reason: FinishReason) {
        self.ticket.finish(String::new(), reason);
    }
}

#[derive(Debug)]
pub(crate) struct Running<S> {
    ticket: Ticket,
    pub(crate) sequence: SequenceId,
    pub(crate) sampler: S,
    prompt: Vec<Token>,
    /// Tokens that the backend keeps for it.
    pub(crate) kept: u32,
    /// The token that was drawn last and is not decoded yet.
    next: Option<Token>,
    max_tokens: u32,
    pub(crate) deadline: Option<Instant>,
    text: TextFilter,
    /// Why it is over; it is taken out at the end of the step.
    ended: Option<FinishReason>,
}

impl<S> Running<S> {
    pub(crate) fn new(arrival: Arrival, sequence: SequenceId, sampler: S, now: Instant) -> Self {
        let Arrival { mut ticket, prompt, max_tokens, stops, deadline, .. } = arrival;
        ticket.admitted(now);
        Self {
            ticket,
            sequence,
            sampler,
            prompt,
            kept: 0,
            next: None,
            max_tokens,
            deadline,
            text: TextFilter::new(stops),
            ended: None,
        }
    }

    pub(crate) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// What it could put into the next batch.
    pub(crate) fn demand(&self) -> Demand {
        if self.ended.is_some() {
            Demand::Nothing
        } else if self.is_prefilling() {
            // Nothing was sent yet, so the first token has room.
            Demand::Prefill(self.prompt.len() as u32 - self.kept)
        } else if self.next.is_some() && self.ticket.has_room() {
            Demand::Decode
        } else {
            Demand::Nothing
        }
    }

    /// Whether a part of its prompt is not computed yet.
    pub(crate) fn is_prefilling(&self) -> bool {
        (self.kept as usize) < self.prompt.len()
    }

    /// Puts its next `rows` rows into the batch; logits are wanted for the last token that it has.
    pub(crate) fn push_rows(&self, rows: u32, batch: &mut Batch) -> Result<(), RowOutOfBatch> {
        for position in self.kept..self.kept + rows {
            let prompt_token = self.prompt.get(position as usize).copied();
            let Some(token) = prompt_token.or(self.next) else { break };
            let logits = position as usize + 1 >= self.prompt.len();
            batch.push(BatchRow { token, sequence: self.sequence, position, logits })?;
        }
        Ok(())
    }

    /// `rows` rows were computed. `true` when a token is to be drawn from the last of them.
    pub(crate) fn advance(&mut self, rows: u32) -> bool {
        self.kept += rows;
        if self.is_prefilling() {
            return false;
        }
        self.next = None;
        true
    }

    /// A token was drawn.
    pub(crate) fn accept(&mut self, token: Token, model: &dyn Model, now: Instant) {
        if model.is_end_of_generation(token) {
            self.ended = Some(FinishReason::EndOfGeneration);
            return;
        }
        model.token_bytes(token, self.text.bytes_mut());
        let mut text = String::new();
        let stop = self.text.advance(&mut text);
        self.ticket.send(token, text, now);
        if let Some(index) = stop {
            self.ended = Some(FinishReason::Stop { index });
        } else if self.ticket.generated() >= self.max_tokens {
            self.ended = Some(FinishReason::Length);
        } else {
            self.next = Some(token);
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

    /// Publishes its end. Its sequence must be cleared before.
    pub(crate) fn finish(mut self) {
        // `LaneGone` cannot be reached: the lane finishes what is over.
        let reason = self.ended.unwrap_or(FinishReason::Failed(RequestError::LaneGone));
        self.ticket.finish(self.text.finish(), reason);
    }
}
