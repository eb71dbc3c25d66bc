//! The shadow: what children were told is durable. After each life the database is held against it: all of it
//! is there, whole and once, and nothing that contradicts it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use latchless_engine::store::{Changeset, Task, TaskStatus};

use super::found::{Found, FoundPlan};
use super::life::Life;
use super::told::Told;
use super::turn::{CALLS, CHANGES, is_report, title, waits};
use super::warm::Books;

/// What was acknowledged in a round.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    plans: BTreeMap<i64, usize>,
    claimed: HashSet<(i64, u32)>,
    last_attempt: BTreeMap<i64, u32>,
    /// Attempt and changeset.
    finished: BTreeMap<i64, (u32, i64)>,
    failed: BTreeMap<i64, u32>,
    recorded: BTreeSet<String>,
    noted: BTreeSet<String>,
    put_out: BTreeSet<String>,
    /// Lives in which a write may have been refused, and what was not durable with it.
    refusing: BTreeSet<u64>,
    /// What is told of the cache.
    pub(super) warm: Books,
}

type Checked = Result<(), String>;

impl Shadow {
    /// A life of this kind begins.
    pub(super) fn begin(&mut self, life: &Life) {
        if life.may_refuse() {
            self.refusing.insert(life.number);
        }
    }

    /// Takes what a child tells, which may contradict what was told before.
    pub(super) fn take(&mut self, told: &Told) -> Checked {
        match told {
            Told::Plan { plan, tasks } => drop(self.plans.insert(*plan, *tasks)),
            Told::Claimed { task, attempt, .. } => {
                if !self.claimed.insert((*task, *attempt)) {
                    return Err(format!("task {task} was claimed twice, attempt {attempt}"));
                }
                // A thread that was frozen tells later of a claim that was before.
                if self.ended(*task).is_some_and(|end| end < *attempt) {
                    return Err(format!("task {task} was claimed after its end"));
                }
                let last = self.last_attempt.entry(*task).or_default();
                *last = (*attempt).max(*last);
            }
            Told::Finished { task, attempt, changeset, .. } => {
                if self.ended(*task).is_some() {
                    return Err(format!("task {task} ended twice"));
                }
                self.finished.insert(*task, (*attempt, *changeset));
            }
            Told::Failed { task, attempt } => {
                if self.ended(*task).is_some() {
                    return Err(format!("task {task} ended twice"));
                }
                self.failed.insert(*task, *attempt);
            }
            Told::Recorded { mark, .. } => drop(self.recorded.insert(mark.clone())),
            Told::Noted { mark } => drop(self.noted.insert(mark.clone())),
            Told::PutOut { mark } => drop(self.put_out.insert(mark.clone())),
            Told::Broken(what) => return Err(what.clone()),
            Told::Kept(kept) => self.warm.take(kept),
            Told::Ready | Told::Did(_) | Told::Came(_) | Told::Froze(_) | Told::Lacks(_) => {}
        }
        Ok(())
    }

    /// The attempt that ended a task.
    fn ended(&self, task: i64) -> Option<u32> {
        let finished = self.finished.get(&task).map(|(attempt, _)| *attempt);
        finished.or_else(|| self.failed.get(&task).copied())
    }

    /// Holds the database against what was told.
    pub(super) fn check(&self, found: &Found) -> Checked {
        let mut marks = BTreeSet::new();
        for (plan, tasks) in &self.plans {
            match found.plans.get(plan) {
                Some(found) if found.tasks.len() == *tasks => {}
                Some(found) => {
                    return Err(format!("plan {plan} has {} of {tasks} tasks", found.tasks.len()));
                }
                None => return Err(format!("plan {plan} is lost")),
            }
        }
        for plan in found.plans.values() {
            self.check_plan(found, plan, &mut marks)?;
        }
        if let Some(lost) = self.recorded.iter().find(|mark| !marks.contains(*mark)) {
            return Err(format!("the changes {lost} are lost"));
        }
        self.check_notes(found)?;
        self.check_outputs(found)
    }

    fn check_plan(&self, found: &Found, plan: &FoundPlan, marks: &mut BTreeSet<String>) -> Checked {
        let turns = turns(&plan.changesets, marks)?;
        let mut log: BTreeMap<&str, usize> = BTreeMap::new();
        plan.log.lines().for_each(|line| *log.entry(line).or_default() += 1);
        let mut before = TaskStatus::Completed;
        for (number, task) in plan.tasks.iter().enumerate() {
            let waits = waits(number) && before != TaskStatus::Completed;
            if !task.status.is_final() && task.waiting != u32::from(waits) {
                return Err(format!("task {} waits for {} tasks", task.id, task.waiting));
            }
            if waits && before.is_final() && task.status != TaskStatus::Skipped {
                return Err(format!("task {} is {}, after one that failed", task.id, task.status));
            }
            before = task.status;
            self.check_task(found, task, &turns, &log)?;
        }
        Ok(())
    }

    fn check_task(
        &self,
        found: &Found,
        task: &Task,
        turns: &BTreeMap<&str, Vec<&Changeset>>,
        log: &BTreeMap<&str, usize>,
    ) -> Checked {
        let (id, status, attempt) = (task.id.0, task.status, task.attempt);
        if self.last_attempt.get(&id).is_some_and(|last| *last > attempt) {
            return Err(format!("task {id} has forgotten attempts: {attempt}"));
        }
        let told = (self.finished.get(&id), self.failed.get(&id));
        match (told, status) {
            ((None, None), _) => {}
            ((Some((told, _)), _), TaskStatus::Completed) if *told == attempt => {}
            ((_, Some(told)), TaskStatus::Failed) if *told == attempt => {}
            (told, _) => {
                return Err(format!("task {id} is {status} at attempt {attempt}, told: {told:?}"));
            }
        }
        // Of all attempts only the one that completed it has left anything.
        let name = |attempt| title(id, attempt);
        let left: Vec<_> = (1..=attempt)
            .filter(|attempt| {
                let name = &*name(*attempt);
                turns.contains_key(name) || log.contains_key(name) || found.ends.contains_key(name)
            })
            .collect();
        let report = found.reports.get(&id);
        if status != TaskStatus::Completed {
            if left.is_empty() && report.is_none() {
                return Ok(());
            }
            return Err(format!("task {id} is {status}, and attempts {left:?} left something"));
        }
        if left != [attempt] {
            return Err(format!(
                "task {id} ended with attempt {attempt}; of {left:?} is something"
            ));
        }
        let name = name(attempt);
        if task.outcome.as_deref() != Some(&*name) {
            return Err(format!("task {id} has another one's result: {:?}", task.outcome));
        }
        if !report.is_some_and(|report| is_report(&name, report)) {
            return Err(format!("the report of task {id} is not whole"));
        }
        let once = (log.get(&*name), found.ends.get(&name));
        if once != (Some(&1), Some(&1)) {
            return Err(format!("the end of task {id} is logged and put out {once:?} times"));
        }
        let [changeset] = turns.get(&*name).map_or(&[][..], Vec::as_slice) else {
            return Err(format!("task {id} has not one changeset"));
        };
        let calls = changeset.tool_calls.len();
        if !changeset.sealed || changeset.changes.len() != CHANGES || calls != CALLS {
            return Err(format!("the changeset of task {id} is not whole: {changeset:?}"));
        }
        match told.0 {
            Some((_, told)) if *told != changeset.id.0 => {
                Err(format!("the changeset of task {id} is {}, told {told}", changeset.id))
            }
            _ => Ok(()),
        }
    }

    fn check_notes(&self, found: &Found) -> Checked {
        let mut seen = BTreeSet::new();
        if let Some(twice) = found.notes.lines().find(|mark| !seen.insert(*mark)) {
            return Err(format!("the note {twice} is there twice"));
        }
        if seen.len() as u64 != found.notes_version {
            let version = found.notes_version;
            return Err(format!("version {version} of the notes has {} lines", seen.len()));
        }
        match self.noted.iter().find(|mark| !seen.contains(&***mark)) {
            Some(lost) => Err(format!("the note {lost} is lost")),
            None => Ok(()),
        }
    }

    fn check_outputs(&self, found: &Found) -> Checked {
        for (agent, outputs) in &found.outputs {
            let mut next: BTreeMap<u64, u64> = BTreeMap::new();
            for mark in outputs {
                let numbers = mark.split_once('-').and_then(|(life, number)| {
                    Some((life.parse::<u64>().ok()?, number.parse::<u64>().ok()?))
                });
                let Some((life, number)) = numbers else {
                    return Err(format!("an output of {agent} says {mark}"));
                };
                let expected = next.insert(life, number + 1).unwrap_or(0);
                // A disk that refuses a group takes what was relaxed in it, and only that.
                if number < expected || (number > expected && !self.refusing.contains(&life)) {
                    return Err(format!("output {mark} of {agent} follows {expected}"));
                }
            }
        }
        let is_there = |mark: &&String| {
            let outputs = |(agent, mark)| found.outputs.get(agent).map(|all| (all, mark));
            let split = mark.rsplit_once(' ').and_then(outputs);
            split.is_some_and(|(all, mark)| all.iter().any(|one| one == mark))
        };
        match self.put_out.iter().find(|mark| !is_there(mark)) {
            Some(lost) => Err(format!("the output {lost} is lost")),
            None => Ok(()),
        }
    }
}

/// The changesets of turns by what they are known by; and the marks of all changes that were recorded, each of
/// which must be there whole and once.
fn turns<'a>(
    changesets: &'a [Changeset],
    marks: &mut BTreeSet<String>,
) -> Result<BTreeMap<&'a str, Vec<&'a Changeset>>, String> {
    let mut turns: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    let mut calls = BTreeSet::new();
    for changeset in changesets {
        if changeset.title != "work" {
            turns.entry(&changeset.title).or_default().push(changeset);
        }
        for call in &changeset.tool_calls {
            if !calls.insert(&*call.arguments) {
                return Err(format!("the call {} is there twice", call.arguments));
            }
        }
        for group in changeset.changes.chunk_by(|a, b| a.target == b.target) {
            let bodies = group.iter().map(|change| &*change.body);
            let whole = bodies.eq((0..CHANGES).map(|number| number.to_string()));
            if !whole {
                return Err(format!("the changes {} are not whole", group[0].target));
            }
            if !marks.insert(group[0].target.clone()) {
                return Err(format!("the changes {} are there twice", group[0].target));
            }
        }
    }
    Ok(turns)
}
