//! Killing processes in the middle of flows, and finding out whether anything is lost or there twice.
//!
//! A child works at plans with several agents on a scripted model: each task calls tools, appends a line to a
//! document that all tasks of its plan share, and writes one of its own. The parent kills it at a random
//! instant, looks at everything, and starts the next one, which goes on. What must hold after every kill:
//!
//! - what was acknowledged as finished is completed;
//! - a completed task has one changeset with all its calls, one line in the shared document, and its own
//!   document, whole;
//! - a task that is not completed has none of these.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::agent::Agent;
use super::cancel::Cancel;
use super::flow::{Flow, FlowError, FlowOptions, Worker};
use super::turn::{Happening, Manner, Watch};
use crate::backend::Token;
use crate::backend::scripted::{Script, ScriptedBackend};
use crate::engine::{Engine, EngineConfig, EngineError};
use crate::store::crash::{self, CrashError, CrashReport};
use crate::store::{
    Changeset, Durability, NewTask, Plan, PlanId, Scope, SqliteStore, Store, StoreError,
    StoreOptions, Task, TaskStatus,
};

/// Tasks of each plan; each fourth waits for the one before.
const TASKS: usize = 12;
/// Calls of each task.
const CALLS: usize = 3;
const LOG: &str = "log";

/// A task that is finished for good: its plan and its key.
pub type Finished = (PlanId, String);

/// Why a child cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The flow said no.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// The engine said no.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// In the first round three calls, then the mark.
fn model() -> Script {
    Script::Custom(Arc::new(|prompt: &[Token], drawn: usize| {
        let bytes: Vec<u8> = prompt.iter().filter_map(|token| u8::try_from(token.0).ok()).collect();
        let prompt = String::from_utf8_lossy(&bytes);
        let key = prompt.split("Your task: ").nth(1).and_then(|rest| rest.lines().next());
        let key = key.unwrap_or_default();
        let says = match prompt.matches("assistant: ").count() {
            1 => format!("CALL list\nCALL append {LOG}: {key}\nCALL write doc-{key}: {key}"),
            _ => format!("TASK_COMPLETE {key}"),
        };
        says.as_bytes().get(drawn).map(|byte| Token(i32::from(*byte)))
    }))
}

/// Tells what is finished.
struct Telling<F>(PlanId, F);

impl<F: Fn(Finished) + Sync> Watch for Telling<F> {
    fn see(&self, _agent: &Agent, happening: &Happening<'_>) {
        if let Happening::Finished(key) = happening {
            (self.1)((self.0, (*key).to_owned()));
        }
    }
}

/// A child's work: `agents` agents do plan after plan, until the process is killed. `acknowledge` is told of
/// every task that is finished for good.
///
/// # Errors
/// [`WorkError`].
pub fn work(
    path: &Path,
    agents: usize,
    acknowledge: impl Fn(Finished) + Sync,
) -> Result<(), WorkError> {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(path, StoreOptions::default())?);
    let backend = ScriptedBackend::builder(model())
        .cells(65_536)
        .tokens_per_sequence(4_096)
        .batch_rows(2_048)
        .build();
    let engine = Engine::start(backend, EngineConfig::default())?;
    let workers =
        (0..agents.max(1)).map(|number| Worker::new(format!("a{number}"), Manner::default()));
    let presence = Some(path.with_extension("runs"));
    let options =
        FlowOptions { lease: Duration::from_hours(1), presence, ..FlowOptions::default() };
    let flow = Flow::new(engine, Arc::clone(&store), workers, options)?;
    loop {
        let plan = match store.plans()?.last() {
            Some(plan) if is_left(&*store, plan)? => plan.id,
            _ => store.create_plan("tormented", &tasks(), Durability::Durable)?,
        };
        flow.run(plan, &Cancel::new(), &Telling(plan, &acknowledge))?;
    }
}

fn tasks() -> Vec<NewTask> {
    let task = |number: usize| {
        let task = NewTask::new(number.to_string(), number.to_string());
        if number % 4 == 3 { task.after((number - 1).to_string()) } else { task }
    };
    (0..TASKS).map(task).collect()
}

/// Whether something is left to be done.
fn is_left(store: &dyn Store, plan: &Plan) -> Result<bool, StoreError> {
    Ok(store.tasks(plan.id)?.iter().any(|task| !task.status.is_final()))
}

/// Starts a child with `command`, kills it at a random instant, checks everything, and so on, `kills` times.
/// `finished` finds in a line of a child's output what it acknowledges, if anything.
///
/// # Errors
/// [`CrashError`] at the first promise that is not kept.
pub fn torment(
    path: &Path,
    kills: u32,
    seed: u64,
    mut command: impl FnMut() -> Command,
    finished: impl Fn(&str) -> Option<Finished>,
) -> Result<CrashReport, CrashError> {
    let mut random = seed;
    let mut told = BTreeSet::new();
    let mut report = CrashReport::default();
    for number in 1..=kills {
        let count = crash::next(&mut random) % 12;
        let longer = Duration::from_micros(crash::next(&mut random) % 20_000);
        let failed = |source| CrashError::Child { number, source };
        let lines = crash::kill(&mut command(), count, longer, &finished).map_err(failed)?;
        report.kills = number;
        let violated = |what| CrashError::Violation { kills: number, what };
        for task in lines {
            if !told.insert(task.clone()) {
                return Err(violated(format!(
                    "task {} of plan {} was finished twice",
                    task.1, task.0
                )));
            }
        }
        let unreadable = |source| CrashError::Unreadable { kills: number, source };
        let found = look(path, &told).map_err(unreadable)?.map_err(violated)?;
        report.completed = found.completed;
        report.claimed = found.claimed;
        report.in_the_middle += u32::from(found.middle);
    }
    Ok(report)
}

/// What was found, if all of it is as it should be.
#[derive(Default)]
struct Found {
    completed: u64,
    claimed: u64,
    middle: bool,
}

fn look(path: &Path, told: &BTreeSet<Finished>) -> Result<Result<Found, String>, StoreError> {
    let store = SqliteStore::open(path, StoreOptions::default())?;
    store.verify()?;
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    for plan in store.plans()? {
        let scope = Scope::Plan(plan.id);
        let log = store.document(&scope, LOG)?.map(|log| log.content).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
        log.lines().for_each(|line| *lines.entry(line).or_default() += 1);
        let changesets = store.changesets(plan.id)?;
        let tasks = store.tasks(plan.id)?;
        for task in &tasks {
            found.claimed += u64::from(task.attempt);
            found.middle |= matches!(task.status, TaskStatus::Assigned | TaskStatus::InProgress);
            let own = store.document(&scope, &format!("doc-{}", task.key))?;
            let own = own.map(|own| String::from_utf8_lossy(&own.content).into_owned());
            let line = lines.get(&*task.key).copied().unwrap_or(0);
            if let Err(what) = check(task, line, own.as_deref(), &changesets) {
                return Ok(Err(format!("plan {}, task {}: {what}", plan.id, task.key)));
            }
            if task.status == TaskStatus::Completed {
                found.completed += 1;
                seen.insert((plan.id, task.key.clone()));
            }
        }
        if tasks.len() != TASKS {
            return Ok(Err(format!("plan {} has {} of its {TASKS} tasks", plan.id, tasks.len())));
        }
    }
    Ok(match told.iter().find(|task| !seen.contains(task)) {
        Some((plan, key)) => Err(format!("plan {plan}, task {key} was finished, and is not")),
        None => Ok(found),
    })
}

/// All that a completed task leaves is there once, and nothing of any other.
fn check(
    task: &Task,
    lines: usize,
    own: Option<&str>,
    changesets: &[Changeset],
) -> Result<(), String> {
    let title = format!("{}, attempt ", task.key);
    let mine: Vec<_> = changesets.iter().filter(|it| it.title.starts_with(&title)).collect();
    let left = (lines, own.is_some(), mine.len());
    match task.status {
        TaskStatus::Failed | TaskStatus::Skipped => Err(format!("it is {}", task.status)),
        TaskStatus::Completed if left != (1, true, 1) => Err(format!(
            "it is completed, with {lines} lines, {} changesets, its document: {}",
            mine.len(),
            own.is_some()
        )),
        TaskStatus::Completed => {
            let [changeset] = mine[..] else { return Ok(()) };
            let calls = changeset.tool_calls.len();
            if !changeset.sealed || calls != CALLS || changeset.changes.len() != 2 {
                return Err(format!("its changeset has {calls} of its {CALLS} calls"));
            }
            if own != Some(&*task.key) || task.outcome.as_deref() != Some(&*task.key) {
                return Err("its document or its result is another one's".to_owned());
            }
            Ok(())
        }
        _ if left != (0, false, 0) => Err(format!("it is {}, and left something", task.status)),
        _ => Ok(()),
    }
}
