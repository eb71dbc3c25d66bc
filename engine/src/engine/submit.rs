//! From a request to an arrival in the lane's inbox, on the thread of the host that submits.

use std::time::Instant;

use latchless::{AgentHandle, AgentId};

use super::control::NoSeat;
use super::error::SubmitError;
use super::gate::Refused;
use super::handle::Engine;
use super::request::{Prompt, Request};
use super::running::Arrival;
use super::shared::Shared;
use super::stream::{self, TokenStream};
use super::ticket::Ticket;
use super::warm::Stored;
use crate::backend::Token;

impl Engine {
    /// Hands a request to the lane and returns its stream.
    ///
    /// The calling thread reads the prompt and reserves blocks for it and for the longest answer it may
    /// get, all or nothing; no decode, no other submitter and no reader can make it wait.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing was taken then.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a request is handed over; that a swap in the middle has it read twice is our affair"
    )]
    pub fn submit(&self, agent: AgentHandle, request: Request) -> Result<TokenStream, SubmitError> {
        let accepted = self.try_submit(agent, &request);
        if let Err(refused) = &accepted {
            self.handle().front.refusals.count(refused);
        }
        accepted
    }

    fn try_submit(
        &self,
        agent: AgentHandle,
        request: &Request,
    ) -> Result<TokenStream, SubmitError> {
        let submitted = Instant::now();
        let _span = tracing::debug_span!("submit", agent = agent.slot()).entered();
        self.handle().front.birthplace.check()?;
        request.validate()?;
        loop {
            let generation = self.handle().live.load_full();
            let name = generation.on_disk().and_then(|on_disk| on_disk.warm().names.of(agent));
            // All lanes of a generation have one model.
            let prompt = generation.lanes()[0].tokens_of(&request.prompt)?;
            let lane = generation.lane_of(agent, &prompt);
            match lane.submit(agent, name, prompt, request, submitted) {
                // A swap came between: its generation is there already, and the next may only come when
                // this one is gone. Or the lane went, and the next look finds another.
                Err(Turned::Elsewhere) if generation.is_served() => {}
                Err(Turned::Elsewhere) => return Err(SubmitError::Closed),
                Err(Turned::Away(error)) => return Err(error),
                Ok(stream) => return Ok(stream),
            }
        }
    }
}

/// Why a lane did not take a request.
enum Turned {
    /// Another lane may.
    Elsewhere,
    /// For good.
    Away(SubmitError),
}

impl<E: Into<SubmitError>> From<E> for Turned {
    fn from(error: E) -> Self {
        Self::Away(error.into())
    }
}

impl Shared {
    fn submit(
        &self,
        agent: AgentHandle,
        name: Option<AgentId>,
        mut prompt: Vec<Token>,
        request: &Request,
        submitted: Instant,
    ) -> Result<TokenStream, Turned> {
        let Request { max_tokens, sampling, stops, priority, deadline, .. } = request;
        let sequence_tokens = self.limits.tokens_per_sequence;
        let too_long =
            || SubmitError::PromptTooLong { prompt_tokens: prompt.len(), sequence_tokens };
        let prompt_tokens = u32::try_from(prompt.len()).map_err(|_| too_long())?;
        let room = sequence_tokens
            .checked_sub(prompt_tokens)
            .filter(|room| *room > 0)
            .ok_or_else(too_long)?;
        let max_tokens = room.min(*max_tokens);
        // Here, so that the lane allocates nothing while it generates.
        prompt.reserve_exact(max_tokens as usize);

        let seat = self.control.take_seat().map_err(|refused| match refused {
            NoSeat::InLane(Refused::Retired | Refused::Closed) => Turned::Elsewhere,
            NoSeat::InEngine(Refused::Closed | Refused::Retired) => SubmitError::Closed.into(),
            NoSeat::InEngine(Refused::Full) | NoSeat::InLane(Refused::Full) => {
                SubmitError::TooManyRequests { limit: self.max_requests }.into()
            }
            NoSeat::InEngine(Refused::Draining) | NoSeat::InLane(Refused::Draining) => {
                SubmitError::Draining.into()
            }
        })?;
        let account = self.accounts.of(agent, &self.pool)?;
        let lease = self.pool.allocate_sequence_owned(account, prompt_tokens + max_tokens)?;
        let blocks = lease.len();
        let id = seat.id;
        // Never more slots than tokens that can come.
        let events = self.stream_events.min(max_tokens);
        let (outlet, stream) = stream::stream(id, agent, &self.control, submitted, events);
        let ticket = Ticket::new(seat, lease, outlet, agent, submitted, prompt_tokens);
        let (sampling, stops) = (sampling.clone(), stops.clone());
        let (priority, deadline) = (*priority, *deadline);
        let arrival = Arrival {
            ticket,
            prompt,
            max_tokens,
            sampling,
            stops,
            priority,
            deadline,
            name,
            stored: Stored::Unknown,
        };
        tracing::debug!(request = %id, prompt_tokens, max_tokens, blocks, "submitted");
        if !self.deliver(arrival) {
            return Err(SubmitError::TooManyRequests { limit: self.max_requests }.into());
        }
        Ok(stream)
    }

    fn tokens_of(&self, prompt: &Prompt) -> Result<Vec<Token>, SubmitError> {
        let read = |text: &str| self.model.tokenize(text, true).map_err(SubmitError::Prompt);
        let tokens = match prompt {
            Prompt::Text(text) => read(text)?,
            Prompt::Chat(messages) => {
                read(&self.model.chat_prompt(messages).map_err(SubmitError::Prompt)?)?
            }
            Prompt::Tokens(tokens) => {
                let vocabulary = self.model.vocabulary_size();
                let known = |token: &Token| u32::try_from(token.0).is_ok_and(|id| id < vocabulary);
                if let Some(&token) = tokens.iter().find(|token| !known(token)) {
                    return Err(SubmitError::UnknownToken { token, vocabulary });
                }
                tokens.clone()
            }
        };
        if tokens.is_empty() {
            return Err(SubmitError::EmptyPrompt);
        }
        Ok(tokens)
    }
}
