//! Signs of life: the claims of agents that give some are renewed, those of agents and processes that do not
//! are taken back.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::presence::{self, Presence};
use crate::runtime::cancel::{Cancel, CancelReason};
use crate::runtime::limit::Limit;
use crate::runtime::spawner::{AgentSlot, Spawner};
use crate::store::{Claim, Durability, PlanId, Store, StoreError, TaskStatus};

/// The longest between two beats, for the sake of processes that are gone.
const BEAT: Duration = Duration::from_secs(1);

/// Renewals that a lease has time for.
const RENEWALS: u32 = 3;

/// How long claims are leased for.
///
/// A claim is renewed at fixed times, so many in the shortest lease. What is measured is the time between two
/// renewals that the store has confirmed: the lease is long enough for three of those, and no longer than that. If
/// renewals came more rarely with longer leases, the measured times would follow the lease, and it them.
#[derive(Debug)]
pub(super) struct Leases {
    between: Limit,
    every: Duration,
}

impl Leases {
    pub(super) fn new(shortest: Duration, longest: Duration) -> Self {
        let every = shortest.min(longest) / RENEWALS;
        Self { between: Limit::new(every, longest / RENEWALS), every }
    }

    /// For a claim now.
    fn lease(&self) -> Duration {
        self.between.now() * RENEWALS
    }
}

/// A claim that is worked at.
struct Held {
    claim: Claim,
    slot: Arc<AgentSlot>,
    /// When the store confirmed it last.
    confirmed: Instant,
}

pub(super) struct Pulse {
    store: Arc<dyn Store>,
    leases: Leases,
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
        leases: Leases,
        plan: PlanId,
        presence: Option<Presence>,
    ) -> Self {
        let (held, next, taken_back) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        Self { store, leases, plan, presence, held, next, taken_back }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        // Nothing is left half done under it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn taken_back(&self) -> u64 {
        self.taken_back.load(Ordering::Relaxed)
    }

    /// How long a claim is leased for now.
    pub(super) fn lease(&self) -> Duration {
        self.leases.lease()
    }

    pub(super) fn register(&self, claim: Claim, slot: Arc<AgentSlot>) -> Renewed<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.held().insert(number, Held { claim, slot, confirmed: Instant::now() });
        Renewed { pulse: self, number }
    }

    /// Beats until it is told to stop.
    pub(super) fn beat(&self, spawner: &Spawner, stop: &Cancel) {
        let here = thread::current();
        let _told = stop.on_cancel(move |_| here.unpark());
        let mut since_renewal = Duration::ZERO;
        let every = self.leases.every;
        while !stop.is_cancelled() {
            let pause = every.min(BEAT);
            thread::park_timeout(pause);
            for silent in spawner.clean_up() {
                tracing::warn!(agent = %silent, "no sign of life: its slot is taken back");
            }
            since_renewal += pause;
            if since_renewal >= every {
                since_renewal = Duration::ZERO;
                self.renew(&Instant::now);
            }
            if let Err(error) = self.take_back_from_gone() {
                tracing::debug!(%error, "what gone processes had could not be taken back");
            }
        }
    }

    /// Renews the claims of all agents that are alive, by this clock.
    fn renew(&self, now: &dyn Fn() -> Instant) {
        let held: Vec<_> = {
            let held = self.held();
            let each = |(number, held): (&u64, &Held)| {
                (*number, held.claim.clone(), Arc::clone(&held.slot), held.confirmed)
            };
            held.iter().map(each).collect()
        };
        for (number, claim, slot, confirmed) in held {
            if !slot.is_current() {
                // Its lease ends, and somebody else has the task.
                continue;
            }
            let lease = self.lease();
            match self.store.renew(&claim, lease, Durability::Relaxed) {
                Ok(_) => {
                    let now = now();
                    self.leases.between.took(now.saturating_duration_since(confirmed));
                    if let Some(held) = self.held().get_mut(&number) {
                        held.confirmed = now;
                    }
                }
                // The turn came to its end meanwhile.
                Err(StoreError::Status { .. }) => {}
                Err(StoreError::StaleClaim { .. }) => {
                    if slot.cancel().reason().is_none() {
                        // It was alive: its lease was too short.
                        self.leases.between.expired(lease / RENEWALS);
                        let (task, next_ms) = (claim.task, self.lease().as_millis() as u64);
                        tracing::warn!(%task, next_ms, "a claim was taken back from a live agent");
                    }
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::runtime::fixture::{Fixture, slot};
    use crate::store::Durability::Durable;
    use crate::store::NewTask;

    const SECOND: Duration = Duration::from_secs(1);

    /// Renewals of one claim, on a clock in the test's hands.
    struct Hands {
        pulse: Pulse,
        now: Cell<Instant>,
    }

    impl Hands {
        fn new(fixture: &Fixture, shortest: u32, longest: u32) -> Self {
            let leases = Leases::new(SECOND * shortest, SECOND * longest);
            let pulse = Pulse::new(Arc::clone(&fixture.store), leases, fixture.plan, None);
            Self { pulse, now: Cell::new(Instant::now()) }
        }

        /// Renews after so much time, again and again.
        fn renew(&self, after: Duration, times: usize) {
            for _ in 0..times {
                self.now.set(self.now.get() + after);
                self.pulse.renew(&|| self.now.get());
            }
        }
    }

    #[test]
    fn leases_follow_the_time_between_renewals() {
        let fixture = Fixture::new(&[NewTask::new("t", "x")]);
        let hands = Hands::new(&fixture, 15, 60);
        let spawner = Spawner::new(1, SECOND * 1_000).unwrap();
        let claimed = fixture.claim("ada");
        let _renewed = hands.pulse.register(claimed.claim().clone(), slot(&spawner));
        assert_eq!((hands.pulse.lease(), hands.pulse.leases.every), (SECOND * 60, SECOND * 5));
        hands.renew(SECOND * 5, 60);
        assert_eq!(hands.pulse.lease().as_secs(), 15, "as short as it may be");
        hands.renew(SECOND * 11, 1);
        assert!(hands.pulse.lease() >= SECOND * 33, "the machine stood still");
        hands.renew(SECOND * 5, 60);
        assert_eq!(hands.pulse.lease().as_secs(), 15);
    }

    #[test]
    fn a_claim_that_is_lost_though_its_agent_lives_makes_leases_longer() {
        let fixture = Fixture::new(&[NewTask::new("t", "x")]);
        let hands = Hands::new(&fixture, 15, 60);
        let spawner = Spawner::new(1, SECOND * 1_000).unwrap();
        let (claimed, slot) = (fixture.claim("ada"), slot(&spawner));
        let _renewed = hands.pulse.register(claimed.claim().clone(), Arc::clone(&slot));
        hands.renew(SECOND * 5, 60);
        fixture.store.take_back(Some("ada"), Durable).unwrap();
        // Its turn does not end at once.
        hands.renew(SECOND * 5, 3);
        assert_eq!(slot.cancel().reason(), Some(CancelReason::LeaseLost));
        assert_eq!(hands.pulse.lease().as_secs(), 30);
    }

    #[test]
    fn leases_can_be_fixed() {
        let fixture = Fixture::new(&[NewTask::new("t", "x")]);
        let hands = Hands::new(&fixture, 60, 30);
        let spawner = Spawner::new(1, SECOND * 1_000).unwrap();
        let claimed = fixture.claim("ada");
        let _renewed = hands.pulse.register(claimed.claim().clone(), slot(&spawner));
        assert_eq!(hands.pulse.leases.every, SECOND * 10);
        hands.renew(SECOND, 60);
        assert_eq!(hands.pulse.lease(), SECOND * 30);
    }
}
