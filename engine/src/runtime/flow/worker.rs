//! What an agent's thread does: a slot, a claim, a turn, and again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{FlowError, Run, Work};
use crate::engine::SubmitError;
use crate::runtime::agent::Agent;
use crate::runtime::cancel::CancelReason;
use crate::runtime::spawner::AgentSlot;
use crate::runtime::tools::panic_message;
use crate::runtime::turn::{Claimed, Done, Happening, Turn, TurnError};
use crate::store::{Claim, Durability, StoreError, TaskId};

/// The longest that a worker waits before it looks again whether the flow is over, or a lease has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How a turn ended.
enum Turned {
    Finished,
    /// It failed, and this is what it said.
    Failed(String),
    /// It was interrupted: the task is as good as before.
    Interrupted,
    /// There is no engine any more.
    EngineClosed,
}

impl Run<'_> {
    /// Works until nothing is left to be done.
    pub(super) fn work(&self, agent: &Arc<Agent>, work: &Work) -> Result<(), FlowError> {
        let store = &self.flow.store;
        let label = format!("{}{}{}", agent.name(), super::presence::MARK, self.suffix);
        while !self.is_over() {
            let seen = store.work_seen()?;
            // The slot first: a task that is claimed without one would wait for nobody.
            let slot = self.flow.spawner.reserve(agent.name(), self.cancel);
            let claim = match &slot {
                Ok(_) => store.claim_in(
                    self.plan,
                    &label,
                    agent.kind(),
                    self.pulse.lease(),
                    Durability::Durable,
                )?,
                Err(_) => None,
            };
            let Some((claim, slot)) = claim.zip(slot.ok()) else {
                let left = store.task_counts(Some(self.plan))?;
                if left.pending + left.assigned + left.in_progress == 0 {
                    break;
                }
                store.wait_for_work(seen, LOOK_AGAIN)?;
                continue;
            };
            self.claimed(agent, &claim);
            let mut claimed = Claimed::new(Arc::clone(store), claim);
            let task = claimed.claim().task;
            let turned = self.turn(agent, work, &mut claimed, &Arc::new(slot));
            let failure = match turned {
                Turned::Finished => {
                    self.count(0);
                    continue;
                }
                Turned::Interrupted => {
                    self.count(1);
                    continue;
                }
                Turned::EngineClosed => return Err(FlowError::EngineClosed),
                Turned::Failed(reason) => reason,
            };
            self.count(1);
            self.failed(task, &failure, agent, claimed)?;
        }
        Ok(())
    }

    /// One turn, with all that it holds: given back when this returns, but for the claim.
    fn turn(
        &self,
        agent: &Agent,
        work: &Work,
        claimed: &mut Claimed,
        slot: &Arc<AgentSlot>,
    ) -> Turned {
        let _renewed = self.pulse.register(claimed.claim().clone(), Arc::clone(slot));
        let turn = Turn { agent, slot, store: &self.flow.store, watch: self.watch };
        // Unwind safety: what a turn leaves half done is in its own hands and dropped, and the agent's state
        // is put where the next turn can begin.
        let worked = catch_unwind(AssertUnwindSafe(|| self.attempt(&turn, work, claimed)));
        match worked {
            Ok(Ok(_)) => Turned::Finished,
            Ok(Err(error)) => {
                self.see(agent, &Happening::Stopped(&error));
                // A request that somebody cancels at the engine, again and again, must not be tried for ever.
                let by_nobody = matches!(error, TurnError::Cancelled(CancelReason::User))
                    && !self.cancel.is_cancelled();
                match error {
                    _ if claimed.is_over() => Turned::Interrupted,
                    TurnError::Shutdown | TurnError::Submit(SubmitError::Closed) => {
                        Turned::EngineClosed
                    }
                    error if error.is_interruption() && !by_nobody => Turned::Interrupted,
                    error => Turned::Failed(error.to_string()),
                }
            }
            Err(panic) => {
                let message = panic_message(&*panic);
                self.see(agent, &Happening::Panicked(&message));
                // What panicked after the end had ended well.
                if claimed.is_over() {
                    Turned::Interrupted
                } else {
                    Turned::Failed(format!("it panicked: {message}"))
                }
            }
        }
    }

    fn attempt(
        &self,
        turn: &Turn<'_>,
        work: &Work,
        claimed: &mut Claimed,
    ) -> Result<Done, TurnError> {
        match (work, &self.flow.engine) {
            (Work::Program(program), _) => turn.run(claimed, program),
            (Work::Model(manners), Some(engine)) => {
                turn.ask(engine, claimed, &manners(claimed.claim()))
            }
            (Work::Model(_), None) => Err(TurnError::Shutdown),
        }
    }

    /// A watcher that panics while it is told of an end must not take the worker along.
    fn see(&self, agent: &Agent, happening: &Happening<'_>) {
        let seen = catch_unwind(AssertUnwindSafe(|| self.watch.see(agent, happening)));
        if seen.is_err() {
            tracing::warn!(agent = agent.name(), "a watcher panicked");
        }
    }

    /// Gives the task back for another attempt, or up when there were enough.
    fn failed(
        &self,
        task: TaskId,
        reason: &str,
        agent: &Arc<Agent>,
        mut claimed: Claimed,
    ) -> Result<(), FlowError> {
        let failures = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let count = failures.entry(task).or_default();
            *count += 1;
            *count
        };
        tracing::debug!(agent = agent.name(), %task, failures, reason, "a turn failed");
        if failures < self.flow.options.failures {
            return Ok(());
        }
        let reason = match failures {
            1 => reason.to_owned(),
            _ => format!("{failures} turns failed, the last one like this: {reason}"),
        };
        match claimed.give_up(&reason) {
            // Another attempt is under way, or was.
            Ok(()) | Err(StoreError::StaleClaim { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells how long the task has waited.
    fn claimed(&self, agent: &Agent, claim: &Claim) {
        let waited_ms = claim.waited.map(|waited| waited.as_millis() as u64);
        let (name, attempt) = (agent.name(), claim.attempt);
        tracing::debug!(agent = name, task = %claim.task, attempt, waited_ms, "claimed");
        let mut longest = self.longest_wait.lock().unwrap_or_else(PoisonError::into_inner);
        *longest = (*longest).max(claim.waited);
    }

    fn count(&self, which: usize) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)[which] += 1;
    }
}
