//! Agents at work: each on a thread of its own, all through one engine and one pool.
//!
//! An agent submits, and reads its stream to the end. One that finds the pool exhausted waits for
//! another to end and tries again: the engine refuses at once, and how long to wait is the host's
//! affair.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use latchless::{AllocateError, BlockPool};
use latchless_engine::{
    AgentError, ChatMessage, Completion, Engine, Event, FinishReason, Request, Sampling,
    SubmitError, TokenStream,
};

use crate::error::DemoError;
use crate::interrupt::Interrupt;
use crate::prompts::Agent;

/// How often Ctrl-C is looked for while no agent has news.
const TICK: Duration = Duration::from_millis(100);

/// What all agents have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) max_tokens: u32,
    /// `None` is greedy.
    pub(crate) seed: Option<u32>,
    /// Whether the model has a chat template; without one a prompt is continued as text.
    pub(crate) chat: bool,
    /// What all of them are told before their own prompts.
    pub(crate) instructions: Option<&'static str>,
}

impl Manner {
    /// What the model is to answer, where it has a chat template.
    pub(crate) fn messages(&self, prompt: &str) -> Vec<ChatMessage> {
        let told = self.instructions.map(ChatMessage::system);
        told.into_iter().chain([ChatMessage::user(prompt)]).collect()
    }

    /// What the model is to continue, where it has none.
    pub(crate) fn text(&self, prompt: &str) -> String {
        self.instructions.map_or_else(|| prompt.to_owned(), |told| format!("{told}\n\n{prompt}"))
    }

    /// How the agent at `index` draws: each with a seed of its own.
    pub(crate) fn sampling(&self, index: usize) -> Sampling {
        self.seed
            .map_or_else(Sampling::greedy, |seed| Sampling::seeded(seed.wrapping_add(index as u32)))
    }

    fn request(&self, index: usize, agent: &Agent) -> Request {
        let request = if self.chat {
            Request::chat(self.messages(&agent.prompt))
        } else {
            Request::text(self.text(&agent.prompt))
        };
        request.max_tokens(self.max_tokens).sampling(self.sampling(index))
    }
}

/// What an agent tells while it works.
#[derive(Debug)]
pub(crate) enum News {
    /// The pool has no blocks for it now.
    Waits,
    /// Its request was accepted.
    Asked,
    /// Something was generated.
    Said {
        /// Tokens so far.
        tokens: u32,
        /// Text that became certain.
        text: String,
        /// Since the submit.
        elapsed: Duration,
    },
    /// It is done.
    Ended(Outcome),
}

/// Who looks on.
pub(crate) trait Watch {
    /// The agent at `index` has news.
    fn see(&mut self, index: usize, news: &News) -> std::io::Result<()>;

    /// Nobody had news for a moment.
    fn idle(&mut self) {}
}

/// Looks at nothing.
pub(crate) struct Nobody;

impl Watch for Nobody {
    fn see(&mut self, _index: usize, _news: &News) -> std::io::Result<()> {
        Ok(())
    }
}

/// What became of one agent's request.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    /// What the accepted submit took on the agent's thread.
    pub(crate) submit: Option<Duration>,
    pub(crate) end: Result<Completion, NotAsked>,
}

/// How a request counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Completed,
    Failed,
    Cancelled,
}

impl Outcome {
    pub(crate) fn fate(&self) -> Fate {
        match &self.end {
            Ok(completion) if completion.reason.is_success() => Fate::Completed,
            Ok(completion) if completion.reason == FinishReason::Cancelled => Fate::Cancelled,
            Err(NotAsked::Interrupted) => Fate::Cancelled,
            _ => Fate::Failed,
        }
    }
}

/// Why an agent has no completion.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAsked {
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Refused(#[from] SubmitError),
    #[error("cancelled")]
    Interrupted,
    #[error("its thread panicked")]
    Panicked,
}

/// What became of all of them.
#[derive(Debug)]
pub(crate) struct Round {
    /// One an agent, in their order.
    pub(crate) outcomes: Vec<Outcome>,
    /// From the first submit to the last end.
    pub(crate) wall: Duration,
    /// The most blocks that were taken at once.
    pub(crate) peak_blocks: u32,
    /// Blocks of the pool.
    pub(crate) total_blocks: u32,
    /// Blocks that are still taken when everybody is done.
    pub(crate) leaked_blocks: u32,
}

impl Round {
    /// Tokens of all prompts, and of these those that were not computed, because others had them.
    pub(crate) fn prompts(&self) -> (u64, u64) {
        let ends = self.outcomes.iter().filter_map(|outcome| outcome.end.as_ref().ok());
        ends.map(|completion| completion.usage).fold((0, 0), |(all, cached), usage| {
            (all + u64::from(usage.prompt_tokens), cached + u64::from(usage.cached_tokens))
        })
    }

    /// Tokens of all answers.
    pub(crate) fn generated(&self) -> u64 {
        let ends = self.outcomes.iter().filter_map(|outcome| outcome.end.as_ref().ok());
        ends.map(|completion| u64::from(completion.usage.generated_tokens)).sum()
    }
}

/// Lets agents wait until another one has ended.
#[derive(Default)]
struct Endings {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Endings {
    fn count(&self) -> u64 {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    fn wait_past(&self, seen: u64) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        // A poisoned count is still a count.
        drop(self.changed.wait_while(count, |count| *count == seen));
    }
}

/// Counts an agent's end, also when its thread panics.
struct Ending<'a>(&'a Endings);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.add();
    }
}

/// Everything that an agent's thread looks at.
struct Desk<'a> {
    engine: &'a Engine,
    manner: Manner,
    interrupt: &'a Interrupt,
    endings: Endings,
    peak: AtomicU32,
}

/// Sets all agents to work at once and waits until the last one is done. After Ctrl-C, or when the
/// watcher fails, what runs is cancelled and what waits is given up.
pub(crate) fn ask_all(
    engine: &Engine,
    agents: &[Agent],
    manner: Manner,
    interrupt: &Interrupt,
    watch: &mut dyn Watch,
) -> Result<Round, DemoError> {
    let pools = engine.pools();
    let desk =
        Desk { engine, manner, interrupt, endings: Endings::default(), peak: AtomicU32::new(0) };
    // A barrier would keep those that have started waiting for one that could not.
    let gate = RwLock::new(());
    let (sender, receiver) = mpsc::channel();
    let mut outcomes: Vec<Option<Outcome>> = agents.iter().map(|_| None).collect();
    let mut started = Instant::now();

    let watched = thread::scope(|scope| {
        let closed = gate.write();
        let mut threads = Vec::new();
        for (index, agent) in agents.iter().enumerate() {
            let (desk, gate, sender) = (&desk, &gate, sender.clone());
            let work = move || {
                let _ending = Ending(&desk.endings);
                drop(gate.read());
                let outcome = desk.answer(index, agent, &sender);
                // Nobody listens any more when the watcher failed.
                let _ = sender.send((index, News::Ended(outcome)));
            };
            let thread = thread::Builder::new().name(agent.name.clone());
            threads.push(thread.spawn_scoped(scope, work).map_err(|error| {
                interrupt.request();
                DemoError::Thread(error)
            })?);
        }
        drop(sender);
        started = Instant::now();
        drop(closed);

        let mut watched = Ok(());
        loop {
            match receiver.recv_timeout(TICK) {
                Ok((index, news)) => {
                    if watched.is_ok() {
                        watched = watch.see(index, &news).map_err(DemoError::Output);
                    }
                    if let News::Ended(outcome) = news {
                        outcomes[index] = Some(outcome);
                    }
                }
                Err(RecvTimeoutError::Timeout) => watch.idle(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if interrupt.is_requested() || watched.is_err() {
                interrupt.request();
                desk.give_up();
            }
        }
        // Joined here, so that a panic is that agent's outcome and not ours.
        for thread in threads {
            let _ = thread.join();
        }
        watched
    });
    let wall = started.elapsed();
    watched?;

    // A model that replaced the one of the beginning has pools of its own.
    let mut others = engine.pools();
    others.retain(|pool| pools.iter().all(|known| !Arc::ptr_eq(pool, known)));
    let panicked = || Outcome { text: String::new(), submit: None, end: Err(NotAsked::Panicked) };
    Ok(Round {
        outcomes: outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(panicked)).collect(),
        wall,
        peak_blocks: desk.peak.into_inner(),
        total_blocks: pools.iter().map(|pool| pool.usage().total).sum(),
        leaked_blocks: used(&pools) + used(&others),
    })
}

/// Blocks that are taken in all of them.
fn used(pools: &[Arc<BlockPool>]) -> u32 {
    pools.iter().map(|pool| pool.usage().used).sum()
}

impl Desk<'_> {
    /// One agent's work, from its name to the end of its answer.
    fn answer(&self, index: usize, agent: &Agent, news: &Sender<(usize, News)>) -> Outcome {
        let mut outcome =
            Outcome { text: String::new(), submit: None, end: Err(NotAsked::Interrupted) };
        // Sending fails when nobody listens any more; then there is nobody to tell that, either.
        let tell = |what| drop(news.send((index, what)));
        let (mut stream, submitted) = match self.submit(index, agent, tell) {
            Ok((stream, submit)) => {
                outcome.submit = Some(submit);
                (stream, Instant::now().checked_sub(submit))
            }
            Err(error) => {
                outcome.end = Err(error);
                return outcome;
            }
        };
        // Blocks are only taken by submits, so the most are in use right after one.
        self.peak.fetch_max(used(&self.engine.pools()), Ordering::Relaxed);
        tell(News::Asked);

        let mut tokens = 0;
        for event in stream.events() {
            outcome.text.push_str(event.text());
            match event {
                Event::Finished(completion) => {
                    // A request can be over before the look above.
                    self.peak.fetch_max(completion.blocks_freed, Ordering::Relaxed);
                    outcome.end = Ok(completion);
                }
                event => {
                    tokens += u32::from(matches!(event, Event::Token { .. }));
                    let elapsed = submitted.map_or(Duration::ZERO, |at| at.elapsed());
                    tell(News::Said { tokens, text: event.text().to_owned(), elapsed });
                }
            }
        }
        outcome
    }

    /// Submits, as often as it takes. Returns what the accepted submit took.
    fn submit(
        &self,
        index: usize,
        agent: &Agent,
        tell: impl Fn(News),
    ) -> Result<(TokenStream, Duration), NotAsked> {
        let handle = self.engine.agent(&agent.name)?;
        loop {
            if self.interrupt.is_requested() {
                return Err(NotAsked::Interrupted);
            }
            // Before the submit: who ends after it may have had the blocks that it lacked.
            let seen = self.endings.count();
            let request = self.manner.request(index, agent);
            let before = Instant::now();
            match self.engine.submit(handle, request) {
                Ok(stream) => return Ok((stream, before.elapsed())),
                Err(SubmitError::Blocks(AllocateError::Exhausted { requested, total, .. }))
                    if requested <= total =>
                {
                    tell(News::Waits);
                    self.endings.wait_past(seen);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Cancels what runs and wakes what waits.
    fn give_up(&self) {
        for request in self.engine.pending() {
            self.engine.cancel(request);
        }
        self.endings.add();
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use latchless_engine::EngineConfig;
    use latchless_engine::backend::scripted::{Script, ScriptedBackend};

    use super::*;

    const MANNER: Manner = Manner { max_tokens: 16, seed: None, chat: false, instructions: None };

    fn agents(count: usize) -> Vec<Agent> {
        let agent = |index| Agent { name: format!("agent {index}"), prompt: "Why?".to_owned() };
        (1..=count).map(agent).collect()
    }

    fn engine(script: Script, config: EngineConfig) -> Engine {
        Engine::start(ScriptedBackend::builder(script).build(), config).unwrap()
    }

    #[test]
    fn everybody_is_answered_and_nothing_is_kept() {
        let engine = engine(Script::Text("Because.".into()), EngineConfig::default());
        let agents = agents(20);
        let round = ask_all(&engine, &agents, MANNER, &Interrupt::default(), &mut Nobody).unwrap();
        assert_eq!(round.outcomes.len(), 20);
        for outcome in &round.outcomes {
            assert_eq!(outcome.fate(), Fate::Completed);
            assert_eq!(outcome.text, "Because.");
            assert!(outcome.submit.is_some());
        }
        assert_eq!(round.generated(), 20 * 8);
        assert_eq!(round.leaked_blocks, 0);
        assert!(round.peak_blocks > 0 && round.peak_blocks <= round.total_blocks);
    }

    /// Blocks for one request: the others wait for it, one after the other.
    #[test]
    fn who_finds_no_blocks_waits_for_another_to_end() {
        let one = {
            let engine = engine(Script::Text("x".into()), EngineConfig::default());
            let round = ask_all(&engine, &agents(1), MANNER, &Interrupt::default(), &mut Nobody);
            round.unwrap().peak_blocks
        };
        let engine = engine(Script::Text("Because.".into()), EngineConfig::default().blocks(one));
        let agents = agents(8);
        let round = ask_all(&engine, &agents, MANNER, &Interrupt::default(), &mut Nobody).unwrap();
        assert_eq!(round.generated(), 8 * 8);
        assert_eq!((round.peak_blocks, round.total_blocks, round.leaked_blocks), (one, one, 0));
    }

    /// Presses Ctrl-C at the first word; fails if it is to.
    struct Impatient {
        interrupt: Interrupt,
        fail: bool,
    }

    impl Watch for Impatient {
        fn see(&mut self, _index: usize, news: &News) -> io::Result<()> {
            if matches!(news, News::Said { .. }) {
                self.interrupt.request();
                if self.fail {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
            Ok(())
        }
    }

    #[test]
    fn ctrl_c_cancels_what_runs_and_what_waits() {
        let endless = Script::Endless("on and ".into());
        let two = {
            let engine = engine(Script::Text("x".into()), EngineConfig::default());
            2 * u32::try_from(engine.model().spec().blocks_for(1_000)).unwrap()
        };
        let engine = engine(endless, EngineConfig::default().blocks(two));
        let (interrupt, manner) = (Interrupt::default(), Manner { max_tokens: 900, ..MANNER });
        let mut watch = Impatient { interrupt: interrupt.clone(), fail: false };
        let round = ask_all(&engine, &agents(8), manner, &interrupt, &mut watch).unwrap();
        assert_eq!((round.outcomes.len(), round.leaked_blocks), (8, 0));
        let cancelled = |outcome: &Outcome| outcome.fate() == Fate::Cancelled;
        assert!(round.outcomes.iter().any(cancelled));
    }

    #[test]
    fn an_output_that_is_gone_ends_everybody() {
        let engine = engine(Script::Endless("on and ".into()), EngineConfig::default());
        let (interrupt, manner) = (Interrupt::default(), Manner { max_tokens: 900, ..MANNER });
        let mut watch = Impatient { interrupt: interrupt.clone(), fail: true };
        let error = ask_all(&engine, &agents(2), manner, &interrupt, &mut watch).unwrap_err();
        assert!(error.is_closed_pipe());
        assert_eq!(engine.pool().usage().used, 0);
    }
}
