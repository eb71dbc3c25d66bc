//! A run: rounds against one pool, one after another, each checked when its threads have ended.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use latchless::{
    AgentHandle, AgentId, BlockId, BlockPool, Directory, Inbox, LayerId, ModelSpec, PoolConfig,
};

use crate::canary::{Canary, Mark};
use crate::check::Settled;
use crate::commons::{self, COMMONS};
use crate::phases::{Phase, Scale, generator};
use crate::report::Status;
use crate::tally::{Counts, Tally};
use crate::violation::Violation;
use crate::watch::{Seen, Watcher};
use crate::worker::{OWN_AGENTS, Worker, World, own_name};

/// Decisions of each thread in a round: many time slices, so that the threads meet, and few enough
/// that a run of some seconds goes through all phases, with a thousand threads too.
pub(crate) fn round_operations(threads: u16) -> u64 {
    (200_000 / u64::from(threads.max(1))).clamp(5_000, 50_000)
}

/// Leases that wait to be received by a thread.
const MAIL: usize = 64;

/// What is run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) threads: u16,
    pub(crate) blocks: u32,
    pub(crate) first_round: u64,
    pub(crate) duration: Option<Duration>,
    /// Decisions of all threads together.
    pub(crate) operations: Option<u64>,
    pub(crate) status_interval: Duration,
    pub(crate) stall_after: Duration,
    pub(crate) plant: Option<Plant>,
}

/// A fault that is put in on purpose, to see that it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Plant {
    /// Some blocks are marked as if somebody had them, while the pool has them as free.
    Double,
    /// A lease is forgotten.
    Leak,
    /// The threads never begin.
    Stall,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// Everything held.
    Held,
    /// Nobody had a block, so that nothing was shown.
    Idle,
    /// Everything held until somebody interrupted it.
    Interrupted,
    /// Something did not hold.
    Broken(Broken),
}

/// An invariant that did not hold, and where.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) violation: Violation,
    pub(crate) thread: Option<u16>,
    pub(crate) round: u64,
}

/// What came out of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ending: Ending,
    pub(crate) rounds: u64,
    pub(crate) wall: Duration,
    pub(crate) counts: Counts,
    pub(crate) seen: Seen,
}

/// Ends a run, once and for one reason.
#[derive(Debug)]
pub(crate) struct Stop {
    /// Read by every worker before each decision.
    now: AtomicBool,
    over: AtomicBool,
    /// Rounds that have begun.
    rounds: AtomicU64,
    interrupted: AtomicBool,
    broken: Mutex<Option<(Option<u16>, Violation)>>,
}

impl Stop {
    fn new() -> Self {
        Self {
            now: AtomicBool::new(false),
            over: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
            interrupted: AtomicBool::new(false),
            broken: Mutex::new(None),
        }
    }

    /// No more decisions.
    pub(crate) fn stop(&self) {
        self.now.store(true, Ordering::Release);
    }

    /// The same, because somebody wishes so.
    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
        self.stop();
    }

    /// The same, because something does not hold. The first one counts: what follows may follow from it.
    pub(crate) fn broken(&self, violation: Violation) {
        self.broken_by(None, violation);
    }

    /// Whether the workers have ended for good.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn broken_by(&self, thread: Option<u16>, violation: Violation) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.get_or_insert((thread, violation));
        self.stop();
    }

    fn what_broke(&self) -> Option<(Option<u16>, Violation)> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_stopped(&self) -> bool {
        self.now.load(Ordering::Acquire)
    }
}

/// Everything that lasts for a run.
struct Site {
    pool: Arc<BlockPool>,
    directory: Directory,
    canary: Canary,
    commons: Vec<AgentId>,
    steady: Vec<(AgentId, AgentHandle)>,
    specs: [ModelSpec; 2],
    tally: Tally,
    stop: Stop,
    scale: Scale,
    plant: Option<Plant>,
}

impl Site {
    fn new(plan: &Plan) -> anyhow::Result<Self> {
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
        Ok(Self {
            pool,
            directory,
            canary: Canary::new(plan.blocks, COMMONS),
            commons: (0..COMMONS).map(commons::name).collect::<Result<_, _>>()?,
            steady,
            specs,
            tally: Tally::new(),
            stop: Stop::new(),
            scale: Scale { blocks: plan.blocks, threads: plan.threads },
            plant: plan.plant,
        })
    }

    fn outcome(&self, plan: &Plan, wall: Duration, seen: Seen) -> Outcome {
        let rounds = self.stop.rounds.load(Ordering::Acquire);
        let round = plan.first_round + rounds.saturating_sub(1);
        let counts = self.tally.snapshot();
        let ending = match self.stop.what_broke() {
            Some((thread, violation)) => Ending::Broken(Broken { violation, thread, round }),
            None if self.stop.interrupted.load(Ordering::Acquire) => Ending::Interrupted,
            None if counts.granted == 0 => Ending::Idle,
            None => Ending::Held,
        };
        Outcome { ending, rounds, wall, counts, seen }
    }

    fn settled(&self) -> Settled<'_> {
        Settled {
            pool: &self.pool,
            directory: &self.directory,
            canary: &self.canary,
            commons: &self.commons,
            steady: &self.steady,
        }
    }

    /// One round: threads that begin together, and a check when all have ended.
    fn round(&self, seed: u64, round: u64, operations: u64) {
        self.stop.rounds.fetch_add(1, Ordering::Release);
        let world = World {
            pool: &self.pool,
            directory: &self.directory,
            canary: &self.canary,
            commons: &self.commons,
            steady: &self.steady,
            specs: &self.specs,
            tally: &self.tally,
            stop: &self.stop.now,
            scale: self.scale,
            phase: Phase::of_round(round),
            mail: self.steady.iter().map(|_| Inbox::with_capacity(MAIL)).collect(),
        };
        let begin = Barrier::new(self.steady.len());
        thread::scope(|scope| {
            for thread in 0..self.steady.len() as u16 {
                let (world, begin) = (&world, &begin);
                scope.spawn(move || {
                    let work = || {
                        begin.wait();
                        while self.plant == Some(Plant::Stall) {
                            thread::park();
                        }
                        let mut rng = generator(seed, round, thread);
                        Worker::new(world, thread)?.run(&mut rng, operations)
                    };
                    let ended = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
                        Err(Violation::Panicked { thread, message: message_of(&*payload) })
                    });
                    if let Err(violation) = ended {
                        self.stop.broken_by(Some(thread), violation);
                    }
                });
            }
        });
        let mut parcels = world.mail.iter().flat_map(Inbox::take_all);
        let opened = parcels.try_for_each(|parcel| parcel.open(&self.canary));
        let next = &self.specs[(round % 2) as usize ^ 1];
        // What broke in the round leaves things behind: only the first counts.
        if self.stop.what_broke().is_none()
            && let Err(violation) = opened.and_then(|()| self.settled().check(next))
        {
            self.stop.broken(violation);
        }
    }

    /// Puts in the fault that is asked for.
    fn plant(&self) -> Result<(), Violation> {
        match self.plant {
            // The threads see to it.
            None | Some(Plant::Stall) => Ok(()),
            Some(Plant::Double) => {
                let blocks = self.pool.usage().total;
                let ghost = Mark::firm(u16::MAX - 1);
                self.canary.take((0..blocks).step_by(7).map(BlockId), ghost)
            }
            Some(Plant::Leak) => {
                let lease = self.pool.allocate(self.steady[0].1, LayerId(0), 1);
                lease.map(std::mem::forget).map_err(|error| Violation::answer("a leak", error))
            }
        }
    }
}

/// Runs a plan to its end.
///
/// `give_up` is called when the run has stalled, so that its threads never end; it should not return.
///
/// # Errors
/// When the plan cannot be carried out at all: the pool cannot be made.
pub(crate) fn run(
    plan: &Plan,
    interrupted: &AtomicBool,
    print: impl Fn(&Status) + Send,
    give_up: impl Fn(&Outcome) + Send,
) -> anyhow::Result<Outcome> {
    let site = Site::new(plan)?;
    let begun = Instant::now();
    let mut round = plan.first_round;
    let seen = thread::scope(|scope| {
        let watcher = Watcher {
            pool: &site.pool,
            tally: &site.tally,
            stop: &site.stop,
            interrupted,
            deadline: plan.duration.and_then(|duration| begun.checked_add(duration)),
            status_interval: plan.status_interval,
            stall_after: plan.stall_after,
        };
        let site = &site;
        let watching = scope.spawn(move || {
            watcher.watch(print, |seen| give_up(&site.outcome(plan, begun.elapsed(), seen)))
        });
        if let Err(violation) = site.plant() {
            site.stop.broken(violation);
        }
        let mut left = plan.operations;
        while !site.stop.is_stopped() && left != Some(0) {
            let each = left.map_or(round_operations(plan.threads), |left| {
                left.div_ceil(u64::from(plan.threads)).min(round_operations(plan.threads))
            });
            site.round(plan.seed, round, each);
            left = left.map(|left| left.saturating_sub(each * u64::from(plan.threads)));
            round += 1;
        }
        site.stop.over.store(true, Ordering::Release);
        watching.thread().unpark();
        watching.join().unwrap_or_else(|payload| {
            let message = message_of(&*payload);
            site.stop.broken(Violation::answer("the watcher panicked", message));
            Seen::default()
        })
    });
    let wall = begun.elapsed();
    if site.stop.what_broke().is_none()
        && let Err(violation) = site.settled().end()
    {
        site.stop.broken(violation);
    }
    Ok(site.outcome(plan, wall, seen))
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(operations: u64) -> Plan {
        Plan {
            seed: 1,
            threads: 4,
            blocks: 1_000,
            first_round: 0,
            duration: None,
            operations: Some(operations),
            status_interval: Duration::MAX,
            stall_after: Duration::MAX,
            plant: None,
        }
    }

    fn run(plan: &Plan) -> Outcome {
        super::run(plan, &AtomicBool::new(false), |_| {}, |_| {}).unwrap()
    }

    #[test]
    fn all_phases_hold_and_every_action_is_counted() {
        let all = 4 * 4 * round_operations(4);
        let outcome = run(&plan(all));
        assert!(matches!(outcome.ending, Ending::Held), "{:?}", outcome.ending);
        assert_eq!((outcome.rounds, outcome.counts.operations()), (4, all));
        assert!(outcome.counts.actions.iter().all(|count| *count > 0));
        assert!(outcome.counts.refused > 0 && outcome.counts.granted > 0);
        assert!(outcome.seen.snapshots > 0);
    }

    #[test]
    fn one_thread_and_the_smallest_pool_hold_too() {
        // The second round: in the first nobody may take anything of a pool with fewer blocks than threads.
        for (threads, blocks) in [(1, 1), (1, 100), (3, 2), (2, 65)] {
            let plan = Plan { threads, blocks, first_round: 1, ..plan(2_000) };
            let outcome = run(&plan);
            assert!(matches!(outcome.ending, Ending::Held), "{plan:?}: {:?}", outcome.ending);
        }
    }

    #[test]
    fn a_run_in_which_nobody_had_a_block_shows_nothing() {
        let outcome = run(&Plan { threads: 3, blocks: 2, ..plan(2_000) });
        assert!(matches!(outcome.ending, Ending::Idle), "{:?}", outcome.ending);
        assert_eq!(outcome.counts.granted, 0);
    }

    #[test]
    fn many_threads_go_through_all_phases_as_well() {
        let rounds = |threads: u16| 4_000_000 / (round_operations(threads) * u64::from(threads));
        assert_eq!([1, 4, 32].map(rounds), [80, 20, 20]);
        let outcome = run(&Plan { threads: 32, blocks: 64, ..plan(4 * 200_000) });
        assert!(matches!(outcome.ending, Ending::Held), "{:?}", outcome.ending);
        assert_eq!(outcome.rounds, 4);
    }

    #[test]
    fn a_planted_double_hand_out_is_seen_by_a_worker() {
        let outcome = run(&Plan { plant: Some(Plant::Double), ..plan(100_000) });
        let Ending::Broken(broken) = outcome.ending else { panic!("{:?}", outcome.ending) };
        assert!(matches!(broken.violation, Violation::GivenTwice { .. }), "{broken:?}");
        assert!(broken.thread.is_some());
        assert_eq!(broken.round, 0);
    }

    #[test]
    fn a_planted_leak_is_seen_by_the_check() {
        let outcome = run(&Plan { plant: Some(Plant::Leak), ..plan(100) });
        let Ending::Broken(broken) = outcome.ending else { panic!("{:?}", outcome.ending) };
        assert!(
            matches!(broken.violation, Violation::WrongCharge { charged: 1, .. }),
            "{broken:?}"
        );
        assert_eq!(broken.thread, None);
    }

    #[test]
    fn an_interrupted_run_ends_settled() {
        let endless = Plan { operations: None, ..plan(0) };
        let outcome = super::run(&endless, &AtomicBool::new(true), |_| {}, |_| {}).unwrap();
        assert!(matches!(outcome.ending, Ending::Interrupted), "{:?}", outcome.ending);
    }

    #[test]
    fn a_round_can_be_run_alone() {
        let outcome = run(&Plan { first_round: 2, ..plan(4_000) });
        assert!(matches!(outcome.ending, Ending::Held), "{:?}", outcome.ending);
        assert_eq!(outcome.rounds, 1);
        assert!(outcome.counts.actions[crate::phases::Action::UnregisterCommon as usize] > 0);
    }
}
