//! What a store promises about crashes, tried: children are killed at random instants under load, and
//! after each kill everything that was acknowledged must be there, once, and whole.
//!
//! A child calls [`work`] and passes on what it acknowledges; a parent calls [`torment`] with a command that
//! starts such a child. `cargo run -p latchless-engine --example store_crash` is both.
//!
//! A killed process loses nothing that the system has: this does not show what a loss of power does. For
//! that, SQLite's own tests stand, and its promise for `synchronous = FULL`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::hint;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::{
    Change, Changeset, Claim, Durability, Expect, NewTask, PlanId, Scope, SqliteStore, Store,
    StoreError, StoreOptions, Task, TaskId, TaskStatus,
};

/// Tasks of each plan.
const TASKS: usize = 20;
/// Of so many, each waits for the one before.
const CHAIN: usize = 5;
/// Changes that are recorded together.
const CHANGES: usize = 3;
const DOCUMENT: &str = "report";
const LEASE: Duration = Duration::from_hours(1);

/// What a child has been told is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// A plan with its tasks.
    Plan(PlanId),
    /// A claim: task and attempt.
    Claimed(TaskId, u32),
    /// A completed task, and by which attempt.
    Completed(TaskId, u32),
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(plan) => write!(f, "plan {plan} 0"),
            Self::Claimed(task, attempt) => write!(f, "claimed {task} {attempt}"),
            Self::Completed(task, attempt) => write!(f, "completed {task} {attempt}"),
        }
    }
}

impl FromStr for Acknowledged {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or(());
        let (what, id, attempt) = (word()?, word()?, word()?);
        let (id, attempt) = (id.parse().map_err(drop)?, attempt.parse().map_err(drop)?);
        match what {
            "plan" => Ok(Self::Plan(PlanId(id))),
            "claimed" => Ok(Self::Claimed(TaskId(id), attempt)),
            "completed" => Ok(Self::Completed(TaskId(id), attempt)),
            _ => Err(()),
        }
    }
}

/// What was found in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CrashReport {
    /// Children that were killed.
    pub kills: u32,
    /// Kills that left tasks claimed: they came in the middle of something.
    pub in_the_middle: u32,
    /// Claims that were acknowledged.
    pub claimed: u64,
    /// Tasks that were completed, acknowledged or not.
    pub completed: u64,
}

/// A promise that was not kept, or a test that could not be run.
#[derive(Debug, Error)]
pub enum CrashError {
    /// Something that was acknowledged is not there, is there twice, or is not whole.
    #[error("after {kills} kills: {what}")]
    Violation {
        /// Kills so far.
        kills: u32,
        /// What was found.
        what: String,
    },
    /// The database cannot be opened or read.
    #[error("after {kills} kills the store is unreadable: {source}")]
    Unreadable {
        /// Kills so far.
        kills: u32,
        /// What it said.
        source: StoreError,
    },
    /// A child could not be started, or ended by itself.
    #[error("child {number}: {source}")]
    Child {
        /// Its number.
        number: u32,
        /// What was wrong.
        source: io::Error,
    },
}

/// A child's work: `threads` threads claim, record, write and complete, and make new plans when there is
/// nothing to claim, until the process is killed.
///
/// # Errors
/// What the store said.
///
/// # Panics
/// When `acknowledge` does: a child whose parent is gone must end.
pub fn work(
    path: &Path,
    threads: usize,
    acknowledge: impl Fn(Acknowledged) + Sync,
) -> Result<(), StoreError> {
    let store = SqliteStore::open(path, StoreOptions::default())?;
    // Whoever had a claim was killed.
    let mut gone = BTreeSet::new();
    for plan in store.plans()? {
        let held = |task: Task| if claimed(&task) { task.agent } else { None };
        gone.extend(store.tasks(plan.id)?.into_iter().filter_map(held));
    }
    for agent in gone {
        store.take_back(Some(&agent), Durability::Relaxed)?;
    }
    thread::scope(|scope| {
        let agents: Vec<_> = (0..threads.max(1))
            .map(|number| {
                let (store, acknowledge) = (&store, &acknowledge);
                scope.spawn(move || -> Result<(), StoreError> {
                    let agent = format!("agent {number}");
                    loop {
                        match store.claim(&agent, "any", LEASE, Durability::Durable)? {
                            Some(claim) => turn(store, &claim, acknowledge)?,
                            None => plan(store, acknowledge)?,
                        }
                    }
                })
            })
            .collect();
        for agent in agents {
            match agent.join() {
                Ok(ended) => ended?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    })
}

fn plan(store: &impl Store, acknowledge: &impl Fn(Acknowledged)) -> Result<(), StoreError> {
    let task = |number: usize| {
        let task = NewTask::new(number.to_string(), "count");
        if number.is_multiple_of(CHAIN) { task } else { task.after((number - 1).to_string()) }
    };
    let tasks: Vec<_> = (0..TASKS).map(task).collect();
    let plan = store.create_plan("tormented", &tasks, Durability::Durable)?;
    acknowledge(Acknowledged::Plan(plan));
    Ok(())
}

/// One task, from claimed to completed. What is relaxed here comes before the durable end, so it must be
/// there when the end is.
fn turn(
    store: &impl Store,
    claim: &Claim,
    acknowledge: &impl Fn(Acknowledged),
) -> Result<(), StoreError> {
    let Claim { task, plan, attempt, .. } = *claim;
    acknowledge(Acknowledged::Claimed(task, attempt));
    store.start(claim, Durability::Relaxed)?;
    let change = |number| Change {
        kind: "edit".into(),
        target: format!("{task}:{attempt}"),
        body: format!("{number}"),
    };
    let changes: Vec<_> = (0..CHANGES).map(change).collect();
    if let Err(error) = store.record_changes(plan, &changes, Durability::Relaxed) {
        if !matches!(error, StoreError::NoChangeset(_)) {
            return Err(error);
        }
        store.start_changeset(plan, "work", Durability::Relaxed)?;
        store.record_changes(plan, &changes, Durability::Relaxed)?;
    }
    let scope = Scope::Task(task);
    let content = document(task, attempt);
    store.put_document(&scope, DOCUMENT, &content, Expect::Anything, Durability::Relaxed)?;
    store.complete(claim, &attempt.to_string(), Durability::Durable)?;
    acknowledge(Acknowledged::Completed(task, attempt));
    Ok(())
}

/// A document in which half of another one shows.
fn document(task: TaskId, attempt: u32) -> Vec<u8> {
    format!("{task}:{attempt};").repeat(300).into_bytes()
}

fn claimed(task: &Task) -> bool {
    matches!(task.status, TaskStatus::Assigned | TaskStatus::InProgress)
}

/// Starts a child with `command`, kills it at a random instant, checks everything, and so on, `kills`
/// times. `acknowledged` finds in a line of a child's output what it acknowledges, if anything.
///
/// # Errors
/// [`CrashError`] at the first promise that is not kept.
pub fn torment(
    path: &Path,
    kills: u32,
    seed: u64,
    mut command: impl FnMut() -> Command,
    acknowledged: impl Fn(&str) -> Option<Acknowledged>,
) -> Result<CrashReport, CrashError> {
    let mut random = seed;
    let mut told = Told::default();
    let mut report = CrashReport::default();
    for number in 1..=kills {
        let count = 1 + next(&mut random) % 60;
        let longer = Duration::from_micros(next(&mut random) % 2_000);
        let failed = |source| CrashError::Child { number, source };
        let lines = kill(&mut command(), count, longer, &acknowledged).map_err(failed)?;
        report.kills = number;
        let violated = |what| CrashError::Violation { kills: number, what };
        for line in lines {
            told.take(line).map_err(violated)?;
        }
        let unreadable = |source| CrashError::Unreadable { kills: number, source };
        let seen = Seen::read(path).map_err(unreadable)?;
        let (completed, middle) = told.check(&seen).map_err(violated)?;
        report.completed = completed;
        report.in_the_middle += u32::from(middle);
        report.claimed = told.claimed.len() as u64;
    }
    Ok(report)
}

/// SplitMix64 (Steele, Lea, Flood, 2014).
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Lets a child acknowledge `count` times and run for `longer`, and kills it.
pub(crate) fn kill<T>(
    command: &mut Command,
    count: u64,
    longer: Duration,
    acknowledged: &impl Fn(&str) -> Option<T>,
) -> io::Result<Vec<T>> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut lines = BufReader::new(stdout).lines();
    let mut all = Vec::new();
    while (all.len() as u64) < count {
        let Some(line) = lines.next() else {
            let status = child.wait()?;
            return Err(io::Error::other(format!("it ended by itself: {status}")));
        };
        all.extend(acknowledged(&line?));
    }
    // The instant is to be anywhere; nothing waits for it.
    let start = Instant::now();
    while start.elapsed() < longer {
        hint::spin_loop();
    }
    child.kill()?;
    child.wait()?;
    // What it had told before counts, except for a line that it did not finish.
    for line in lines {
        all.extend(acknowledged(&line?));
    }
    Ok(all)
}

/// What all children acknowledged.
#[derive(Debug, Default)]
struct Told {
    plans: BTreeSet<PlanId>,
    claimed: HashSet<(TaskId, u32)>,
    last_attempt: BTreeMap<TaskId, u32>,
    completed: BTreeMap<TaskId, u32>,
}

impl Told {
    fn take(&mut self, line: Acknowledged) -> Result<(), String> {
        match line {
            Acknowledged::Plan(plan) => drop(self.plans.insert(plan)),
            Acknowledged::Claimed(task, attempt) => {
                if !self.claimed.insert((task, attempt)) {
                    return Err(format!("task {task} was claimed twice, attempt {attempt}"));
                }
                if self.completed.contains_key(&task) {
                    return Err(format!("task {task} was claimed after it was completed"));
                }
                let last = self.last_attempt.entry(task).or_default();
                *last = attempt.max(*last);
            }
            Acknowledged::Completed(task, attempt) => {
                if self.completed.insert(task, attempt).is_some() {
                    return Err(format!("task {task} was completed twice"));
                }
            }
        }
        Ok(())
    }

    /// Completed tasks, and whether the kill left any claimed.
    fn check(&self, seen: &Seen) -> Result<(u64, bool), String> {
        if let Some(lost) = self.plans.iter().find(|plan| !seen.plans.contains_key(plan)) {
            return Err(format!("plan {lost} is lost"));
        }
        let (mut completed, mut middle) = (0, false);
        for (plan, (tasks, changesets)) in &seen.plans {
            if tasks.len() != TASKS {
                return Err(format!("plan {plan} has {} of its {TASKS} tasks", tasks.len()));
            }
            let recorded = recorded(changesets)?;
            for (number, task) in tasks.iter().enumerate() {
                self.check_task(seen, task, &recorded)?;
                let waits =
                    number % CHAIN != 0 && tasks[number - 1].status != TaskStatus::Completed;
                if task.waiting != u32::from(waits) {
                    return Err(format!("task {} waits for {} tasks", task.id, task.waiting));
                }
                completed += u64::from(task.status == TaskStatus::Completed);
                middle |= claimed(task);
            }
        }
        Ok((completed, middle))
    }

    fn check_task(
        &self,
        seen: &Seen,
        task: &Task,
        recorded: &HashSet<String>,
    ) -> Result<(), String> {
        let Task { id, status, attempt, .. } = *task;
        let told = self.completed.get(&id);
        if let (Some(told), false) = (told, status == TaskStatus::Completed) {
            return Err(format!("task {id}, completed by attempt {told}, is {status}"));
        }
        if self.last_attempt.get(&id).is_some_and(|last| *last > attempt) {
            return Err(format!("task {id} has forgotten attempts: {attempt}"));
        }
        let document = seen.documents.get(&id);
        let whole = |found: &Vec<u8>| (1..=attempt).any(|each| *found == self::document(id, each));
        if document.is_some_and(|found| !whole(found)) {
            return Err(format!("the document of task {id} is not whole"));
        }
        if status != TaskStatus::Completed {
            let given_up = status.is_final();
            return if given_up { Err(format!("task {id} is {status}")) } else { Ok(()) };
        }
        if task.outcome.as_deref() != Some(&attempt.to_string())
            || told.is_some_and(|told| *told != attempt)
        {
            return Err(format!("task {id} was completed by another attempt"));
        }
        if document.is_none() || !recorded.contains(&format!("{id}:{attempt}")) {
            return Err(format!("task {id} is completed, and what it did before is lost"));
        }
        Ok(())
    }
}

/// Whose changes are there; an error when a part of those that were recorded together is missing.
fn recorded(changesets: &[Changeset]) -> Result<HashSet<String>, String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for change in changesets.iter().flat_map(|changeset| &changeset.changes) {
        *counts.entry(&change.target).or_default() += 1;
    }
    match counts.iter().find(|(_, count)| **count != CHANGES) {
        Some((target, count)) => Err(format!("{target} has {count} of its {CHANGES} changes")),
        None => Ok(counts.into_keys().map(str::to_owned).collect()),
    }
}

/// What is in the database.
struct Seen {
    plans: BTreeMap<PlanId, (Vec<Task>, Vec<Changeset>)>,
    documents: BTreeMap<TaskId, Vec<u8>>,
}

impl Seen {
    fn read(path: &Path) -> Result<Self, StoreError> {
        let store = SqliteStore::open(path, StoreOptions::default())?;
        store.verify()?;
        let mut seen = Self { plans: BTreeMap::new(), documents: BTreeMap::new() };
        for plan in store.plans()? {
            let tasks = store.tasks(plan.id)?;
            for task in &tasks {
                if let Some(found) = store.document(&Scope::Task(task.id), DOCUMENT)? {
                    seen.documents.insert(task.id, found.content);
                }
            }
            seen.plans.insert(plan.id, (tasks, store.changesets(plan.id)?));
        }
        Ok(seen)
    }
}
