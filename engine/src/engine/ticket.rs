//! What an accepted request holds, given back exactly once on every path.

use std::time::{Duration, Instant};

use latchless::{AgentHandle, OwnedLease, RequestId};

use super::completion::{Completion, FinishReason, Timings, Usage};
use super::control::Seat;
use super::error::RequestError;
use super::event::Event;
use super::piece::Piece;
use super::stream::Outlet;
use crate::backend::Token;
use crate::sync::mutant;

/// A request's seat, blocks and way back. Ending it gives back blocks, then the seat, then publishes the
/// completion: a host that sees the completion finds the blocks free and the engine ready for the next
/// request. A ticket that is dropped, also by a panic, ends as [`RequestError::LaneGone`].
#[derive(Debug)]
pub(crate) struct Ticket {
    /// `None` when it has ended.
    held: Option<Held>,
    outlet: Outlet,
    request: RequestId,
    generation: u64,
    agent: AgentHandle,
    submitted: Instant,
    usage: Usage,
    queued: Option<Duration>,
    first_token: Option<Duration>,
}

#[derive(Debug)]
struct Held {
    // In this order they are given back: who is let in when the seat is free finds the blocks free, too.
    lease: OwnedLease,
    /// Blocks of a prefix that others hold, too.
    prefix: Option<OwnedLease>,
    seat: Seat,
}

impl Held {
    fn blocks(&self) -> u32 {
        self.lease.len() + self.prefix.as_ref().map_or(0, OwnedLease::len)
    }
}

impl Ticket {
    pub(crate) fn new(
        seat: Seat,
        lease: OwnedLease,
        outlet: Outlet,
        agent: AgentHandle,
        submitted: Instant,
        prompt_tokens: u32,
    ) -> Self {
        Self {
            request: seat.id,
            generation: seat.generation(),
            held: Some(Held { lease, prefix: None, seat }),
            outlet,
            agent,
            submitted,
            usage: Usage { prompt_tokens, ..Usage::default() },
            queued: None,
            first_token: None,
        }
    }

    pub(crate) fn id(&self) -> RequestId {
        self.request
    }

    pub(crate) fn agent(&self) -> AgentHandle {
        self.agent
    }

    /// The agent's handle in the pool of this lane.
    pub(crate) fn account(&self) -> Option<AgentHandle> {
        self.held.as_ref().map(|held| held.lease.agent())
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.seat.is_cancelled())
    }

    pub(crate) fn generated(&self) -> u32 {
        self.usage.generated_tokens
    }

    /// The lane gave it a sequence.
    pub(crate) fn admitted(&mut self, now: Instant) {
        self.queued = Some(now.saturating_duration_since(self.submitted));
    }

    /// So many tokens of the prompt were kept and not computed, and so many of these came from disk.
    pub(crate) fn found(&mut self, tokens: u32, resumed: u32) {
        self.usage.cached_tokens = tokens;
        self.usage.resumed_tokens = resumed;
    }

    /// A lease for `to` on the first `blocks` blocks of this request, which both hold from now on. `None`
    /// when the pool refuses, for `to`'s quota for instance: then each keeps its own.
    pub(crate) fn lend(&mut self, blocks: u32, to: AgentHandle) -> Option<OwnedLease> {
        let held = self.held.as_mut()?;
        let shared = held.prefix.as_ref().map_or(0, OwnedLease::len);
        if blocks > shared {
            let more = held.lease.split_off(blocks - shared).ok()?;
            match &mut held.prefix {
                // They part only when the agent was freed as a whole, and its blocks with it.
                Some(prefix) => prefix.merge(more).ok()?,
                None => held.prefix = Some(more),
            }
        }
        let prefix = held.prefix.as_mut()?;
        let rest = if blocks < shared { prefix.split_off(shared - blocks).ok() } else { None };
        let lent = prefix.share(to).ok();
        if let Some(rest) = rest {
            prefix.merge(rest).ok()?;
        }
        lent
    }

    /// Takes a lease on another request's blocks in place of as many of its own, which go back.
    pub(crate) fn borrow(&mut self, prefix: OwnedLease) {
        let Some(held) = self.held.as_mut() else { return };
        if held.prefix.is_none()
            && prefix.len() > 0
            && let Ok(own) = held.lease.split_off(prefix.len())
        {
            drop(own);
            held.prefix = Some(prefix);
        }
    }

    /// So many tokens are computed once more.
    pub(crate) fn recomputes(&mut self, tokens: u32) {
        self.usage.recomputed_tokens += tokens;
    }

    /// Whether a token may be sent; see [`Outlet::has_room`].
    pub(crate) fn has_room(&self) -> bool {
        self.outlet.has_room()
    }

    /// Sends a token.
    pub(crate) fn send(&mut self, token: Token, text: Piece, now: Instant) {
        self.usage.generated_tokens += 1;
        self.first_token.get_or_insert_with(|| now.saturating_duration_since(self.submitted));
        self.outlet.send(Event::Token { token, text });
    }

    /// Gives everything back and says why, after the text that was held back.
    pub(crate) fn finish(mut self, held: String, reason: FinishReason) {
        self.end(held, reason);
    }

    fn end(&mut self, text: String, reason: FinishReason) {
        let Some(held) = self.held.take() else { return };
        let blocks_freed = held.blocks();
        let completion = Completion {
            request: self.request,
            agent: self.agent,
            generation: self.generation,
            reason,
            usage: self.usage,
            timings: Timings {
                queued: self.queued,
                first_token: self.first_token,
                total: self.submitted.elapsed(),
            },
            blocks_freed,
        };
        // Counted before the seat goes: whoever finds the engine idle finds the request counted.
        held.seat.totals().ended(&completion);
        // Given back here, but for a mutant that keeps it until all is said.
        let _late = mutant("ticket.published-first").then_some(held);
        if !text.is_empty() {
            self.outlet.send(Event::Held { text });
        }
        tracing::debug!(
            request = %self.request, reason = %completion.reason, blocks_freed,
            generated = self.usage.generated_tokens, "request ended"
        );
        self.outlet.send(Event::Finished(completion));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(String::new(), FinishReason::Failed(RequestError::LaneGone));
    }
}
