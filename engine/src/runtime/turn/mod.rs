//! One agent's turn: from a claim to the end of its task, or to the claim's return.
//!
//! ```text
//! claim ─ slot ─ plan context ─► ASSISTANT ─► TOOL_EXECUTION ─► RESPONSE ─► finish (one write)
//!                                    ▲  submit, stream  calls, changes  │
//!                                    └───────────── next round ─────────┘
//! ```
//!
//! Whatever happens, and at whatever instant, everything is given back: the claim ([`Claimed`] returns it
//! unless the task has ended), the slot, the request's blocks and sequence (the stream's drop cancels it), the
//! state (the next turn can begin). All of it is done by `Drop`, so a panic of a tool's host, a watcher or
//! this code itself is no exception.
//!
//! Until its end a turn changes nothing that others see. Its calls and changes are recorded in a
//! [`PlanContext`] of its own; the end seals it, and stores what is in it together with the documents, the
//! output and the task's status: one write, fenced by the claim. So a turn that is killed, or whose claim was
//! taken back, leaves nothing, and of all attempts at a task one leaves its work, once.

mod ask;
mod claimed;
mod conversation;
mod manner;
mod process;
mod watch;

use std::fmt;
use std::sync::Arc;

use latchless::{AgentState, PlanContext, TooManyChangesets, TransitionRefused};
use thiserror::Error;

pub use self::claimed::Claimed;
pub use self::manner::{Guide, Manner, StepError};
pub use self::process::Program;
pub use self::watch::{Happening, Nobody, Watch};

use self::conversation::Conversation;
use super::agent::Agent;
use super::cancel::CancelReason;
use super::documents::Documents;
use super::protocol::Reply;
use super::spawner::{AgentSlot, Exit, SpawnError};
use super::tools::{self, Asked, Ended, Running, ToolError};
use crate::engine::{AgentError, Engine, RequestError, SubmitError};
use crate::store::{Change, ChangesetId, Durability, Finish, Store, StoreError, ToolCall};

/// Why a turn did not come to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TurnError {
    /// Somebody ended it.
    #[error("the turn ended early: {0}")]
    Cancelled(CancelReason),
    /// A tool's user does not want to go on.
    #[error("the user ended it: {0}")]
    Aborted(String),
    /// As many rounds as a turn may have, and the task is not done.
    #[error(
        "after {rounds} rounds the task is not said to be done; allow more, or make it smaller"
    )]
    Rounds {
        /// Rounds.
        rounds: u32,
    },
    /// The agent cannot be one of the engine's.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The engine did not take the request.
    #[error("the engine refused the request: {0}")]
    Submit(#[from] SubmitError),
    /// The engine took the request, and it failed.
    #[error("the request failed: {0}")]
    Request(#[from] RequestError),
    /// The engine was shut down.
    #[error("the engine was shut down; start it again")]
    Shutdown,
    /// The program was not started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The program did not end well.
    #[error("{exit}{}{last}", if last.is_empty() { "" } else { "; its last words: " })]
    Program {
        /// How it ended.
        exit: Exit,
        /// What it last put out.
        last: String,
    },
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A step that the plan prescribes cannot be taken.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The agent's state was changed by somebody else.
    #[error("another turn of the same agent is under way: {0}")]
    State(#[from] TransitionRefused),
    /// The turn's plan context is full.
    #[error(transparent)]
    Changesets(#[from] TooManyChangesets),
}

impl TurnError {
    /// Whether another attempt would come to the same: the task is given up at once.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Aborted(_) | Self::Step(_) | Self::Agent(AgentError::Name(_)) => true,
            Self::Submit(error) => !matches!(
                error,
                SubmitError::Blocks(_)
                    | SubmitError::TooManyRequests { .. }
                    | SubmitError::Draining
                    | SubmitError::Closed
            ),
            _ => false,
        }
    }

    /// Whether the turn was interrupted, which says nothing against the task.
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Cancelled(reason) => {
                !matches!(reason, CancelReason::TimeLimit | CancelReason::Silent)
            }
            Self::Shutdown => true,
            _ => false,
        }
    }
}

/// What a turn has come to.
#[derive(Debug)]
pub struct Done {
    /// What it says is the result.
    pub result: String,
    /// Rounds that it took; 0 for a program.
    pub rounds: u32,
    /// Its changeset, which is sealed.
    pub changeset: ChangesetId,
}

/// What was recorded in a turn.
#[derive(Debug)]
enum Entry {
    Call(ToolCall),
    Change(Change),
}

/// Everything that a turn works with.
pub struct Turn<'a> {
    /// The agent.
    pub agent: &'a Agent,
    /// Its slot, which says when it is to end.
    pub slot: &'a Arc<AgentSlot>,
    /// The store.
    pub store: &'a Arc<dyn Store>,
    /// Who looks on.
    pub watch: &'a dyn Watch,
}

impl fmt::Debug for Turn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("agent", &self.agent)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

impl Turn<'_> {
    /// Lets a model do the task.
    ///
    /// # Errors
    /// [`TurnError`]: the claim is still there, for [`Claimed::give_up`] or to be dropped.
    pub fn ask(
        &self,
        engine: &Engine,
        claimed: &mut Claimed,
        manner: &Manner,
    ) -> Result<Done, TurnError> {
        let at_work = self.begin(claimed)?;
        let recorded = PlanContext::new();
        recorded.start()?;
        let worked = match manner.check() {
            Ok(()) => self.rounds(engine, claimed, manner, &recorded),
            Err(error) => Err(error.into()),
        };
        let (result, rounds, documents) = match worked {
            Ok(worked) => worked,
            Err(error) if error.is_final() => {
                // What it did goes with the reason: the calls say how it came to that.
                self.end(claimed, &recorded, None, Err(error.to_string()))?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let changeset = self.end(claimed, &recorded, Some(documents), Ok(result.clone()))?;
        drop(at_work);
        self.watch.see(self.agent, &Happening::Finished(&result));
        Ok(Done { result, rounds, changeset })
    }

    /// Begins to work at what was claimed.
    fn begin(&self, claimed: &Claimed) -> Result<super::agent::AtWork<'_>, TurnError> {
        let claim = claimed.claim();
        let at_work = self.agent.begin(&claim.key);
        self.watch.see(self.agent, &Happening::Claimed(claim));
        self.store.start(claim, Durability::Relaxed)?;
        self.watch.see(self.agent, &Happening::Begun);
        Ok(at_work)
    }

    /// Round after round until the task is done: its result, rounds, and what it does to documents.
    fn rounds(
        &self,
        engine: &Engine,
        claimed: &Claimed,
        manner: &Manner,
        recorded: &PlanContext<Entry>,
    ) -> Result<(String, u32, Documents), TurnError> {
        let claim = claimed.claim();
        let handle = engine.agent(self.agent.name())?;
        let mut documents = Documents::new(Arc::clone(self.store), claim, self.agent.name());
        let mut conversation = Conversation::begin(engine, manner, &claim.description);
        let state = self.agent.machine();
        let mut answers = String::new();
        for round in 1..=manner.rounds {
            state.transition(AgentState::Assistant)?;
            let request = manner.request(conversation.prompt(), round, &documents)?;
            let text = self.answer(engine, handle, &request)?;
            let reply = Reply::parse(&text);
            self.watch.see(self.agent, &Happening::Replied(&text));
            let mut ended = Vec::new();
            if !reply.calls.is_empty() {
                state.transition(AgentState::ToolExecution)?;
                ended = self.call(reply.calls.clone(), manner, &mut documents, recorded)?;
            }
            self.go_on()?;
            if let Some(result) = reply.completion.filter(|_| ended.is_empty()) {
                state.set_completion(true);
                state.transition(AgentState::Response)?;
                self.watch.see(self.agent, &Happening::Responded);
                // A mark that stands alone: the result is what the last calls have answered.
                let result = if result.is_empty() { answers } else { result };
                return Ok((result, round, documents));
            }
            state.transition(AgentState::Response)?;
            self.watch.see(self.agent, &Happening::Responded);
            let answered = ended.iter().filter_map(|ended| ended.result.as_deref().ok());
            answers = answered.collect::<Vec<_>>().join("\n");
            conversation.go_on(&text, &ended, manner);
        }
        Err(TurnError::Rounds { rounds: manner.rounds })
    }

    /// Runs the calls of a reply, and records them and what they changed.
    fn call(
        &self,
        calls: Vec<Asked>,
        manner: &Manner,
        documents: &mut Documents,
        recorded: &PlanContext<Entry>,
    ) -> Result<Vec<Ended>, TurnError> {
        let cancel = self.slot.cancel();
        let alive = || {
            self.slot.beat();
        };
        let running = Running { tools: &manner.tools, cancel, alive: &alive };
        let ended = tools::run(calls, &running, documents);
        // Nobody else records here, and nobody has sealed it.
        let record = |entry| drop(recorded.record(entry));
        for Ended { asked, result } in &ended {
            let (tool, arguments) = (asked.tool.clone(), asked.argument.clone());
            let result = result.as_ref().cloned().map_err(ToString::to_string);
            record(Entry::Call(ToolCall { tool, arguments, result }));
        }
        for change in documents.take_changes() {
            record(Entry::Change(change));
        }
        self.watch.see(self.agent, &Happening::Called(&ended));
        let aborted = ended.iter().find_map(|ended| match &ended.result {
            Err(ToolError::Aborted(reason)) => Some(reason.clone()),
            _ => None,
        });
        aborted.map_or(Ok(ended), |reason| Err(TurnError::Aborted(reason)))
    }

    /// Refuses to go on when the turn is to end.
    fn go_on(&self) -> Result<(), TurnError> {
        self.slot.beat();
        self.slot.cancel().reason().map_or(Ok(()), |reason| Err(TurnError::Cancelled(reason)))
    }

    /// Seals what was recorded, and stores it with the end of the task.
    fn end(
        &self,
        claimed: &mut Claimed,
        recorded: &PlanContext<Entry>,
        documents: Option<Documents>,
        outcome: Result<String, String>,
    ) -> Result<ChangesetId, TurnError> {
        let output = outcome.as_ref().ok().filter(|result| !result.is_empty()).cloned();
        let title = format!("{}, attempt {}", claimed.claim().key, claimed.claim().attempt);
        let mut finish = Finish { title, output, ..Finish::new(outcome) };
        let sealed = recorded.newest().and_then(|newest| recorded.seal(newest).ok());
        for entry in sealed.into_iter().flatten() {
            match entry {
                Entry::Call(call) => finish.tool_calls.push(call),
                // What was written is dropped when the task is given up, and so is what is said of it.
                Entry::Change(change) if documents.is_some() => finish.changes.push(change),
                Entry::Change(_) => {}
            }
        }
        finish.documents = documents.map_or_else(Vec::new, Documents::into_edits);
        self.watch.see(self.agent, &Happening::Recorded(&finish));
        Ok(claimed.finish(&finish)?)
    }
}

#[cfg(test)]
mod tests;
