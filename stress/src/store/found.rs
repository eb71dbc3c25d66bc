//! What is in a database when nobody works at it.

use std::collections::BTreeMap;
use std::path::Path;

use latchless_engine::store::{
    Changeset, Scope, SqliteStore, Store, StoreError, StoreOptions, Task,
};

use super::life::Life;
use super::turn::{LOG, NOTES, REPORT};

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) plans: BTreeMap<i64, FoundPlan>,
    pub(super) reports: BTreeMap<i64, Vec<u8>>,
    pub(super) notes: String,
    pub(super) notes_version: u64,
    /// Marks of the outputs of each agent, oldest first.
    pub(super) outputs: BTreeMap<String, Vec<String>>,
    /// How often each end of a task was put out.
    pub(super) ends: BTreeMap<String, usize>,
}

/// A plan, and what was done for it.
#[derive(Debug)]
pub(super) struct FoundPlan {
    pub(super) tasks: Vec<Task>,
    pub(super) changesets: Vec<Changeset>,
    pub(super) log: String,
}

impl Found {
    /// Reads everything, after every page was checked.
    pub(super) fn read(file: &Path, threads: u16) -> Result<Self, StoreError> {
        let store = SqliteStore::open(file, StoreOptions::default())?;
        store.verify()?;
        let text = |scope: &Scope, key: &str| {
            let document = store.document(scope, key)?;
            let version = document.as_ref().map_or(0, |document| document.version);
            let content = document.map(|document| document.content).unwrap_or_default();
            Ok::<_, StoreError>((String::from_utf8_lossy(&content).into_owned(), version))
        };
        let mut found = Self::default();
        (found.notes, found.notes_version) = text(&Scope::Shared, NOTES)?;
        for plan in store.plans()? {
            let tasks = store.tasks(plan.id)?;
            for task in &tasks {
                if let Some(report) = store.document(&Scope::Task(task.id), REPORT)? {
                    found.reports.insert(task.id.0, report.content);
                }
            }
            let changesets = store.changesets(plan.id)?;
            let (log, _) = text(&Scope::Plan(plan.id), LOG)?;
            found.plans.insert(plan.id.0, FoundPlan { tasks, changesets, log });
        }
        for agent in (0..threads).map(Life::agent) {
            let mut marks = Vec::new();
            for output in store.outputs(&agent, usize::MAX)? {
                if output.task.is_some() {
                    *found.ends.entry(output.text).or_default() += 1;
                } else {
                    let mark = output.text.split(' ').next().unwrap_or_default();
                    marks.push(mark.to_owned());
                }
            }
            found.outputs.insert(agent, marks);
        }
        Ok(found)
    }
}
