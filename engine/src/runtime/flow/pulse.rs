//! Signs of life: the claims of agents that give some are renewed, those of agents and processes that do not
//! are taken back.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::presence::{self, Presence};
use crate::runtime::cancel::{Cancel, CancelReason};
use crate::runtime::spawner::{AgentSlot, Spawner};
use crate::store::{Claim, Durability, PlanId, Store, StoreError, TaskStatus};

/// The longest between two beats, for the sake of processes that are gone.
const BEAT: Duration = Duration::from_secs(1);

/// A claim that is worked at.
struct Held {
    claim: Claim,
    slot: Arc<AgentSlot>,
}

pub(super) struct Pulse {
    store: Arc<dyn Store>,
    lease: Duration,
    plan: PlanId,
    presence: Option<Presence>,
    held: Mutex<HashMap<u64, Held>>,
    next: AtomicU64,
    taken_back: AtomicU64,
}

/// A claim that is renewed until this is dropped.
pub(super) struct Renewed<'a> {
    pulse: &'a Pulse,
    number: u64,
}

impl Drop for Renewed<'_> {
    fn drop(&mut self) {
        self.pulse.held().remove(&self.number);
    }
}

impl Pulse {
    pub(super) fn new(
        store: Arc<dyn Store>,
        lease: Duration,
        plan: PlanId,
        presence: Option<Presence>,
    ) -> Self {
        let (held, next, taken_back) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        Self { store, lease, plan, presence, held, next, taken_back }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        // Nothing is left half done under it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn taken_back(&self) -> u64 {
        self.taken_back.load(Ordering::Relaxed)
    }

    pub(super) fn register(&self, claim: Claim, slot: Arc<AgentSlot>) -> Renewed<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.held().insert(number, Held { claim, slot });
        Renewed { pulse: self, number }
    }

    /// Beats until it is told to stop.
    pub(super) fn beat(&self, spawner: &Spawner, stop: &Cancel) {
        let here = thread::current();
        let _told = stop.on_cancel(move |_| here.unpark());
        let mut since_renewal = Duration::ZERO;
        let every = self.lease / 3;
        while !stop.is_cancelled() {
            let pause = every.min(BEAT);
            thread::park_timeout(pause);
            for silent in spawner.clean_up() {
                tracing::warn!(agent = %silent, "no sign of life: its slot is taken back");
            }
            since_renewal += pause;
            if since_renewal >= every {
                since_renewal = Duration::ZERO;
                self.renew();
            }
            if let Err(error) = self.take_back_from_gone() {
                tracing::debug!(%error, "what gone processes had could not be taken back");
            }
        }
    }

    /// Renews the claims of all agents that are alive.
    pub(super) fn renew(&self) {
        let held: Vec<_> = {
            let held = self.held();
            held.values().map(|held| (held.claim.clone(), Arc::clone(&held.slot))).collect()
        };
        for (claim, slot) in held {
            if !slot.is_current() {
                // Its lease ends, and somebody else has the task.
                continue;
            }
            match self.store.renew(&claim, self.lease, Durability::Relaxed) {
                // Refused for its status: the turn came to its end meanwhile.
                Ok(_) | Err(StoreError::Status { .. }) => {}
                Err(StoreError::StaleClaim { .. }) => {
                    slot.cancel().cancel(CancelReason::LeaseLost);
                }
                // It is tried again; should the lease end before, the claim is stale.
                Err(error) => {
                    tracing::warn!(task = %claim.task, %error, "a claim was not renewed");
                }
            }
        }
    }

    /// Takes back what processes had that are gone.
    pub(super) fn take_back_from_gone(&self) -> Result<(), StoreError> {
        let Some(here) = &self.presence else { return Ok(()) };
        let gone = here.gone();
        if gone.is_empty() {
            return Ok(());
        }
        let runs: BTreeSet<_> = gone.iter().map(presence::Gone::run).collect();
        let mut labels = BTreeSet::new();
        for task in self.store.tasks(self.plan)? {
            let held = matches!(task.status, TaskStatus::Assigned | TaskStatus::InProgress);
            let label = task.agent.filter(|_| held);
            labels.extend(label.filter(|label| {
                label.rsplit_once(presence::MARK).is_some_and(|(_, run)| runs.contains(run))
            }));
        }
        for label in labels {
            let tasks = self.store.take_back(Some(&label), Durability::Durable)?;
            tracing::info!(agent = label, tasks = tasks.len(), "taken back: its process is gone");
            self.taken_back.fetch_add(tasks.len() as u64, Ordering::Relaxed);
        }
        // After the claims: whoever finds no file looks for no claims.
        gone.into_iter().for_each(presence::Gone::forget);
        Ok(())
    }
}
