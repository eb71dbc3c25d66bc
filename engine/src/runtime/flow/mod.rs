//! Several agents and a plan: every task is claimed by one of them at a time, done once, and what it waits for
//! comes before it.
//!
//! ```text
//!            store: tasks, claims, leases (the truth, for all processes)
//!              ▲ claim_in                    ▲ finish: one write    ▲ renew
//!   worker ────┴─ slot ── turn ──────────────┘                     │
//!   worker ────── slot ── turn ── engine, tools                     │
//!   pulse ── cleans up silent agents, takes back what gone processes had ┘
//! ```
//!
//! # What waits for what
//!
//! A worker waits for work, for its turn, and for the disk; workers never wait for each other. The pulse is a
//! thread of its own: it renews the claims of agents that give signs of life, and tells a turn whose claim is
//! lost to end. A turn that learns of it too late is refused by the store.
//!
//! # Memory and disk
//!
//! Claims are made in the store and nowhere else: several processes may work at one plan, and a queue in
//! memory beside it could only be wrong. The core's [`TaskQueue`](latchless::TaskQueue) is for hosts whose
//! tasks need not outlive them. What a turn does stays in memory until its end.
//!
//! # After a kill
//!
//! A process that works at a plan holds the lock of a file, if the flow has a
//! [folder](FlowOptions::presence) for these. The system lets go of it however the process ends, so
//! another one, or the next, sees that it is gone and takes back its claims at once. Without the folder they
//! come back when their leases end.

mod plan_file;
mod presence;
mod pulse;
mod worker;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use latchless::{OutboxCapacity, SpawnLimit};
use thiserror::Error;

pub use self::plan_file::{PlanAgent, PlanFile, PlanFileError, PlanTask};
pub use self::presence::PresenceError;

use self::presence::Presence;
use self::pulse::{Leases, Pulse};
use super::agent::Agent;
use super::cancel::{Cancel, CancelReason};
use super::spawner::Spawner;
use super::turn::{Manner, Program, Watch};
use crate::engine::Engine;
use crate::store::{ANY_AGENT, Claim, Durability, PlanId, Store, StoreError, TaskCounts, TaskId};

/// What a host chooses about a flow.
#[derive(Debug, Clone)]
pub struct FlowOptions {
    /// The longest that a claim stands without being renewed; 30 seconds unless chosen. Leases are as long as
    /// this until it is known how long renewals take.
    pub lease: Duration,
    /// The shortest; 15 seconds unless chosen. Claims are renewed three times as often. In between, a lease is
    /// three times what passes between two renewals of a claim, with its deviations: so tasks of a machine that
    /// is gone come back soon, and a machine that is slow or stops now and then keeps its own. As long as
    /// [`lease`](Self::lease), or longer, it makes leases fixed.
    pub shortest_lease: Duration,
    /// The longest that an agent gives no sign of life; 15 minutes unless chosen. One that waits for the first
    /// token of a reply gives none: longer than a [reply may take](Manner::time_limit).
    pub patience: Duration,
    /// Agents that run at once; all of them unless chosen.
    pub limit: Option<usize>,
    /// Turns of one task that may fail before it is given up; 3 unless chosen. Interruptions do not count.
    pub failures: u32,
    /// Where processes that work at the same store show that they are there. It should be beside the store.
    pub presence: Option<PathBuf>,
}

impl Default for FlowOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            shortest_lease: Duration::from_secs(15),
            patience: Duration::from_mins(15),
            limit: None,
            failures: 3,
            presence: None,
        }
    }
}

/// Chooses how a model goes about a task.
pub type Manners = Arc<dyn Fn(&Claim) -> Manner + Send + Sync>;

/// Who does an agent's tasks.
#[derive(Clone)]
pub enum Work {
    /// The flow's model.
    Model(Manners),
    /// A program.
    Program(Program),
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(_) => f.write_str("Model"),
            Self::Program(program) => f.debug_tuple("Program").field(program).finish(),
        }
    }
}

/// An agent of a flow.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Its name: no other agent of the flow has it.
    pub name: String,
    /// What kind of tasks it does, beside those for anybody.
    pub kind: String,
    /// Who does them.
    pub work: Work,
}

impl Worker {
    /// An agent that goes about every task in the same manner.
    pub fn new(name: impl Into<String>, manner: Manner) -> Self {
        Self::choosing(name, Arc::new(move |_: &Claim| manner.clone()))
    }

    /// An agent whose manner depends on the task.
    pub fn choosing(name: impl Into<String>, manners: Manners) -> Self {
        Self { name: name.into(), kind: ANY_AGENT.to_owned(), work: Work::Model(manners) }
    }

    /// An agent whose tasks a program does.
    pub fn program(name: impl Into<String>, program: Program) -> Self {
        Self { name: name.into(), kind: ANY_AGENT.to_owned(), work: Work::Program(program) }
    }

    /// The same for tasks of this kind, too.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }
}

/// Why a flow could not begin or go on. What is done is done, and the next run goes on from there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FlowError {
    /// Nobody works.
    #[error("the flow has no agents; give it at least one")]
    NoAgents,
    /// Two agents with one name.
    #[error("two agents are called {name:?}; name them apart")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A task that no agent does.
    #[error(
        "task {task:?} is for {kind:?}, and no agent is of this kind; add one, or let any do it"
    )]
    NobodyFor {
        /// The task.
        task: String,
        /// What kind of agent it is for.
        kind: String,
    },
    /// There is no such plan.
    #[error("there is no plan {0} in the store; create it first")]
    UnknownPlan(PlanId),
    /// No such limit can be.
    #[error(transparent)]
    Limit(#[from] SpawnLimit),
    /// An agent's outbox was not made.
    #[error(transparent)]
    Outbox(#[from] OutboxCapacity),
    /// The folder in which processes show that they are there cannot be used.
    #[error(transparent)]
    Presence(#[from] PresenceError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no thread.
    #[error("no thread for {name}: {source}; run fewer agents")]
    Thread {
        /// For whom.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The engine was shut down under way.
    #[error("the engine was shut down; start it again, and run the flow again")]
    EngineClosed,
    /// A lease that cannot be renewed in time.
    #[error("a lease of {} ms is too short; give it at least 100", lease.as_millis())]
    Lease {
        /// The lease.
        lease: Duration,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowReport {
    /// Where the plan's tasks are.
    pub tasks: TaskCounts,
    /// Whether nothing is left to be done.
    pub is_over: bool,
    /// Turns of this run that came to their end.
    pub finished: u64,
    /// Turns of this run that did not: their tasks went back, or were given up.
    pub stopped: u64,
    /// Tasks that this run took back from processes that were gone.
    pub taken_back: u64,
    /// The longest that a task of this run had waited when it was claimed, since it was submitted; `None` when
    /// nothing was claimed of which that is known.
    pub longest_wait: Option<Duration>,
    /// How long a claim was leased for at the end.
    pub lease: Duration,
    /// How long it took.
    pub wall: Duration,
}

/// Agents that do the tasks of a plan.
///
/// ```
/// use std::sync::Arc;
/// use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// use latchless_engine::runtime::Cancel;
/// use latchless_engine::runtime::flow::{Flow, FlowOptions, Worker};
/// use latchless_engine::runtime::tools::Toolbox;
/// use latchless_engine::runtime::turn::{Manner, Nobody};
/// use latchless_engine::store::{Durability::Durable, NewTask, SqliteStore, Store, StoreOptions};
/// use latchless_engine::{Engine, EngineConfig};
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("agents.db");
///
/// // With a model: a `LlamaContext` in place of the script.
/// let says = Script::Text("TASK_COMPLETE It is done.".into());
/// let engine = Engine::start(ScriptedBackend::builder(says).build(), EngineConfig::default())?;
/// let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&file, StoreOptions::default())?);
/// let tasks = [NewTask::new("build", "Build it."), NewTask::new("ship", "Ship it.").after("build")];
/// let plan = store.create_plan("release", &tasks, Durable)?;
///
/// let manner = Manner { tools: Toolbox::new(), ..Manner::default() };
/// let agents = ["ada", "ben"].map(|name| Worker::new(name, manner.clone()));
/// let flow = Flow::new(engine, store, agents, FlowOptions::default())?;
/// let report = flow.run(plan, &Cancel::new(), &Nobody)?;
/// assert_eq!((report.tasks.completed, report.is_over), (2, true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Flow {
    engine: Option<Engine>,
    store: Arc<dyn Store>,
    workers: Vec<(Arc<Agent>, Work)>,
    options: FlowOptions,
    spawner: Spawner,
}

/// What the threads of one run share.
struct Run<'a> {
    flow: &'a Flow,
    plan: PlanId,
    cancel: &'a Cancel,
    watch: &'a dyn Watch,
    pulse: Pulse,
    /// What the claims of this run are made under, behind the agents' names.
    suffix: String,
    /// Turns that failed, by task.
    failures: Mutex<HashMap<TaskId, u32>>,
    tally: Mutex<[u64; 2]>,
    longest_wait: Mutex<Option<Duration>>,
    over: AtomicBool,
}

impl Flow {
    /// A flow of these agents, on this engine and this store.
    ///
    /// # Errors
    /// [`FlowError`].
    pub fn new(
        engine: impl Into<Option<Engine>>,
        store: Arc<dyn Store>,
        workers: impl IntoIterator<Item = Worker>,
        options: FlowOptions,
    ) -> Result<Self, FlowError> {
        let shortest = options.shortest_lease.min(options.lease);
        if shortest < Duration::from_millis(100) {
            return Err(FlowError::Lease { lease: shortest });
        }
        let mut agents: Vec<(Arc<Agent>, Work)> = Vec::new();
        for Worker { name, kind, work } in workers {
            if agents.iter().any(|(agent, _)| agent.name() == name) {
                return Err(FlowError::Duplicate { name });
            }
            agents.push((Arc::new(Agent::new(name, kind)?), work));
        }
        if agents.is_empty() {
            return Err(FlowError::NoAgents);
        }
        let spawner = Spawner::new(options.limit.unwrap_or(agents.len()), options.patience)?;
        Ok(Self { engine: engine.into(), store, workers: agents, options, spawner })
    }

    /// Its agents, for who looks on.
    pub fn agents(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.workers.iter().map(|(agent, _)| agent)
    }

    /// Who runs.
    pub fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// Lets the agents work until every task of the plan has ended, or until `cancel`. Tasks that other
    /// processes work at are waited for.
    ///
    /// # Errors
    /// [`FlowError`]. No agent works any more then; what was claimed is given back, or comes back.
    pub fn run(
        &self,
        plan: PlanId,
        cancel: &Cancel,
        watch: &dyn Watch,
    ) -> Result<FlowReport, FlowError> {
        let begun = Instant::now();
        self.check(plan)?;
        let presence = self.options.presence.as_deref().map(Presence::enter).transpose()?;
        let suffix = presence.as_ref().map_or_else(presence::new_run, |here| here.run().to_owned());
        let leases = Leases::new(self.options.shortest_lease, self.options.lease);
        let pulse = Pulse::new(Arc::clone(&self.store), leases, plan, presence);
        pulse.take_back_from_gone()?;
        let run = Run {
            flow: self,
            plan,
            cancel,
            watch,
            pulse,
            suffix,
            failures: Mutex::default(),
            tally: Mutex::default(),
            longest_wait: Mutex::default(),
            over: AtomicBool::new(false),
        };
        let worked = run.all();
        // Something durable after all that was given back, so that it is there when this returns.
        self.store.take_back(None, Durability::Durable)?;
        let tasks = self.store.task_counts(Some(plan))?;
        worked?;
        let [finished, stopped] = *run.tally.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(FlowReport {
            tasks,
            is_over: tasks.pending + tasks.assigned + tasks.in_progress == 0,
            finished,
            stopped,
            taken_back: run.pulse.taken_back(),
            longest_wait: *run.longest_wait.lock().unwrap_or_else(PoisonError::into_inner),
            lease: run.pulse.lease(),
            wall: begun.elapsed(),
        })
    }

    /// Whether somebody is there for every task that is left.
    fn check(&self, plan: PlanId) -> Result<(), FlowError> {
        if !self.store.plans()?.iter().any(|known| known.id == plan) {
            return Err(FlowError::UnknownPlan(plan));
        }
        for task in self.store.tasks(plan)? {
            let kind = &task.agent_type;
            let anybody = kind == ANY_AGENT || self.agents().any(|agent| agent.kind() == kind);
            if !task.status.is_final() && !anybody {
                return Err(FlowError::NobodyFor { task: task.key, kind: task.agent_type });
            }
        }
        Ok(())
    }
}

/// Stops the pulse.
struct Stop<'a>(&'a Cancel);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.cancel(CancelReason::Over);
    }
}

impl Run<'_> {
    /// A thread for each agent and one for the pulse, until the last agent has nothing to do.
    fn all(&self) -> Result<(), FlowError> {
        let stop = Cancel::new();
        thread::scope(|scope| {
            // The pulse ends also when this unwinds, or the scope would wait for it for ever.
            let stop = Stop(&stop);
            let named = |name: &str| thread::Builder::new().name(name.to_owned());
            let no_thread =
                |name: &str, source| FlowError::Thread { name: name.to_owned(), source };
            let told = stop.0;
            named("latchless-pulse")
                .spawn_scoped(scope, move || self.pulse.beat(&self.flow.spawner, told))
                .map_err(|error| no_thread("the pulse", error))?;
            let mut first = Ok(());
            let mut threads = Vec::new();
            for (agent, work) in &self.flow.workers {
                let work = || {
                    let worked = self.work(agent, work);
                    if worked.is_err() {
                        // The others find out at their next look.
                        self.over.store(true, Ordering::Release);
                    }
                    worked
                };
                match named(agent.name()).spawn_scoped(scope, work) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        self.over.store(true, Ordering::Release);
                        first = Err(no_thread(agent.name(), error));
                        break;
                    }
                }
            }
            for thread in threads {
                // A turn's panic is caught in its worker; what comes this far is ours.
                let worked = thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
                first = first.and(worked);
            }
            first
        })
    }

    /// Whether nobody is to begin anything any more.
    fn is_over(&self) -> bool {
        self.cancel.is_cancelled() || self.over.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("workers", &self.workers)
            .field("options", &self.options)
            .field("spawner", &self.spawner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
