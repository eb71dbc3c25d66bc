//! A worker: one thread that carries out its decisions against the agents' structures.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use latchless::Tick;

use super::ledger::End;
use super::phases::{Action, Decision, Deck, decide};
use super::slots::Reserved;
use super::tables::TableHand;
use super::tasks::TaskHand;
use super::{COLUMNS, Came, Timed, World};
use crate::crew::roll::Present;
use crate::phase::Phase;
use crate::stop::Stop;
use crate::tally::{Counts, Tally, unfrozen};
use crate::violation::Violation;

/// Claims, and slots, that a worker holds at most.
const MOST_HELD: usize = 4;
/// Decisions between two contributions to the tally.
const TALLY_EVERY: u64 = 512;
/// Decisions between two pieces of memory of one that swells, and their bytes.
const SWELL_EVERY: u64 = 256;
const SWELL: usize = 4 << 10;
/// How far the clock jumps.
const JUMP: u64 = 10_000;

/// The clock of all workers, which is not bound to go forward.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    pub(super) fn now(&self) -> Tick {
        Tick(self.0.load(Ordering::Acquire))
    }

    fn tick(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    fn jump(&self, other: usize) {
        let back = |now: u64| {
            Some(if other.is_multiple_of(2) { now.saturating_sub(JUMP) } else { now + JUMP })
        };
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, back);
    }
}

/// What a worker works for and with.
pub(super) struct Post<'a> {
    pub(super) world: &'a World,
    pub(super) deck: &'a Deck,
    pub(super) tally: &'a Tally,
    pub(super) stop: &'a Stop,
    pub(super) present: &'a Present<'a>,
    pub(super) threads: u16,
    pub(super) phase: Phase,
    /// Whether it is the one that steals, to see that it is seen.
    pub(super) steals: bool,
    /// Whether it is the one that swells, for the same.
    pub(super) swells: bool,
}

/// One thread's state in a round.
pub(super) struct Worker<'a> {
    post: Post<'a>,
    tasks: TaskHand,
    changes: u32,
    messages: u32,
    slots: Vec<Reserved>,
    tables: TableHand<'a>,
    counts: Counts,
}

impl<'a> Worker<'a> {
    pub(super) fn new(post: Post<'a>) -> Result<Self, Violation> {
        Ok(Self {
            tables: post.world.tables.enter()?,
            post,
            tasks: TaskHand::default(),
            changes: 0,
            messages: 0,
            slots: Vec::with_capacity(MOST_HELD),
            counts: Counts::new(&COLUMNS),
        })
    }

    fn thread(&self) -> u16 {
        self.post.present.thread
    }

    /// Carries out `operations` decisions, or as many as come before the stop, and gives everything
    /// back.
    pub(super) fn run(&mut self, rng: &mut Rng, operations: u64) -> Result<(), Violation> {
        for done in 1..=operations {
            if self.post.stop.is_stopped() {
                break;
            }
            self.post.present.beat();
            if self.post.swells && done % SWELL_EVERY == 0 {
                // Written to: a page that nobody has touched takes no memory.
                std::mem::forget(std::hint::black_box(vec![1_u8; SWELL]));
            }
            let decision = decide(self.post.deck, self.post.phase, rng);
            self.counts.actions[decision.action as usize] += 1;
            self.carry_out(decision)?;
            if done % TALLY_EVERY == 0 {
                self.post.tally.offer(&mut self.counts);
            }
        }
        self.post.world.tasks.leave(&mut self.tasks);
        let now = self.post.world.clock.now();
        self.slots.drain(..).try_for_each(|slot| self.post.world.slots.release(slot, now))?;
        self.post.world.tables.remove(self.thread(), &mut self.tables)?;
        self.post.tally.collect(&mut self.counts);
        Ok(())
    }

    fn carry_out(&mut self, decision: Decision) -> Result<(), Violation> {
        let Decision { action, pick, other } = decision;
        let World { tasks, plans, turns, mail, slots, tables, clock } = self.post.world;
        let may_be_lost = self.post.phase != Phase::Calm;
        match action {
            Action::Submit => self.submit(other)?,
            Action::SubmitChain => {
                let came = tasks.submit_chain(self.thread(), &mut self.tasks);
                self.count(Came::Submitted, u64::from(came));
            }
            Action::Claim if self.tasks.held() >= MOST_HELD => {
                tasks.end(&mut self.tasks, pick, End::Done, may_be_lost)?;
            }
            Action::Claim => {
                let now = clock.now();
                let came = self.timed(Timed::Claim, |this| {
                    let Self { post, tasks, .. } = this;
                    let thread = post.present.thread;
                    post.world.tasks.claim(thread, tasks, other, now, may_be_lost)
                })?;
                self.count(Came::Claimed, u64::from(came));
                if came && self.post.steals {
                    tasks.steal(&self.tasks)?;
                }
            }
            Action::Complete => tasks.end(&mut self.tasks, pick, End::Done, may_be_lost)?,
            Action::Fail => tasks.end(&mut self.tasks, pick, End::Failed, may_be_lost)?,
            Action::GiveBack => tasks.give_back(&mut self.tasks, pick, may_be_lost)?,
            Action::Renew => tasks.renew(&self.tasks, pick, clock.now()),
            Action::ReclaimWorker => {
                let lost = tasks.reclaim_worker(other as u16 % self.post.threads);
                self.count(Came::TakenBack, lost as u64);
            }
            Action::ReclaimExpired => {
                let lost = tasks.reclaim_expired(clock.now());
                self.count(Came::TakenBack, lost as u64);
            }
            Action::Tick => clock.tick(),
            Action::JumpClock => clock.jump(other),
            Action::StartChangeset => plans.start()?,
            Action::Record => {
                let came = self.timed(Timed::Record, |this| {
                    this.post.world.plans.record(this.thread(), &mut this.changes)
                })?;
                self.count(Came::Recorded, u64::from(came));
            }
            Action::Seal => plans.seal(pick)?,
            Action::Transition => {
                self.timed(Timed::Transition, |this| {
                    this.post.world.turns.transition(pick, other)
                })?;
            }
            Action::TransitionFrom => turns.transition_from(pick, other)?,
            Action::Detect => turns.detect(pick, other),
            Action::Push => {
                let gone = self.timed(Timed::Push, |this| {
                    this.post.world.mail.push(this.thread(), &mut this.messages, pick)
                })?;
                self.count(Came::Displaced, u64::from(gone));
            }
            Action::Pop => mail.pop(pick)?,
            Action::Reserve => {
                if self.slots.len() < MOST_HELD {
                    self.slots.extend(slots.reserve(clock.now())?);
                }
            }
            Action::Release => {
                if let Some(slot) = self.slots.pop() {
                    slots.release(slot, clock.now())?;
                }
            }
            Action::Die => {
                if let Some(slot) = self.slots.pop() {
                    slots.die(slot)?;
                }
            }
            Action::CleanUp => slots.clean_up(),
            Action::Unwind => self.unwind(other)?,
            Action::ReplaceTable => tables.replace(self.thread(), &mut self.tables, other)?,
            Action::ReadTable => {
                let came =
                    self.timed(Timed::ReadTable, |this| tables.read(&mut this.tables, pick))?;
                self.count(Came::TablesRead, u64::from(came));
            }
            Action::RemoveTable => tables.remove(self.thread(), &mut self.tables)?,
        }
        Ok(())
    }

    fn submit(&mut self, other: usize) -> Result<(), Violation> {
        let came = self.post.world.tasks.submit(self.thread(), &mut self.tasks, other);
        self.count(Came::Submitted, u64::from(came));
        self.count(Came::Refused, u64::from(!came));
        // There may be room that only this thread can make.
        if came { Ok(()) } else { self.post.world.tasks.sweep(&mut self.tasks) }
    }

    /// A panic of an agent: its slot is given back by unwinding, its claim by whoever finds it dead.
    fn unwind(&mut self, other: usize) -> Result<(), Violation> {
        let World { tasks, slots, clock, .. } = self.post.world;
        let mut dying = TaskHand::default();
        // A worker that nobody else is: in a calm phase nobody may lose a claim.
        let worker = self.post.threads + self.thread();
        let may_be_lost = self.post.phase != Phase::Calm;
        tasks.claim(worker, &mut dying, other, clock.now(), may_be_lost)?;
        let reserved = slots.reserve(clock.now())?;
        reserved.as_ref().map_or(Ok(()), |reserved| slots.unmark(reserved))?;
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _given_back = reserved;
            // Not `panic!`, whose hook would print.
            resume_unwind(Box::new("an agent's panic"));
        }));
        debug_assert!(unwound.is_err());
        let lost = tasks.reclaim_worker(worker) as u64;
        self.count(Came::TakenBack, lost);
        // Elsewhere its lease may have been over first.
        if self.post.phase == Phase::Calm || lost > dying.held() as u64 {
            Violation::count("claims of an agent that panicked", dying.held() as u64, lost)?;
        }
        Ok(())
    }

    fn count(&mut self, came: Came, count: u64) {
        self.counts.outcomes[came as usize] += count;
    }

    /// Times an operation.
    fn timed<R>(&mut self, timed: Timed, operation: impl FnOnce(&mut Self) -> R) -> R {
        let (result, time) = unfrozen(|| operation(self));
        self.counts.record(timed as usize, time);
        result
    }
}
