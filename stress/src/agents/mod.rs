//! The agents' side of the core under load: tasks, plans, states, outboxes, block tables and spawn slots, by
//! all threads at once. Everything that is handed on must come out once: tasks, changes, messages. No slot may be in
//! two hands, no state reached but by its edges.

mod ledger;
mod mail;
pub(crate) mod phases;
mod plans;
mod slots;
mod tables;
mod tasks;
mod turns;
mod worker;

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::mail::Mail;
use self::phases::{Action, Deck, deck};
use self::plans::Plans;
use self::slots::Slots;
use self::tables::Tables;
use self::tasks::Tasks;
use self::turns::Turns;
use self::worker::{Clock, Post, Worker};
use crate::crew::Ground;
use crate::crew::roll::Present;
use crate::part::{Fill, Kind, Part};
use crate::phase::Phase;
use crate::plan::{Plan, Plant};
use crate::seed::generator;
use crate::tally::{Columns, Tally};
use crate::violation::Violation;

/// What comes of a decision.
#[derive(Debug, Clone, Copy)]
enum Came {
    Submitted,
    /// No room for a task.
    Refused,
    Claimed,
    /// Claims that were taken back from their workers.
    TakenBack,
    Recorded,
    /// Messages that had to go for newer ones.
    Displaced,
    /// Tables that were read.
    TablesRead,
}

/// What is timed.
#[derive(Debug, Clone, Copy)]
enum Timed {
    Claim,
    Record,
    Transition,
    Push,
    ReadTable,
}

static COLUMNS: Columns = Columns {
    actions: &Action::NAMES,
    outcomes: &[
        "submitted",
        "refused",
        "claimed",
        "taken back",
        "recorded",
        "displaced",
        "tables read",
    ],
    needed: Came::Claimed as usize,
    timed: &["claim", "record", "transition", "push", "read table"],
};

/// What all workers of a round share, and what it is checked by.
struct World {
    tasks: Tasks,
    plans: Plans,
    turns: Turns,
    mail: Mail,
    tables: Tables,
    slots: Slots,
    clock: Clock,
}

impl World {
    fn new(threads: u16, operations: u64) -> Result<Self, Violation> {
        Ok(Self {
            tasks: Tasks::new(threads, operations)?,
            plans: Plans::new(threads, operations),
            turns: Turns::new(),
            mail: Mail::new(threads, operations)?,
            tables: Tables::new(threads)?,
            slots: Slots::new()?,
            clock: Clock::default(),
        })
    }

    /// Nobody runs.
    fn settle(&self, threads: u16) -> Result<(), Violation> {
        // A worker that none of the threads is.
        self.tasks.settle(2 * threads, self.clock.now())?;
        self.plans.settle()?;
        self.turns.settle()?;
        self.mail.settle()?;
        self.tables.settle()?;
        self.slots.settle()
    }
}

/// The part.
pub(crate) struct Agents {
    threads: u16,
    seed: u64,
    plant: Option<Plant>,
    deck: Deck,
    tally: Tally,
    /// The world of the round: made anew for each, so that the next one begins with nothing.
    world: Mutex<Option<Arc<World>>>,
}

impl Agents {
    #[expect(clippy::unnecessary_wraps, reason = "as the other parts, which can fail")]
    pub(crate) fn new(plan: &Plan) -> anyhow::Result<Self> {
        let (deck, tally) = (deck(&plan.rates), Tally::new(&COLUMNS));
        let Plan { threads, seed, plant, .. } = *plan;
        Ok(Self { threads, seed, plant, deck, tally, world: Mutex::default() })
    }

    fn world(&self) -> MutexGuard<'_, Option<Arc<World>>> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decisions of each thread in a round: many time slices, so that the threads meet, and few enough that
    /// a run of some seconds goes through all phases, with a thousand threads too.
    fn operations(&self) -> u64 {
        (200_000 / u64::from(self.threads)).clamp(5_000, 50_000)
    }
}

impl Part for Agents {
    fn kind(&self) -> Kind {
        Kind::Agents
    }

    fn threads(&self) -> u16 {
        self.threads
    }

    fn round(&self, ground: &Ground, round: u64) {
        let operations = self.operations();
        let world = match World::new(self.threads, operations) {
            Ok(world) => Arc::new(world),
            Err(violation) => return ground.check_failed(Kind::Agents, round, violation),
        };
        *self.world() = Some(Arc::clone(&world));
        ground.round(Kind::Agents, round, self.threads, |thread, present| {
            let mut rng = generator(self.seed, Kind::Agents, round, thread);
            let post = Post {
                world: &world,
                deck: &self.deck,
                tally: &self.tally,
                stop: &ground.stop,
                present,
                threads: self.threads,
                phase: Phase::of_round(round),
                steals: thread == 0 && self.plant == Some(Plant::Stolen),
                swells: thread == 0 && self.plant == Some(Plant::Swell),
            };
            let mut worker = Worker::new(post)?;
            let ended = worker.run(&mut rng, operations);
            if ended.is_err() {
                // What it has would be given back with its marks on it: another thread would meet them, and be
                // heard before this one.
                mem::forget(worker);
            }
            ended
        });
    }

    fn check(&self, _: &Present<'_>) -> Result<(), Violation> {
        let world = self.world().take();
        world.map_or(Ok(()), |world| world.settle(self.threads))
    }

    fn end(&self, _: &Present<'_>) -> Result<(), Violation> {
        Ok(())
    }

    fn look(&self) -> Result<Fill, Violation> {
        let world = self.world().clone();
        Ok(world.map_or_else(Fill::default, |world| Fill {
            used: world.tasks.in_queue(),
            total: world.tasks.capacity(),
            in_flight: 0,
        }))
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}
