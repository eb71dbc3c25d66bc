//! The engine under load, on the scripted backend or a real model: hosts submit, read, cancel and go while lanes step,
//! models are replaced and backends fail. Every stream ends with the reason that it must have, every answer
//! is what the script says, if there is one, and nothing is held when all have ended.

mod backends;
mod fleet;
mod garage;
mod generations;
mod host;
pub(crate) mod phases;
#[cfg(feature = "llama")]
mod real;
mod talk;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use latchless_engine::{CacheConfig, Engine as Inner, EngineConfig};

use self::fleet::{Fleet, Scripted};
use self::garage::Garage;
use self::generations::Generations;
use self::host::Host;
use self::phases::{Action, Deck, deck};
use self::talk::Talk;
use crate::crew::Ground;
use crate::crew::roll::Present;
use crate::fault::Rates;
use crate::part::{Fill, Kind, Part};
use crate::phase::Phase;
use crate::plan::Plan;
use crate::scratch::Scratch;
use crate::seed::generator;
use crate::tally::{Columns, Tally};
use crate::violation::Violation;

/// Threads that step lanes.
const STEPPERS: u16 = 2;
/// Beyond the numbers of threads: whose generators say whose readers are slow.
const READERS: u16 = 1 << 15;
/// Agents of each host.
const AGENTS: usize = 3;
/// How long what was replaced may take to go when nothing runs any more.
const PATIENCE: Duration = Duration::from_mins(1);

/// What comes of a decision.
#[derive(Debug, Clone, Copy)]
enum Came {
    Submitted,
    Refused,
    Completed,
    Cancelled,
    /// Ended by their deadline.
    Late,
    /// Ended by a fault of the backend.
    Failed,
    /// Streams that were dropped.
    Vanished,
    /// Requests whose readers are slow.
    Slow,
    Tokens,
    /// Tokens that came from the disk.
    Resumed,
    Swapped,
    FailedLoad,
    /// Files of the cache that were damaged or removed.
    Spoilt,
    /// Agents that left and came back.
    Left,
    /// Wakers that panicked.
    Panicked,
}

/// What is timed.
#[derive(Debug, Clone, Copy)]
enum Timed {
    Submit,
    Cancel,
    FirstToken,
}

static COLUMNS: Columns = Columns {
    actions: &Action::NAMES,
    outcomes: &[
        "submitted",
        "refused",
        "completed",
        "cancelled",
        "late",
        "failed by a fault",
        "vanished",
        "slow readers",
        "tokens",
        "tokens from disk",
        "swaps",
        "failed loads",
        "spoilt files",
        "agents that left",
        "wakers that panicked",
    ],
    needed: Came::Completed as usize,
    timed: &["submit", "cancel", "first token"],
};

/// An engine, and what is known of it.
struct Served<F: Fleet> {
    fleet: F,
    engine: Inner,
    garage: Garage<F::Backend>,
    talk: Talk,
    tally: Tally,
    deck: Deck,
    /// Whether backends fail.
    faults: bool,
    rates: Rates,
    generations: Mutex<Generations>,
    cache: Scratch,
}

impl<F: Fleet> Served<F> {
    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_sound(&self, generation: u64) -> bool {
        self.generations().is_sound(generation)
    }
}

/// The part, on the backends that the plan asks for.
pub(crate) fn make(plan: &Plan) -> anyhow::Result<Box<dyn Part>> {
    let Some(model) = &plan.model else {
        let faults = plan.faults.then_some(plan.rates);
        return Ok(Box::new(Engine::new(plan, Scripted { faults })?));
    };
    #[cfg(feature = "llama")]
    return Ok(Box::new(Engine::new(plan, real::Real::load(model)?)?));
    #[cfg(not(feature = "llama"))]
    anyhow::bail!(
        "{} needs llama.cpp, which is not built in; use `cargo xtask stress`, or build with \
         `--features llama`",
        model.display()
    )
}

/// The part.
struct Engine<F: Fleet> {
    served: Served<F>,
    hosts: u16,
    seed: u64,
}

impl<F: Fleet> Engine<F> {
    fn new(plan: &Plan, fleet: F) -> anyhow::Result<Self> {
        let hosts = plan.threads;
        let cache = Scratch::new()?;
        let mut rng = generator(plan.seed, Kind::Engine, u64::MAX, 0);
        let made = fleet.make(&mut rng)?;
        let config = EngineConfig::default()
            .max_agents(u32::from(hosts) * AGENTS as u32)
            .max_requests(u32::from(hosts) * 8)
            .stream_events(8)
            .cache(CacheConfig::new(cache.path(), fleet.cache_bytes()));
        let (engine, lanes) = Inner::with_lanes(made.backends, fleet.sizes(config))?;
        let garage = Garage::default();
        garage.park(lanes);
        let served = Served {
            engine,
            garage,
            talk: fleet.talk()?,
            fleet,
            tally: Tally::new(&COLUMNS),
            deck: deck(&plan.rates),
            faults: plan.faults,
            rates: plan.rates,
            generations: Mutex::new(Generations::new(made.is_sound)),
            cache,
        };
        Ok(Self { served, hosts, seed: plan.seed })
    }

    /// Steps until a condition holds; nobody else is there.
    fn step_until(
        &self,
        what: &'static str,
        present: &Present<'_>,
        done: impl Fn() -> bool,
    ) -> Result<(), Violation> {
        let begun = Instant::now();
        while !done() {
            if begun.elapsed() > PATIENCE {
                return Err(Violation::answer(what, self.served.engine.pending()));
            }
            present.beat();
            self.served.garage.step();
        }
        Ok(())
    }

    /// Decisions of each host in a round. A request takes a hundred steps and more: fewer than of the other
    /// parts.
    fn operations(&self) -> u64 {
        (4_000 / u64::from(self.hosts)).clamp(50, 1_000).div_ceil(self.served.fleet.slowness())
    }
}

impl<F: Fleet> Part for Engine<F> {
    fn kind(&self) -> Kind {
        Kind::Engine
    }

    fn threads(&self) -> u16 {
        self.hosts
    }

    fn round(&self, ground: &Ground, round: u64) {
        let operations = self.operations();
        let hosts = AtomicUsize::new(self.hosts.into());
        ground.round(Kind::Engine, round, self.hosts + STEPPERS, |thread, present| {
            if thread >= self.hosts {
                while hosts.load(Ordering::Acquire) > 0 {
                    present.beat();
                    self.served.garage.step();
                }
                return Ok(());
            }
            // Also when it panics: the steppers wait for it.
            let _leaves = Leaves(&hosts);
            let mut rng = generator(self.seed, Kind::Engine, round, thread);
            // Who is slow is drawn apart, so that it changes nothing in what is decided.
            let readers = generator(self.seed, Kind::Engine, round, READERS | thread);
            let phase = Phase::of_round(round);
            let mut host = Host::new(&self.served, &ground.stop, present, phase, readers)?;
            host.run(&mut rng, operations)
        });
    }

    fn check(&self, present: &Present<'_>) -> Result<(), Violation> {
        let engine = &self.served.engine;
        // Those whose readers have gone end by the steps that follow.
        self.step_until("requests end", present, || engine.pending().is_empty())?;
        self.served.generations().settle();
        for pool in engine.pools() {
            let (usage, census) = (pool.usage(), pool.census());
            if usage.used != 0 || census.free != census.total {
                return Err(Violation::answer("all blocks are free", (usage, census)));
            }
        }
        Ok(())
    }

    fn end(&self, present: &Present<'_>) -> Result<(), Violation> {
        let Served { engine, garage, .. } = &self.served;
        thread::scope(|scope| {
            // Beside the lanes, which are stepped here. Without a thread before them: they find it all the same.
            let beside = thread::Builder::new().spawn_scoped(scope, || engine.shutdown());
            if beside.is_err() {
                engine.shutdown();
            }
            self.step_until("lanes end", present, || garage.is_empty())
        })
    }

    fn look(&self) -> Result<Fill, Violation> {
        let mut fill = Fill::default();
        for pool in self.served.engine.pools() {
            let usage = pool.usage();
            fill.used += u64::from(usage.used);
            fill.total += u64::from(usage.total);
        }
        Ok(fill)
    }

    fn tally(&self) -> &Tally {
        &self.served.tally
    }
}

/// A host that leaves.
struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
