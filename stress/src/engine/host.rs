//! A host's thread: submits, reads, cancels and goes, and knows what each answer must be.

use std::fs;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_core::Stream;
use latchless::{AgentHandle, AgentId, AllocateError, RequestId};
use latchless_engine::{
    EngineError, Event, FinishReason, Priority, Request, RequestError, SubmitError, SwapError,
    TokenStream, TryRecvError,
};

use super::fleet::Fleet;
use super::phases::{Action, max_tokens, most_held};
use super::talk::Talk;
use super::{AGENTS, COLUMNS, Came, Served, Timed};
use crate::crew::roll::Present;
use crate::failure::Failure;
use crate::fault::Fault;
use crate::panics::{self, Panics};
use crate::phase::Phase;
use crate::stop::Stop;
use crate::tally::{Counts, unfrozen};
use crate::violation::Violation;

/// Decisions between two contributions to the tally.
const TALLY_EVERY: u64 = 16;
/// Of so many requests, one has a slow reader by itself.
const SLOW: u32 = 8;
/// How long a reader that waits sleeps.
const NAP: Duration = Duration::from_micros(20);

/// A request, and what was read of it.
struct Asked {
    question: usize,
    /// Which of the thread's agents has asked.
    agent: usize,
    stream: TokenStream,
    text: String,
    max_tokens: u32,
    is_slow: bool,
    has_deadline: bool,
    was_cancelled: bool,
}

impl Asked {
    /// Takes what is there, or, as a slow reader, no more than one event; `true` when that was the end.
    fn take(&mut self) -> bool {
        if self.is_slow { self.take_one().unwrap_or(false) } else { self.take_all() }
    }

    fn take_all(&mut self) -> bool {
        loop {
            match self.take_one() {
                Some(true) => return true,
                Some(false) => {}
                None => return false,
            }
        }
    }

    /// Takes an event, if there is one; `true` for the end.
    fn take_one(&mut self) -> Option<bool> {
        match self.stream.try_recv() {
            Ok(Event::Finished(_)) | Err(TryRecvError::Ended) => Some(true),
            Ok(event) => {
                self.text.push_str(event.text());
                Some(false)
            }
            Err(TryRecvError::Empty) => None,
        }
    }

    /// Takes what is there as an executor does, and leaves a waker for what is not; `true` for the end.
    fn poll(&mut self, waker: &Waker) -> bool {
        let mut executor = Context::from_waker(waker);
        loop {
            // A wake-up that comes while the waker is being left is made up for right here.
            let polled = panics::catch(|| Pin::new(&mut self.stream).poll_next(&mut executor));
            match polled {
                Some(Poll::Ready(Some(Event::Finished(_)) | None)) => return true,
                Some(Poll::Ready(Some(event))) => self.text.push_str(event.text()),
                Some(Poll::Pending) | None => return false,
            }
        }
    }
}

/// One thread's state in a round.
pub(super) struct Host<'a, F: Fleet> {
    served: &'a Served<F>,
    stop: &'a Stop,
    present: &'a Present<'a>,
    phase: Phase,
    agents: Vec<AgentHandle>,
    asked: Vec<Asked>,
    /// A request that may have ended.
    last: Option<RequestId>,
    /// Says whose readers are slow.
    readers: Rng,
    counts: Counts,
}

impl<'a, F: Fleet> Host<'a, F> {
    pub(super) fn new(
        served: &'a Served<F>,
        stop: &'a Stop,
        present: &'a Present<'a>,
        phase: Phase,
        readers: Rng,
    ) -> Result<Self, Violation> {
        // Each thread has some agents for itself: an agent's requests follow each other.
        let agents = (0..AGENTS).map(|agent| served.engine.agent(&name(present.thread, agent)));
        let agents = agents.collect::<Result<_, _>>();
        let agents =
            agents.map_err(|error| Violation::answer("there is room for agents", error))?;
        let counts = Counts::new(&COLUMNS);
        let (asked, last) = (Vec::new(), None);
        Ok(Self { served, stop, present, phase, agents, asked, last, readers, counts })
    }

    /// Carries out `operations` decisions, or as many as come before the stop, and reads every stream to
    /// its end.
    pub(super) fn run(&mut self, rng: &mut Rng, operations: u64) -> Result<(), Violation> {
        for done in 1..=operations {
            if self.stop.is_stopped() {
                break;
            }
            self.present.beat();
            let action = self.served.deck.draw(self.phase, rng);
            self.counts.actions[action as usize] += 1;
            self.carry_out(action, rng)?;
            if done % TALLY_EVERY == 0 {
                self.served.tally.offer(&mut self.counts);
            }
        }
        while !self.asked.is_empty() {
            self.finish(0)?;
        }
        self.served.tally.collect(&mut self.counts);
        Ok(())
    }

    fn carry_out(&mut self, action: Action, rng: &mut Rng) -> Result<(), Violation> {
        let pick = rng.usize(..).checked_rem(self.asked.len());
        match (action, pick) {
            (Action::Submit, Some(oldest)) if self.asked.len() >= most_held(self.phase) => {
                self.read(oldest).map(drop)
            }
            (Action::Submit, _) => self.submit(rng),
            (Action::BadRequest, _) => self.bad_request(rng),
            (Action::Swap, _) => self.swap(rng),
            (Action::FailedLoad, _) => self.failed_load(),
            (Action::Leave, _) => self.leave(rng),
            (Action::Spoil, _) => {
                self.spoil(rng);
                Ok(())
            }
            (Action::CancelById, _) => {
                if let Some(request) = self.last {
                    let asked = self.asked.iter_mut().find(|one| one.stream.id() == request);
                    if let Some(asked) = asked {
                        asked.was_cancelled = true;
                    }
                    self.timed(Timed::Cancel, |this| this.served.engine.cancel(request));
                }
                Ok(())
            }
            (_, None) => Ok(()),
            (Action::Read, Some(at)) => self.read(at).map(drop),
            (Action::Finish, Some(at)) => self.finish(at),
            (Action::PanickingWaker, Some(at)) => self.finish_with_panics(at),
            (Action::Cancel, Some(at)) => {
                self.asked[at].was_cancelled = true;
                self.timed(Timed::Cancel, |this| this.asked[at].stream.cancel());
                Ok(())
            }
            (Action::Vanish, Some(at)) => {
                drop(self.asked.swap_remove(at));
                self.count(Came::Vanished);
                Ok(())
            }
        }
    }

    fn submit(&mut self, rng: &mut Rng) -> Result<(), Violation> {
        let question = Talk::question(self.phase, rng);
        let max_tokens = max_tokens(self.phase, rng);
        let priority = [Priority::Low, Priority::Normal, Priority::High][rng.usize(0..3)];
        let prompt = self.served.talk.prompt(question);
        let mut request = Request::text(prompt).max_tokens(max_tokens).priority(priority);
        let has_deadline = rng.u8(0..16) == 0;
        if has_deadline {
            request = request
                .deadline(Instant::now() + self.served.fleet.longest_deadline().mul_f64(rng.f64()));
        }
        let agent = rng.usize(0..AGENTS);
        let handle = self.agents[agent];
        let submitted =
            self.timed(Timed::Submit, |this| this.served.engine.submit(handle, request));
        match submitted {
            Ok(stream) => {
                self.last = Some(stream.id());
                let comes = self.readers.u32(0..SLOW) == 0;
                let rates = &self.served.rates;
                let of = 1.0 / f64::from(SLOW);
                let is_slow = rates.strikes(Fault::SlowReader, comes, of, &mut self.readers);
                let text = String::new();
                self.asked.push(Asked {
                    question,
                    agent,
                    stream,
                    text,
                    max_tokens,
                    is_slow,
                    has_deadline,
                    was_cancelled: false,
                });
                self.count(Came::Submitted);
                if is_slow {
                    self.count(Came::Slow);
                }
                Ok(())
            }
            Err(
                SubmitError::Blocks(AllocateError::Exhausted { .. })
                | SubmitError::TooManyRequests { .. }
                | SubmitError::PromptTooLong { .. },
            ) => {
                self.count(Came::Refused);
                // Room comes from what ends.
                if self.asked.is_empty() { Ok(()) } else { self.finish(0) }
            }
            Err(error) => Err(Violation::answer("a request that is right", error)),
        }
    }

    /// Reads what is there; `true` when that was the end.
    fn read(&mut self, at: usize) -> Result<bool, Violation> {
        self.read_by(at, Asked::take)
    }

    fn read_by(
        &mut self,
        at: usize,
        take: impl FnOnce(&mut Asked) -> bool,
    ) -> Result<bool, Violation> {
        if !take(&mut self.asked[at]) {
            return Ok(false);
        }
        let asked = self.asked.swap_remove(at);
        self.judge(&asked)?;
        Ok(true)
    }

    fn finish(&mut self, at: usize) -> Result<(), Violation> {
        self.finish_by(at, Asked::take)
    }

    /// Reads a stream to its end and panics, on the lane's thread, whenever there is something to read. It harms
    /// nobody, this stream neither.
    fn finish_with_panics(&mut self, at: usize) -> Result<(), Violation> {
        let panics = Arc::new(Panics::default());
        let waker = Waker::from(Arc::clone(&panics));
        self.finish_by(at, |asked| asked.poll(&waker))?;
        self.counts.outcomes[Came::Panicked as usize] += panics.count();
        Ok(())
    }

    fn finish_by(&mut self, at: usize, take: impl Fn(&mut Asked) -> bool) -> Result<(), Violation> {
        // It beats no more until the end has come: a stream that never ends is a stall.
        while !self.read_by(at, &take)? {
            if self.served.faults {
                // A backend that can neither park a request nor clear a sequence leaves a reader that is behind
                // what it has, and the others nothing.
                for one in &mut self.asked {
                    one.take_all();
                }
            }
            thread::sleep(NAP);
        }
        self.present.beat();
        Ok(())
    }

    /// Whether an answer is what it must be.
    fn judge(&mut self, asked: &Asked) -> Result<(), Violation> {
        let Asked { question, stream, text, max_tokens, .. } = asked;
        let whole = self.served.talk.answer(*question);
        let wrong = |what| Violation::answer(what, (stream.completion(), text, whole));
        let Some(completion) = stream.completion() else {
            return Err(wrong("a stream ends with a completion"));
        };
        if whole.is_some_and(|whole| !whole.starts_with(text.as_str())) {
            return Err(wrong("an answer"));
        }
        if let Some(first) = completion.timings.first_token {
            self.counts.record(Timed::FirstToken as usize, Some(first));
        }
        let tokens = u64::from(completion.usage.generated_tokens);
        self.counts.outcomes[Came::Tokens as usize] += tokens;
        let resumed = u64::from(completion.usage.resumed_tokens);
        self.counts.outcomes[Came::Resumed as usize] += resumed;
        match &completion.reason {
            FinishReason::EndOfGeneration if whole.is_none_or(|whole| text == whole) => {
                self.count(Came::Completed);
            }
            FinishReason::Length
                if tokens == u64::from(*max_tokens)
                    && whole.is_none_or(|_| text.len() as u64 == tokens) =>
            {
                self.count(Came::Completed);
            }
            FinishReason::Cancelled if asked.was_cancelled => self.count(Came::Cancelled),
            FinishReason::Deadline if asked.has_deadline => self.count(Came::Late),
            FinishReason::Failed(RequestError::LaneGone) => {
                return Err(wrong("no lane goes before its requests"));
            }
            FinishReason::Failed(_) if !self.served.is_sound(completion.generation) => {
                self.count(Came::Failed);
            }
            _ => return Err(wrong("how a request ended")),
        }
        Ok(())
    }

    fn bad_request(&mut self, rng: &mut Rng) -> Result<(), Violation> {
        let agent = self.agents[0];
        let (request, right): (_, fn(&SubmitError) -> bool) = match rng.u8(0..4) {
            0 => (Request::text(""), |error| matches!(error, SubmitError::EmptyPrompt)),
            1 => (Request::text("?").max_tokens(0), |error| {
                matches!(error, SubmitError::ZeroMaxTokens)
            }),
            2 => (Request::text("?").stop(""), |error| {
                matches!(error, SubmitError::EmptyStop { .. })
            }),
            _ => (Request::text("long ".repeat(20_000)), |error| {
                matches!(error, SubmitError::PromptTooLong { .. })
            }),
        };
        match self.served.engine.submit(agent, request) {
            Err(error) if right(&error) => Ok(()),
            other => Err(Violation::answer("a request that is wrong", other.map(|s| s.id()))),
        }
    }

    fn swap(&mut self, rng: &mut Rng) -> Result<(), Violation> {
        let made = self.served.fleet.make(rng);
        let made = made.map_err(|error| Violation::answer("backends", error))?;
        // Known before anything of it can be answered.
        let mut generations = self.served.generations();
        match self.served.engine.swap_stepped(made.backends) {
            Ok((_, lanes)) => {
                generations.push(made.is_sound);
                self.served.garage.park(lanes);
                self.count(Came::Swapped);
                Ok(())
            }
            // What was replaced last has not ended.
            Err(SwapError::Draining(_) | SwapError::Swapping) => Ok(()),
            Err(SwapError::Engine(EngineError::Thread(error))) => {
                self.stop.failed(Failure::thread(error));
                Ok(())
            }
            Err(error) => Err(Violation::answer("a swap", error.to_string())),
        }
    }

    fn failed_load(&mut self) -> Result<(), Violation> {
        let before = self.served.engine.generation();
        match self.served.engine.swap(|| self.served.fleet.fail_to_load()) {
            Err(SwapError::Load(_)) => self.count(Came::FailedLoad),
            Err(SwapError::Draining(_) | SwapError::Swapping) => {}
            other => {
                let found = other.map_err(|error| error.to_string());
                return Err(Violation::answer("a model that cannot be loaded", found));
            }
        }
        let now = self.served.engine.generation();
        if now >= before { Ok(()) } else { Err(Violation::answer("a generation", (before, now))) }
    }

    /// The agent leaves, also when requests of it still run whose readers have gone. Those that are read are
    /// read to their ends first: what becomes of them when their blocks are another's, nobody says.
    fn leave(&mut self, rng: &mut Rng) -> Result<(), Violation> {
        let place = rng.usize(0..AGENTS);
        while let Some(at) = self.asked.iter().position(|asked| asked.agent == place) {
            self.finish(at)?;
        }
        let name = name(self.present.thread, place);
        let gone =
            AgentId::new(name.as_str()).map(|id| self.served.engine.directory().unregister(&id));
        if !matches!(gone, Ok(Some(_))) {
            return Err(Violation::answer("an agent that was there leaves", gone));
        }
        let back = self.served.engine.agent(&name);
        self.agents[place] =
            back.map_err(|error| Violation::answer("an agent comes back", error))?;
        self.count(Came::Left);
        Ok(())
    }

    /// Whatever the files are, no request may see it.
    fn spoil(&mut self, rng: &mut Rng) {
        if !self.served.faults {
            return;
        }
        let Ok(folder) = fs::read_dir(self.served.cache.path()) else { return };
        let files: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
        let Some(file) = rng.choice(&files) else { return };
        // It may have gone meanwhile, which is as good.
        let spoilt = match rng.u8(0..3) {
            0 => fs::remove_file(file),
            // Only while it is there: a file that made room must not come back.
            1 => fs::OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(file)
                .and_then(|mut file| file.write_all(b"not what was here")),
            _ => fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(100)),
        };
        if spoilt.is_ok() {
            self.count(Came::Spoilt);
        }
    }

    fn count(&mut self, came: Came) {
        self.counts.outcomes[came as usize] += 1;
    }

    /// Times an operation.
    fn timed<R>(&mut self, timed: Timed, operation: impl FnOnce(&mut Self) -> R) -> R {
        let (result, time) = unfrozen(|| operation(self));
        self.counts.record(timed as usize, time);
        result
    }
}

/// The name of a thread's agent.
fn name(thread: u16, agent: usize) -> String {
    format!("host-{thread}-{agent}")
}
