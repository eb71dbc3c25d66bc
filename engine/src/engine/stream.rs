//! A request's way back to its host: a wait-free ring from the lane to one reader.
//!
//! The lane never waits for a reader. Two slots of the ring are never used by tokens, so that the text
//! held back and the completion always fit; when only these are left the request pauses, and the reader
//! rings for the lane when it has taken an event.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_core::Stream;
use latchless::{AgentHandle, RequestId};

use super::completion::{Completion, FinishReason, Timings, Usage};
use super::control::Control;
use super::error::RequestError;
use super::event::{Event, Slot};
use super::wake::{thread_waker, wake};
use crate::backend::Token;
use crate::sync::{
    AtomicBool, AtomicWaker, Consumer, Ordering, Producer, RingBuffer, mutant, park, weaker,
};

/// Slots for [`Event::Held`] and [`Event::Finished`].
const RESERVED: usize = 2;

/// Beside the ring: who is to be woken, and by whom.
#[derive(Debug, Default)]
struct Signals {
    reader: AtomicWaker,
    /// The lane found the ring full and waits for a ring of its bell.
    paused: AtomicBool,
}

/// The lane's end.
#[derive(Debug)]
pub(crate) struct Outlet {
    // In this order: fields are dropped as they are declared, and a reader that waits must find the
    // ring closed when it is woken the last time.
    ring: Producer<Slot>,
    reader: WakeLast,
}

#[derive(Debug)]
struct WakeLast(Arc<Signals>);

impl Drop for WakeLast {
    fn drop(&mut self) {
        wake(&self.0.reader);
    }
}

impl Outlet {
    /// Whether a token may be sent. When not, the reader rings once it has made room.
    pub(crate) fn has_room(&self) -> bool {
        if self.ring.cached_slots() > RESERVED || self.ring.slots() > RESERVED {
            return true;
        }
        // Both sides swap the flag. If the reader's swap came first, ours reads from it and the look
        // below sees the slot it freed; if ours came first, it reads `true` and rings.
        self.reader.0.paused.swap(true, weaker("stream.pause-relaxed", Ordering::AcqRel));
        self.ring.slots() > RESERVED && !mutant("stream.pause-unlooked")
    }

    /// Sends an event. Tokens only after [`has_room`](Self::has_room), one for each; `Held` and
    /// `Finished` once.
    pub(crate) fn send(&mut self, event: Event) {
        let sent = self.ring.push(event.into());
        debug_assert!(sent.is_ok(), "an event was sent without room");
        wake(&self.reader.0.reader);
    }
}

/// The tokens of one request, for one reader at a time.
///
/// Read it from a thread with [`recv`](Self::recv), without waiting with [`try_recv`](Self::try_recv),
/// or as a [`futures_core::Stream`] on any executor. A waker of such an executor is called on the lane's
/// thread: it should only schedule. If it panics, that ends there: its task is not woken, and nobody else is
/// harmed.
///
/// Dropping the stream cancels the request. Reading slowly pauses it, and nobody else.
#[must_use = "dropping the stream cancels the request"]
pub struct TokenStream {
    request: RequestId,
    agent: AgentHandle,
    ring: Consumer<Slot>,
    signals: Arc<Signals>,
    control: Arc<Control>,
    submitted: Instant,
    generated: u32,
    completion: Option<Completion>,
}

/// What [`TokenStream::try_recv`] found instead of an event.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, Request, TryRecvError};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let (engine, lane) = Engine::new(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// // Nobody has stepped the lane.
/// let mut stream = engine.submit(agent, Request::text("Why?"))?;
/// assert_eq!(stream.try_recv(), Err(TryRecvError::Empty));
/// # drop(lane);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TryRecvError {
    /// Nothing yet.
    #[error("no event yet; step the lane or try again")]
    Empty,
    /// The completion was taken; nothing follows.
    #[error("the request has ended and its completion was taken")]
    Ended,
}

/// Everything a request gave.
///
/// ```
/// use latchless_engine::{Answer, Engine, EngineConfig, Request};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let Answer { text, tokens, completion } = engine.submit(agent, Request::text("Why?"))?.wait();
/// assert_eq!((text.as_str(), tokens.len()), ("Because.", 8), "a byte a token");
/// assert!(completion.reason.is_success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The tokens.
    pub tokens: Vec<Token>,
    /// How it ended.
    pub completion: Completion,
}

/// Both ends of a stream that keeps `events` tokens for a reader that is behind.
pub(crate) fn stream(
    request: RequestId,
    agent: AgentHandle,
    control: &Arc<Control>,
    submitted: Instant,
    events: u32,
) -> (Outlet, TokenStream) {
    let (sender, receiver) = RingBuffer::new(events.max(1) as usize + RESERVED);
    let signals = Arc::new(Signals::default());
    let stream = TokenStream {
        request,
        agent,
        ring: receiver,
        signals: Arc::clone(&signals),
        control: Arc::clone(control),
        submitted,
        generated: 0,
        completion: None,
    };
    (Outlet { ring: sender, reader: WakeLast(signals) }, stream)
}

impl TokenStream {
    /// The request's id, by which [`Engine::cancel`](super::Engine::cancel) ends it from elsewhere.
    pub fn id(&self) -> RequestId {
        self.request
    }

    /// Whose request it is.
    pub fn agent(&self) -> AgentHandle {
        self.agent
    }

    /// Asks the lane to end the request, and returns at once. The acknowledgement is a
    /// [`Completion`] with the reason `Cancelled`, unless the request ended before it was seen. `false`
    /// when it is known already to have ended.
    pub fn cancel(&self) -> bool {
        self.control.cancel(self.request)
    }

    /// How the request ended, once [`Event::Finished`] was taken.
    pub fn completion(&self) -> Option<&Completion> {
        self.completion.as_ref()
    }

    /// The next event, if it is there.
    ///
    /// # Errors
    /// [`TryRecvError`] says whether one may still come.
    pub fn try_recv(&mut self) -> Result<Event, TryRecvError> {
        if self.completion.is_some() {
            return Err(TryRecvError::Ended);
        }
        let event = match self.ring.pop() {
            Ok(slot) => {
                // See `Outlet::has_room`. A swap and no load: a load may be answered before the slot
                // just freed is visible, and then both sides could wait for each other.
                let paused = &self.signals.paused;
                let waits = if mutant("stream.paused-loaded") {
                    paused.load(Ordering::Acquire) && paused.swap(false, Ordering::AcqRel)
                } else {
                    paused.swap(false, weaker("stream.resume-relaxed", Ordering::AcqRel))
                };
                if waits {
                    self.control.bell.ring();
                }
                slot.into()
            }
            Err(_) if !self.ring.is_abandoned() => return Err(TryRecvError::Empty),
            // What was sent between the two looks is still there.
            Err(_) => {
                let last = self.ring.pop().map(Event::from);
                last.unwrap_or_else(|_| Event::Finished(self.without_completion()))
            }
        };
        match &event {
            Event::Token { .. } => self.generated += 1,
            Event::Held { .. } => {}
            Event::Finished(completion) => self.completion = Some(completion.clone()),
        }
        Ok(event)
    }

    /// The next event; waits for it. `None` after [`Event::Finished`].
    ///
    /// Not for the thread that steps the lane: it would wait for itself.
    pub fn recv(&mut self) -> Option<Event> {
        loop {
            match self.try_recv() {
                Ok(event) => return Some(event),
                Err(TryRecvError::Ended) => return None,
                Err(TryRecvError::Empty) => {}
            }
            if let Some(event) = self.ended_by_a_fork() {
                return Some(event);
            }
            self.signals.reader.register(&thread_waker());
            // Registered, then looked again: what is sent after this look wakes us.
            if self.is_quiet() || mutant("stream.parks-unlooked") {
                park();
            }
        }
    }

    /// Reads to the end.
    pub fn wait(mut self) -> Answer {
        let mut text = String::new();
        let mut tokens = Vec::new();
        while let Some(event) = self.recv() {
            text.push_str(event.text());
            if let Event::Token { token, .. } = event {
                tokens.push(token);
            }
        }
        let completion = self.completion.clone().unwrap_or_else(|| self.without_completion());
        Answer { text, tokens, completion }
    }

    /// The last event of a stream whose lane is in another process: nothing comes any more. Asked before a
    /// wait, and not by [`try_recv`](Self::try_recv), which makes no system call.
    #[cold]
    fn ended_by_a_fork(&mut self) -> Option<Event> {
        let forked = self.control.birthplace().check().err()?;
        let reason = FinishReason::Failed(RequestError::Forked(forked));
        let completion = Completion { reason, ..self.without_completion() };
        self.completion = Some(completion.clone());
        Some(Event::Finished(completion))
    }

    /// Nothing to take and nothing ended.
    fn is_quiet(&self) -> bool {
        self.ring.is_empty() && !self.ring.is_abandoned()
    }

    /// For a lane that went without a word. Every end of a request sends a completion, so this is for
    /// what no code can answer for, such as a panic in a waker on the way there.
    fn without_completion(&self) -> Completion {
        Completion {
            request: self.request,
            agent: self.agent,
            generation: self.control.generation,
            reason: FinishReason::Failed(RequestError::LaneGone),
            usage: Usage { generated_tokens: self.generated, ..Usage::default() },
            timings: Timings { total: self.submitted.elapsed(), ..Timings::default() },
            blocks_freed: 0,
        }
    }
}

impl Iterator for Blocking<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.recv()
    }
}

/// The events of a stream; waits for each. See [`TokenStream::events`].
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, Request};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let mut stream = engine.submit(agent, Request::text("Why?"))?;
/// let text: String = stream.events().map(|event| event.text().to_owned()).collect();
/// assert_eq!(text, "Because.");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Blocking<'a>(&'a mut TokenStream);

impl TokenStream {
    /// The events up to the end, the completion included; waits for each as [`recv`](Self::recv) does.
    pub fn events(&mut self) -> Blocking<'_> {
        Blocking(self)
    }
}

impl Stream for TokenStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        for look in 0..2 {
            match self.try_recv() {
                Ok(event) => return Poll::Ready(Some(event)),
                Err(TryRecvError::Ended) => return Poll::Ready(None),
                Err(TryRecvError::Empty) if look == 0 => {
                    self.signals.reader.register(context.waker());
                }
                Err(TryRecvError::Empty) => {}
            }
        }
        match self.ended_by_a_fork() {
            Some(event) => Poll::Ready(Some(event)),
            None => Poll::Pending,
        }
    }
}

impl Drop for TokenStream {
    fn drop(&mut self) {
        // Known to have ended: the place may be another request's, and a cancel would find that out.
        if self.completion.is_none() {
            self.control.cancel(self.request);
        }
        // A waker's destructor is the host's code, and belongs on the host's thread: without this, whoever
        // lets go of the signals last would run it, which may be the lane.
        drop(self.signals.reader.take());
    }
}

impl fmt::Debug for TokenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStream")
            .field("request", &self.request)
            .field("agent", &self.agent)
            .field("waiting_events", &self.ring.slots())
            .field("completion", &self.completion)
            .finish_non_exhaustive()
    }
}
