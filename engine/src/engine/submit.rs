//! From a request to an arrival in the lane's inbox, on the thread of the host that submits.

use std::time::Instant;

use latchless::AgentHandle;

use super::error::SubmitError;
use super::gate::Refused;
use super::handle::Engine;
use super::request::{Prompt, Request};
use super::running::Arrival;
use super::shared::Shared;
use super::stream::{self, TokenStream};
use super::ticket::Ticket;
use crate::backend::Token;

impl Engine {
    /// Hands a request to the lane and returns its stream.
    ///
    /// The calling thread reads the prompt and reserves blocks for it and for the longest answer it may
    /// get, all or nothing; no decode, no other submitter and no reader can make it wait.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing was taken then.
    pub fn submit(&self, agent: AgentHandle, request: Request) -> Result<TokenStream, SubmitError> {
        let submitted = Instant::now();
        let shared = self.shared();
        request.validate()?;
        let Request { prompt, max_tokens, sampling, stops, priority, deadline } = request;
        let mut prompt = shared.tokens_of(prompt)?;
        let sequence_tokens = shared.limits.tokens_per_sequence;
        let too_long =
            || SubmitError::PromptTooLong { prompt_tokens: prompt.len(), sequence_tokens };
        let prompt_tokens = u32::try_from(prompt.len()).map_err(|_| too_long())?;
        let room = sequence_tokens
            .checked_sub(prompt_tokens)
            .filter(|room| *room > 0)
            .ok_or_else(too_long)?;
        let max_tokens = max_tokens.min(room);
        // Here, so that the lane allocates nothing while it generates.
        prompt.reserve_exact(max_tokens as usize);

        let seat = shared.control.take_seat().map_err(|refused| match refused {
            Refused::Full => SubmitError::TooManyRequests { limit: shared.max_requests },
            Refused::Draining => SubmitError::Draining,
            Refused::Closed => SubmitError::Closed,
        })?;
        let lease = shared.pool.allocate_sequence_owned(agent, prompt_tokens + max_tokens)?;
        let blocks = lease.len();
        let request = seat.id;
        // Never more slots than tokens that can come.
        let events = shared.stream_events.min(max_tokens);
        let (outlet, stream) = stream::stream(request, agent, &shared.control, submitted, events);
        let ticket = Ticket::new(seat, lease, outlet, agent, submitted, prompt_tokens);
        let arrival = Arrival { ticket, prompt, max_tokens, sampling, stops, priority, deadline };
        tracing::debug!(%request, prompt_tokens, max_tokens, blocks, "submitted");
        if !shared.deliver(arrival) {
            return Err(SubmitError::TooManyRequests { limit: shared.max_requests });
        }
        Ok(stream)
    }
}

impl Shared {
    fn tokens_of(&self, prompt: Prompt) -> Result<Vec<Token>, SubmitError> {
        let read = |text: &str| self.model.tokenize(text, true).map_err(SubmitError::Prompt);
        let tokens = match prompt {
            Prompt::Text(text) => read(&text)?,
            Prompt::Chat(messages) => {
                read(&self.model.chat_prompt(&messages).map_err(SubmitError::Prompt)?)?
            }
            Prompt::Tokens(tokens) => {
                let vocabulary = self.model.vocabulary_size();
                let known = |token: &Token| u32::try_from(token.0).is_ok_and(|id| id < vocabulary);
                if let Some(&token) = tokens.iter().find(|token| !known(token)) {
                    return Err(SubmitError::UnknownToken { token, vocabulary });
                }
                tokens
            }
        };
        if tokens.is_empty() {
            return Err(SubmitError::EmptyPrompt);
        }
        Ok(tokens)
    }
}
