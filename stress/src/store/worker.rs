//! One thread of a child: it carries out its decisions against the store, and tells what was acknowledged.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use latchless_engine::store::Durability::{Durable, Relaxed};
use latchless_engine::store::{
    Claim, Expect, PlanId, Scope, SqliteStore, Store, StoreError, StoreOptions, TaskStatus,
};

use super::clock::Unsteady;
use super::disk::{Disk, Refused, want_of};
use super::life::{Life, Planted};
use super::phases::{Action, Deck, size};
use super::told::{Incident, Teller, Told};
use super::turn::{self, NOTES, TASKS};
use crate::crew::roll::Present;
use crate::failure::Failure;
use crate::phase::Phase;
use crate::stop::Stop;
use crate::tally::unfrozen;
use crate::violation::Violation;

/// How long a claim stands.
const LEASE: Duration = Duration::from_hours(1);
/// Tasks that nobody has, beyond which no plan is stored: what is there is read after each life.
const WAITING: u64 = 120;
/// Bytes of a document for which there is no room, where there is a limit.
const TOO_MUCH: usize = 1 << 20;

/// Bytes of the report of a turn in the middle of which an agent panics.
const HALF_DONE: usize = 1 << 10;

/// What all threads of a child have in common.
pub(super) struct Post<'a> {
    pub(super) life: &'a Life,
    pub(super) deck: &'a Deck,
    pub(super) store: &'a SqliteStore,
    pub(super) clock: &'a Unsteady,
    pub(super) disk: &'a Disk,
    pub(super) teller: &'a Teller,
    pub(super) stop: &'a Stop,
    /// Threads that were frozen, since it was told.
    pub(super) froze: &'a AtomicU64,
    pub(super) plans: Mutex<Vec<PlanId>>,
}

impl Post<'_> {
    /// Something was refused that must not be, unless the machine has no more of it: that ends the run, and is no
    /// fault of who refused.
    pub(super) fn refused(&self, violation: Violation) -> Result<(), Violation> {
        match want_of(self.life.folder()) {
            None => Err(violation),
            Some(error) => {
                self.stop.failed(Failure::of_the_store(error, violation.to_string()));
                Ok(())
            }
        }
    }
}

/// One thread's state.
pub(super) struct Worker<'a> {
    post: &'a Post<'a>,
    present: &'a Present<'a>,
    agent: String,
    marks: u64,
    outputs: u64,
    planted: bool,
}

impl<'a> Worker<'a> {
    pub(super) fn new(post: &'a Post<'a>, present: &'a Present<'a>) -> Self {
        let agent = Life::agent(present.thread);
        Self { post, present, agent, marks: 0, outputs: 0, planted: false }
    }

    /// Carries out decisions: as many as the life has, or until it is killed.
    pub(super) fn run(&mut self, rng: &mut Rng) -> Result<(), Violation> {
        let Post { life, deck, teller, stop, froze, .. } = *self.post;
        for done in 0_u64.. {
            let over = life.decisions.is_some_and(|decisions| done >= decisions);
            if over || stop.is_stopped() || teller.gone.load(Ordering::Acquire) {
                break;
            }
            self.present.beat();
            let action = deck.draw(life.phase(), rng);
            let carried_out = self.carry_out(action, rng);
            carried_out.or_else(|error| self.excuse(error))?;
            teller.did(action);
            match froze.swap(0, Ordering::Relaxed) {
                0 => {}
                count => teller.tell(&Told::Froze(count)),
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, action: Action, rng: &mut Rng) -> Result<(), Failed> {
        let Post { life, store, clock, .. } = self.post;
        match action {
            Action::CreatePlan => self.create_plan(),
            Action::Finish => self.finish(0, rng),
            Action::Renew => self.finish(3, rng),
            Action::Fail => self.fail(),
            Action::GiveBack => {
                let Some(claim) = self.claim(false)? else { return Ok(()) };
                Ok(store.release(&claim, Durable)?)
            }
            Action::Abandon => self.claim(false).map(drop),
            Action::TakeBack => {
                let other = Life::agent(rng.u16(0..life.threads));
                store.take_back(Some(&other), Durable)?;
                Ok(())
            }
            Action::StartChangeset => {
                let Some(plan) = self.plan(rng) else { return Ok(()) };
                store.start_changeset(plan, "work", Relaxed)?;
                Ok(())
            }
            Action::Record => self.record(rng),
            Action::Seal => {
                let Some(plan) = self.plan(rng) else { return Ok(()) };
                match store.seal_changeset(plan, Relaxed) {
                    Ok(_) | Err(StoreError::NoChangeset(_)) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            Action::Note => self.note(),
            Action::PutOut => self.put_out(rng),
            Action::Count => self.count(),
            Action::JumpClock if life.faults => {
                clock.jump(rng);
                self.came(Incident::Jump);
                Ok(())
            }
            Action::Overfill if life.most_bytes.is_some() => self.overfill(),
            Action::BreakDisk if life.disk => self.break_disk(),
            Action::BreakOpen if life.disk => self.break_open(),
            Action::Unwind if life.faults => self.unwind(),
            Action::JumpClock
            | Action::Overfill
            | Action::BreakDisk
            | Action::BreakOpen
            | Action::Unwind => Ok(()),
        }
    }

    fn create_plan(&self) -> Result<(), Failed> {
        let Post { life, store, teller, .. } = self.post;
        let most = if life.phase() == Phase::NearExhaustion { 4 * WAITING } else { WAITING };
        if store.task_counts(None)?.pending >= most {
            return Ok(());
        }
        let plan = store.create_plan("stressed", &turn::tasks(), Durable)?;
        teller.tell(&Told::Plan { plan: plan.0, tasks: TASKS });
        self.plans().push(plan);
        Ok(())
    }

    /// A claim, which is durable before anybody hears of it.
    fn claim(&self, in_plan: bool) -> Result<Option<Claim>, Failed> {
        let Post { store, teller, .. } = self.post;
        let plan = self.plans().last().copied().filter(|_| in_plan);
        let (claim, time) = unfrozen(|| match plan {
            Some(plan) => store.claim_in(plan, &self.agent, "any", LEASE, Durable),
            None => store.claim(&self.agent, "any", LEASE, Durable),
        });
        let Some(claim) = claim? else { return Ok(None) };
        let ns = time.map(|time| time.as_nanos() as u64);
        teller.tell(&Told::Claimed { task: claim.task.0, attempt: claim.attempt, ns });
        Ok(Some(claim))
    }

    /// A task from its claim to its end.
    fn finish(&mut self, renewals: usize, rng: &mut Rng) -> Result<(), Failed> {
        let Post { life, store, teller, .. } = self.post;
        let Some(claim) = self.claim(rng.bool())? else { return self.create_plan() };
        let Claim { task, plan, attempt, .. } = claim;
        if life.plant == Some(Planted::Lost) && !std::mem::replace(&mut self.planted, true) {
            let told = Told::Finished { task: task.0, attempt, changeset: 1, ns: None };
            teller.tell(&told);
            return Ok(());
        }
        // Relaxed: the end is durable, and cannot be without it.
        store.start(&claim, Relaxed)?;
        for _ in 0..renewals {
            store.renew(&claim, LEASE, Relaxed)?;
        }
        let end = turn::end(plan, task, attempt, size(life.phase(), rng));
        let (finished, time) = unfrozen(|| store.finish(&claim, &end, Durable));
        let changeset = finished?;
        let ns = time.map(|time| time.as_nanos() as u64);
        teller.tell(&Told::Finished { task: task.0, attempt, changeset: changeset.0, ns });
        if life.plant == Some(Planted::Twice) && !std::mem::replace(&mut self.planted, true) {
            // Another turn of the plan may end between the two: its changeset is the newest then, and sealed.
            while let Err(error) = store
                .start_changeset(plan, &end.title, Relaxed)
                .and_then(|_| store.record_changes(plan, &end.changes, Durable))
            {
                if !matches!(error, StoreError::NoChangeset(_)) {
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    fn fail(&self) -> Result<(), Failed> {
        let Post { store, teller, .. } = self.post;
        let Some(claim) = self.claim(false)? else { return Ok(()) };
        store.start(&claim, Relaxed)?;
        store.fail(&claim, "it does not work out", Durable)?;
        teller.tell(&Told::Failed { task: claim.task.0, attempt: claim.attempt });
        Ok(())
    }

    fn record(&mut self, rng: &mut Rng) -> Result<(), Failed> {
        let Post { store, teller, .. } = self.post;
        let Some(plan) = self.plan(rng) else { return Ok(()) };
        let mark = self.mark();
        let durability = if rng.bool() { Durable } else { Relaxed };
        let record = || store.record_changes(plan, &turn::changes(&mark), durability);
        let (recorded, time) = unfrozen(record);
        match recorded {
            Ok(_) if durability == Durable => {
                let ns = time.map(|time| time.as_nanos() as u64);
                teller.tell(&Told::Recorded { mark: mark.clone(), ns });
            }
            Ok(_) => {}
            Err(StoreError::NoChangeset(_)) => {
                store.start_changeset(plan, "work", Relaxed)?;
            }
            Err(error) => return Err(error.into()),
        }
        match store.record_tool_call(plan, &turn::call(&mark), Relaxed) {
            Ok(_) | Err(StoreError::NoChangeset(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds a line to the document of all, unless others are always faster.
    fn note(&mut self) -> Result<(), Failed> {
        let Post { store, teller, .. } = self.post;
        let mark = self.mark();
        for _ in 0..4 {
            let (mut text, expect) = match store.document(&Scope::Shared, NOTES)? {
                Some(found) => (found.content, Expect::Version(found.version)),
                None => (Vec::new(), Expect::Absent),
            };
            if String::from_utf8_lossy(&text).lines().any(|line| line == mark) {
                return Err(Failed::broken("a note was refused, and is there", &mark));
            }
            text.extend_from_slice(format!("{mark}\n").as_bytes());
            match store.put_document(&Scope::Shared, NOTES, &text, expect, Durable) {
                Ok(_) => {
                    teller.tell(&Told::Noted { mark });
                    return Ok(());
                }
                Err(StoreError::Version { .. }) => {}
                // Nothing was changed: the next look finds nothing of it.
                Err(error) => self.excuse(error.into())?,
            }
        }
        Ok(())
    }

    /// Outputs are numbered: of those that no disk has refused, a crash leaves the first ones.
    fn put_out(&mut self, rng: &mut Rng) -> Result<(), Failed> {
        let Post { life, store, teller, .. } = self.post;
        let mark = format!("{}-{}", life.number, self.outputs);
        let text = format!("{mark} {}", "x".repeat(size(life.phase(), rng)));
        let durability = if rng.u8(0..4) == 0 { Durable } else { Relaxed };
        store.add_output(&self.agent, None, &text, durability)?;
        self.outputs += 1;
        if durability == Durable {
            teller.tell(&Told::PutOut { mark: format!("{} {mark}", self.agent) });
        }
        Ok(())
    }

    /// A plan is there with all its tasks, or not at all.
    fn count(&self) -> Result<(), Failed> {
        let counts = self.post.store.task_counts(None)?;
        let all = counts.pending + counts.assigned + counts.in_progress;
        let all = all + counts.completed + counts.failed + counts.skipped;
        if all.is_multiple_of(TASKS as u64) {
            return Ok(());
        }
        Err(Failed::broken("tasks of whole plans", &counts))
    }

    fn overfill(&self) -> Result<(), Failed> {
        let Post { store, .. } = self.post;
        let scope = Scope::Agent(self.agent.clone());
        let much = vec![b'x'; TOO_MUCH];
        match store.put_document(&scope, "much", &much, Expect::Anything, Durable) {
            Ok(version) => Err(Failed::broken("more than there is room for was stored", &version)),
            Err(error) => Err(error.into()),
        }
    }

    fn break_disk(&self) -> Result<(), Failed> {
        let Post { store, disk, .. } = self.post;
        let write = || store.put_document(&Scope::Shared, "lost", b"", Expect::Anything, Durable);
        match disk.broken(Refused::Writes { beyond: 0 }, write) {
            Ok(Ok(version)) => {
                Err(Failed::broken("durable on a disk that takes nothing", &version))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(Failed::broken("a limit of this process", &error)),
        }
    }

    fn break_open(&self) -> Result<(), Failed> {
        let Post { life, disk, .. } = self.post;
        let open = || SqliteStore::open(&life.file, StoreOptions::default()).map(drop);
        match disk.broken(Refused::Descriptors, open) {
            Ok(Ok(())) => Err(Failed::broken("opened without a descriptor", &life.file)),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(Failed::broken("a limit of this process", &error)),
        }
    }

    /// A panic in the middle of a turn, with the claim and what was to be its end in hand. Whoever finds the agent
    /// dead takes its claim back.
    fn unwind(&self) -> Result<(), Failed> {
        let store = self.post.store;
        let Some(claim) = self.claim(false)? else { return Ok(()) };
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let end = turn::end(claim.plan, claim.task, claim.attempt, HALF_DONE);
            let _in_hand = (store.start(&claim, Relaxed)?, claim, end);
            // Not `panic!`, whose hook would print.
            resume_unwind(Box::new("an agent's panic"));
        }));
        if let Ok(refused) = unwound {
            return refused;
        }
        self.came(Incident::Panic);
        store.take_back(Some(&self.agent), Durable)?;
        Ok(())
    }

    /// What may go wrong is told; what may not ends the life.
    fn excuse(&self, failed: Failed) -> Result<(), Violation> {
        let Life { faults, disk, most_bytes, .. } = self.post.life;
        let refuses = self.post.life.may_refuse();
        // Where the disk does not fail, it is full.
        let refused = if *disk { Incident::Io } else { Incident::Full };
        let error = match failed {
            Failed::Store(error) => error,
            Failed::Broken(violation) => return Err(violation),
        };
        match error {
            StoreError::StaleClaim { .. } => self.came(Incident::Stale),
            StoreError::Full { .. } if most_bytes.is_some() => self.came(Incident::Full),
            StoreError::RolledBack { .. } if refuses => self.came(refused),
            StoreError::Database { .. } | StoreError::CannotOpen { .. } | StoreError::Io { .. }
                if refuses =>
            {
                self.came(refused);
            }
            // What was relaxed before it went with a group that the disk refused.
            StoreError::Status { from: TaskStatus::Assigned, .. } if *faults && refuses => {
                self.came(refused);
            }
            error @ (StoreError::Full { .. }
            | StoreError::RolledBack { .. }
            | StoreError::Database { .. }
            | StoreError::CannotOpen { .. }
            | StoreError::Io { .. }) => {
                return self.post.refused(Violation::answer("the store", error));
            }
            error => return Err(Violation::answer("the store", error)),
        }
        Ok(())
    }

    fn came(&self, incident: Incident) {
        self.post.teller.tell(&Told::Came(incident));
    }

    /// A mark that nobody else has.
    fn mark(&mut self) -> String {
        self.marks += 1;
        format!("{}-{}-{}", self.post.life.number, self.present.thread, self.marks)
    }

    fn plan(&self, rng: &mut Rng) -> Option<PlanId> {
        rng.choice(self.plans().iter()).copied()
    }

    fn plans(&self) -> std::sync::MutexGuard<'_, Vec<PlanId>> {
        self.post.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a decision was not carried out.
enum Failed {
    /// The store said no, which may be right.
    Store(StoreError),
    Broken(Violation),
}

impl Failed {
    fn broken(what: &'static str, found: &dyn std::fmt::Debug) -> Self {
        Self::Broken(Violation::answer(what, found))
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Violation> for Failed {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}
