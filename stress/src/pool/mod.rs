//! The block pool under load: threads allocate, split, merge, transfer, share and free, register and
//! unregister, against one pool. No block may be in two hands, none lost, no agent charged for what it does
//! not have, no request refused without reason.

pub(crate) mod canary;
mod check;
mod commons;
pub(crate) mod phases;
mod worker;

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context;
use latchless::{
    AgentHandle, AgentId, BlockId, BlockPool, Directory, Inbox, LayerId, ModelSpec, PoolConfig,
};

use self::canary::{Canary, Mark};
use self::check::Settled;
use self::commons::{COMMONS, Sweeps};
use self::phases::{Action, Deck, Scale, deck};
use self::worker::{OWN_AGENTS, Parcel, Worker, World, own_name};
use crate::crew::Ground;
use crate::crew::roll::Present;
use crate::part::{Cell, Fill, Kind, Part};
use crate::phase::Phase;
use crate::plan::{Plan, Plant};
use crate::seed::generator;
use crate::tally::{Columns, Tally};
use crate::violation::Violation;

/// Leases that wait to be received by a thread.
const MAIL: usize = 64;

/// What comes of an allocation.
#[derive(Debug, Clone, Copy)]
enum Came {
    /// It got its blocks.
    Granted,
    /// It was refused, because the pool had too few.
    Refused,
    /// Blocks that were given out.
    Blocks,
    /// It got its blocks after a while.
    Waited,
    /// It did not get them in time.
    TimedOut,
    /// Nobody waited for it any more.
    GivenUp,
    /// A waker that panicked when they were there.
    Panicked,
    /// Refused for a quota, as transfers are, too.
    OverQuota,
    /// Not moved, because the pool had too few to take their place in a reserve.
    Uncovered,
}

/// The timed operation: a pair of allocate and free.
const PAIR: usize = 0;

static COLUMNS: Columns = Columns {
    actions: &Action::NAMES,
    outcomes: &[
        "granted",
        "refused",
        "blocks given out",
        "waited and granted",
        "timed out",
        "waits given up",
        "wakers that panicked",
        "over quota",
        "reserves not covered",
    ],
    needed: Came::Granted as usize,
    timed: &["allocate + free"],
};

/// Everything that lasts for a run.
pub(crate) struct Pool {
    blocks: Arc<BlockPool>,
    directory: Directory,
    canary: Canary,
    commons: Vec<AgentId>,
    steady: Vec<(AgentId, AgentHandle)>,
    specs: [ModelSpec; 2],
    tally: Tally,
    deck: Deck,
    scale: Scale,
    seed: u64,
    plant: Option<Plant>,
    /// What broke when what was left in the mail was opened, until the check tells it.
    opened: Mutex<Result<(), Violation>>,
}

impl Pool {
    pub(crate) fn new(plan: &Plan) -> anyhow::Result<Self> {
        // Four layers, so that sequences and layers ask for different numbers; two sizes of blocks, so
        // that it shows which geometry a sequence was reckoned by.
        let specs = [ModelSpec::new(4, 2, 64, 16)?, ModelSpec::new(4, 2, 64, 32)?];
        let threads = u32::from(plan.threads);
        // A name that is refused has had an account for a moment: one more for each thread.
        let agents = threads * (OWN_AGENTS as u32 + 1) + u32::from(COMMONS);
        let config = PoolConfig::new(plan.blocks, specs[0].clone()).max_agents(agents);
        let pool = Arc::new(BlockPool::new(config)?);
        let directory = Directory::new(Arc::clone(&pool));
        let steady = (0..plan.threads)
            .map(|thread| {
                let id = own_name(thread, 0)?;
                Ok((id.clone(), directory.register(id)?))
            })
            .collect::<anyhow::Result<_>>()?;
        let site = Self {
            blocks: pool,
            directory,
            canary: Canary::new(plan.blocks, COMMONS),
            commons: (0..COMMONS).map(commons::name).collect::<Result<_, _>>()?,
            steady,
            specs,
            tally: Tally::new(&COLUMNS),
            deck: deck(&plan.rates),
            scale: Scale { blocks: plan.blocks, threads: plan.threads },
            seed: plan.seed,
            plant: plan.plant,
            opened: Mutex::new(Ok(())),
        };
        site.plant().context("the fault could not be planted")?;
        Ok(site)
    }

    fn settled(&self) -> Settled<'_> {
        Settled {
            pool: &self.blocks,
            directory: &self.directory,
            canary: &self.canary,
            commons: &self.commons,
            steady: &self.steady,
        }
    }

    /// Puts in the fault that is asked for.
    fn plant(&self) -> Result<(), Violation> {
        match self.plant {
            Some(Plant::Double) => {
                let blocks = self.blocks.usage().total;
                let ghost = Mark::firm(u16::MAX - 1);
                self.canary.take((0..blocks).step_by(7).map(BlockId), ghost)
            }
            Some(Plant::Leak) => {
                let lease = self.blocks.allocate(self.steady[0].1, LayerId(0), 1);
                lease.map(mem::forget).map_err(|error| Violation::answer("a leak", error))
            }
            // The threads see to it, or another part does.
            _ => Ok(()),
        }
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, Result<(), Violation>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decisions of each thread in a round: many time slices, so that the threads meet, and few enough that
    /// a run of some seconds goes through all phases, with a thousand threads too.
    fn operations(&self) -> u64 {
        (200_000 / u64::from(self.scale.threads)).clamp(5_000, 50_000)
    }
}

impl Part for Pool {
    fn kind(&self) -> Kind {
        Kind::Pool
    }

    fn threads(&self) -> u16 {
        self.scale.threads
    }

    fn round(&self, ground: &Ground, round: u64) {
        let operations = self.operations();
        let world = World {
            pool: &self.blocks,
            directory: &self.directory,
            canary: &self.canary,
            commons: &self.commons,
            steady: &self.steady,
            specs: &self.specs,
            tally: &self.tally,
            deck: &self.deck,
            stop: &ground.stop,
            scale: self.scale,
            phase: Phase::of_round(round),
            reconfigures: Sweeps::default(),
            mail: self.steady.iter().map(|_| Inbox::with_capacity(MAIL)).collect(),
        };
        ground.round(Kind::Pool, round, self.scale.threads, |thread, present| {
            while self.plant == Some(Plant::Stall) {
                thread::park();
            }
            let mut rng = generator(self.seed, Kind::Pool, round, thread);
            let mut worker = Worker::new(&world, thread, present)?;
            let ended = worker.run(&mut rng, operations);
            if ended.is_err() {
                // What it has would be given back with its marks on it: another thread would meet them, and be
                // heard before this one.
                mem::forget(worker);
            }
            ended
        });
        let mut parcels = world.mail.iter().flat_map(Inbox::take_all);
        *self.opened() = parcels.try_for_each(|parcel: Parcel<'_>| parcel.open(&self.canary));
    }

    fn check(&self, present: &Present<'_>) -> Result<(), Violation> {
        std::mem::replace(&mut *self.opened(), Ok(()))?;
        self.settled().check(&self.specs[(present.round % 2) as usize ^ 1])
    }

    fn end(&self, _: &Present<'_>) -> Result<(), Violation> {
        self.settled().end()
    }

    fn look(&self) -> Result<Fill, Violation> {
        let usage = self.blocks.usage();
        let census = self.blocks.census();
        let in_flight = census.in_flight.len() as u32;
        let parts = [census.free, census.owned_total(), census.shared, in_flight];
        adds_up(census.total, parts.into_iter().map(u64::from).sum())?;
        let [used, total, in_flight] = [usage.used, usage.total, in_flight].map(u64::from);
        Ok(Fill { used, total, in_flight })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn map(&self, cells: usize) -> Vec<Cell> {
        self.canary.map(cells)
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        vec![("agents", self.directory.len() as u64)]
    }
}

/// The parts of a census must be the whole, whatever the workers do.
fn adds_up(total: u32, sum: u64) -> Result<(), Violation> {
    let what = "census";
    if u64::from(total) == sum { Ok(()) } else { Err(Violation::WrongSum { what, total, sum }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_not_the_whole_are_seen() {
        assert_eq!(adds_up(10, 10), Ok(()));
        let short = Violation::WrongSum { what: "census", total: 10, sum: 9 };
        assert_eq!(adds_up(10, 9), Err(short));
    }
}
