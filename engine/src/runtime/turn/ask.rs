//! One reply of the model: the request, its stream, and what may go wrong with it.

use std::thread;
use std::time::{Duration, Instant};

use latchless::{AgentHandle, AllocateError};

use super::watch::Happening;
use super::{Turn, TurnError};
use crate::engine::{Engine, Event, FinishReason, Request, SubmitError, TokenStream};
use crate::runtime::cancel::CancelReason;

/// Between two attempts to submit to an engine that is full, at first and at most.
const PAUSE: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];
/// The longest that a turn waits for an engine that is full.
const PATIENCE: Duration = Duration::from_mins(10);

impl Turn<'_> {
    /// Submits and reads to the end.
    pub(super) fn answer(
        &self,
        engine: &Engine,
        handle: AgentHandle,
        request: &Request,
    ) -> Result<String, TurnError> {
        let mut stream = self.submit(engine, handle, request)?;
        let id = stream.id();
        let lane = engine.clone();
        // A turn that is to end need not wait for the model.
        let _told = self.slot.cancel().on_cancel(move |_| {
            lane.cancel(id);
        });
        self.watch.see(self.agent, &Happening::Submitted);
        let mut text = String::new();
        for event in stream.events() {
            self.slot.beat();
            match event {
                Event::Finished(completion) => return self.ended(completion.reason, text),
                event => {
                    text.push_str(event.text());
                    self.agent.say(event.text());
                    self.watch.see(self.agent, &Happening::Said(event.text()));
                }
            }
        }
        // A stream ends with a completion.
        Err(TurnError::Shutdown)
    }

    fn ended(&self, reason: FinishReason, text: String) -> Result<String, TurnError> {
        match reason {
            reason if reason.is_success() => Ok(text),
            FinishReason::Deadline => Err(TurnError::Cancelled(CancelReason::TimeLimit)),
            FinishReason::Cancelled => {
                // Somebody else may have cancelled it, at the engine.
                let reason = self.slot.cancel().reason().unwrap_or(CancelReason::User);
                Err(TurnError::Cancelled(reason))
            }
            FinishReason::Failed(error) => Err(error.into()),
            _ => Err(TurnError::Shutdown),
        }
    }

    /// Submits, and again as long as others have all the blocks or seats.
    fn submit(
        &self,
        engine: &Engine,
        handle: AgentHandle,
        request: &Request,
    ) -> Result<TokenStream, TurnError> {
        let begun = Instant::now();
        let [mut pause, most] = PAUSE;
        let here = thread::current();
        let _told = self.slot.cancel().on_cancel(move |_| here.unpark());
        loop {
            self.go_on()?;
            match engine.submit(handle, request.clone()) {
                Ok(stream) => return Ok(stream),
                Err(error) if may_fit_later(&error) && begun.elapsed() < PATIENCE => {}
                Err(error) => return Err(error.into()),
            }
            thread::park_timeout(pause);
            pause = (pause * 2).min(most);
        }
    }
}

/// Whether only others are in the way.
fn may_fit_later(error: &SubmitError) -> bool {
    match error {
        SubmitError::Blocks(AllocateError::Exhausted { requested, total, .. }) => {
            requested <= total
        }
        SubmitError::TooManyRequests { .. } | SubmitError::Draining => true,
        _ => false,
    }
}
