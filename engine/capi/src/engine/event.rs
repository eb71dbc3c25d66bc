//! What an engine tells of a request, as C reads it.

use ::latchless_engine::{Completion, Event, FinishReason};

use crate::arguments::nanoseconds;
use crate::status::{Failure, latchless_status, remember};

/// A token was generated. `text` has what became certain with it, if anything.
pub const LATCHLESS_EVENT_TOKEN: u32 = 1;
/// More text: of a token whose text is longer than one event holds, or that was held back.
pub const LATCHLESS_EVENT_TEXT: u32 = 2;
/// The request ended, as `completion` says. Nothing follows.
pub const LATCHLESS_EVENT_FINISHED: u32 = 3;

/// Bytes of `latchless_event.text`, the NUL at its end included.
pub const LATCHLESS_EVENT_TEXT_BYTES: usize = 128;

/// The model ended its answer.
pub const LATCHLESS_FINISH_END: u32 = 1;
/// `max_tokens` were generated, or the sequence is full.
pub const LATCHLESS_FINISH_LENGTH: u32 = 2;
/// A stop text was generated; the answer ends before it.
pub const LATCHLESS_FINISH_STOP: u32 = 3;
/// It was cancelled, or its stream was released.
pub const LATCHLESS_FINISH_CANCELLED: u32 = 4;
/// Its deadline passed.
pub const LATCHLESS_FINISH_DEADLINE: u32 = 5;
/// The engine was destroyed.
pub const LATCHLESS_FINISH_SHUTDOWN: u32 = 6;
/// Something failed: latchless_last_error() says what, on the thread that got the event.
pub const LATCHLESS_FINISH_FAILED: u32 = 7;

/// A time that there is none of.
pub const LATCHLESS_NO_TIME: u64 = u64::MAX;

/// How a request ended. When it is there, the request's blocks are free.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_completion {
    /// One of `LATCHLESS_FINISH_...`; 0 in an event that is none.
    pub reason: u32,
    /// With `LATCHLESS_FINISH_STOP`, which of the request's stops.
    pub stop_index: u32,
    /// `LATCHLESS_OK`, or with `LATCHLESS_FINISH_FAILED` `LATCHLESS_ERROR_REQUEST_FAILED`.
    pub error: i32,
    /// Blocks that the request gave back.
    pub blocks_freed: u32,
    /// The model that answered: 0 for the engine's first, one more with each swap.
    pub generation: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, tokens that were not computed, because they were kept.
    pub cached_tokens: u32,
    /// Tokens that were computed once more, because the request gave way to others.
    pub recomputed_tokens: u32,
    /// Tokens that were generated.
    pub generated_tokens: u32,
    /// Nanoseconds from the submit until the request had a sequence; `LATCHLESS_NO_TIME` if it never had.
    pub queued_ns: u64,
    /// Nanoseconds until its first token; `LATCHLESS_NO_TIME` if there is none.
    pub first_token_ns: u64,
    /// Nanoseconds until it ended.
    pub total_ns: u64,
}

/// One event of a request. It is the caller's, and points nowhere.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_event {
    /// The request.
    pub request: u64,
    /// One of `LATCHLESS_EVENT_...`.
    pub kind: u32,
    /// With `LATCHLESS_EVENT_TOKEN`, the token.
    pub token: i32,
    /// Bytes of `text`, without the NUL at its end.
    pub text_bytes: u32,
    /// 0.
    pub unused: u32,
    /// Whole characters in UTF-8, ended by a NUL.
    pub text: [u8; LATCHLESS_EVENT_TEXT_BYTES],
    /// With `LATCHLESS_EVENT_FINISHED`, how it ended.
    pub completion: latchless_completion,
}

const UNFINISHED: latchless_completion = latchless_completion {
    reason: 0,
    stop_index: 0,
    error: 0,
    blocks_freed: 0,
    generation: 0,
    prompt_tokens: 0,
    cached_tokens: 0,
    recomputed_tokens: 0,
    generated_tokens: 0,
    queued_ns: LATCHLESS_NO_TIME,
    first_token_ns: LATCHLESS_NO_TIME,
    total_ns: LATCHLESS_NO_TIME,
};

impl From<&Completion> for latchless_completion {
    fn from(completion: &Completion) -> Self {
        let (reason, stop_index) = match &completion.reason {
            FinishReason::EndOfGeneration => (LATCHLESS_FINISH_END, 0),
            FinishReason::Length => (LATCHLESS_FINISH_LENGTH, 0),
            FinishReason::Stop { index } => (LATCHLESS_FINISH_STOP, *index as u32),
            FinishReason::Cancelled => (LATCHLESS_FINISH_CANCELLED, 0),
            FinishReason::Deadline => (LATCHLESS_FINISH_DEADLINE, 0),
            FinishReason::Shutdown => (LATCHLESS_FINISH_SHUTDOWN, 0),
            _ => (LATCHLESS_FINISH_FAILED, 0),
        };
        let failed = reason == LATCHLESS_FINISH_FAILED;
        let error = latchless_status::LATCHLESS_ERROR_REQUEST_FAILED as i32;
        let (usage, timings) = (&completion.usage, &completion.timings);
        let time = |time: Option<_>| time.map_or(LATCHLESS_NO_TIME, nanoseconds);
        Self {
            reason,
            stop_index,
            error: if failed { error } else { 0 },
            blocks_freed: completion.blocks_freed,
            generation: completion.generation,
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            recomputed_tokens: usage.recomputed_tokens,
            generated_tokens: usage.generated_tokens,
            queued_ns: time(timings.queued),
            first_token_ns: time(timings.first_token),
            total_ns: nanoseconds(timings.total),
        }
    }
}

/// What is left of an event's text when it is longer than one holds.
#[derive(Debug, Default)]
pub(super) struct Rest(String);

impl Rest {
    /// The next event out of it.
    pub(super) fn next(&mut self, request: u64) -> Option<latchless_event> {
        if self.0.is_empty() {
            return None;
        }
        let mut event = empty(request, LATCHLESS_EVENT_TEXT);
        let taken = fill(&mut event, &self.0);
        self.0.drain(..taken);
        Some(event)
    }
}

/// The event for C; what does not fit goes to `rest`, for the events that follow. A failure is remembered for
/// the calling thread.
pub(super) fn event(request: u64, from: &Event, rest: &mut Rest) -> latchless_event {
    let (kind, token) = match from {
        Event::Token { token, .. } => (LATCHLESS_EVENT_TOKEN, token.0),
        Event::Held { .. } => (LATCHLESS_EVENT_TEXT, 0),
        Event::Finished(_) => (LATCHLESS_EVENT_FINISHED, 0),
    };
    let mut event = latchless_event { token, ..empty(request, kind) };
    let taken = fill(&mut event, from.text());
    if taken < from.text().len() {
        from.text()[taken..].clone_into(&mut rest.0);
    }
    if let Event::Finished(completion) = from {
        event.completion = completion.into();
        if let FinishReason::Failed(error) = &completion.reason {
            remember(Failure::Request(error.clone()));
        }
    }
    event
}

fn empty(request: u64, kind: u32) -> latchless_event {
    let text = [0; LATCHLESS_EVENT_TEXT_BYTES];
    latchless_event {
        request,
        kind,
        token: 0,
        text_bytes: 0,
        unused: 0,
        text,
        completion: UNFINISHED,
    }
}

/// Writes as many whole characters as fit, and returns their bytes.
fn fill(event: &mut latchless_event, text: &str) -> usize {
    let bytes = text.floor_char_boundary(LATCHLESS_EVENT_TEXT_BYTES - 1);
    event.text[..bytes].copy_from_slice(&text.as_bytes()[..bytes]);
    event.text_bytes = bytes as u32;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_comes_in_several_events_of_whole_characters() {
        let text = "añ🦀".repeat(60);
        let mut rest = Rest::default();
        let mut events = vec![event(7, &Event::Held { text: text.clone() }, &mut rest)];
        events.extend(std::iter::from_fn(|| rest.next(7)));
        assert!(events.len() > 3, "{}", events.len());
        let mut joined = String::new();
        for event in &events {
            assert_eq!((event.kind, event.request), (LATCHLESS_EVENT_TEXT, 7));
            let bytes = &event.text[..event.text_bytes as usize];
            joined.push_str(std::str::from_utf8(bytes).expect("whole characters"));
            assert_eq!(event.text[event.text_bytes as usize], 0);
        }
        assert_eq!(joined, text);
    }
}
