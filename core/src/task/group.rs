//! The tasks of a submitted graph: how each ended, and so which others may begin.
//!
//! Outcomes are kept here and not in the slots, so that a task can be forgotten while others still ask
//! how it ended.

use crate::mutant::mutant;
use crate::sync::{AtomicU32, Ordering};

use super::TaskId;
use super::graph::Edges;

const OPEN: u32 = 0;
const COMPLETED: u32 = 1;
const FAILED: u32 = 2;

#[derive(Debug)]
pub(super) struct Group {
    tasks: Box<[TaskId]>,
    dependencies: Edges,
    dependents: Edges,
    outcomes: Box<[AtomicU32]>,
}

/// Whether a task's dependencies let it begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not yet.
    Wait,
    /// All are completed.
    Begin,
    /// Never: this one failed.
    Never(u32),
}

impl Group {
    pub(super) fn new(tasks: Box<[TaskId]>, dependencies: Edges) -> Self {
        let dependents = super::graph::dependents(&dependencies);
        let outcomes = tasks.iter().map(|_| AtomicU32::new(OPEN)).collect();
        Self { tasks, dependencies, dependents, outcomes }
    }

    pub(super) fn id(&self, task: u32) -> TaskId {
        self.tasks[task as usize]
    }

    pub(super) fn dependents(&self, task: u32) -> &[u32] {
        &self.dependents[task as usize]
    }

    pub(super) fn has_dependencies(&self, task: u32) -> bool {
        !self.dependencies[task as usize].is_empty()
    }

    /// Says how a task ended; any number of times, by anybody, and always the same.
    pub(super) fn set_outcome(&self, task: u32, completed: bool) {
        let outcome = if completed { COMPLETED } else { FAILED };
        // AcqRel: see `verdict`.
        let before = self.outcomes[task as usize].swap(outcome, Ordering::AcqRel);
        debug_assert!(before == OPEN || before == outcome, "two ends");
    }

    /// What the outcomes of its dependencies say of a task.
    ///
    /// Two dependencies of one task end at once: each end is told, and then both are looked at. One of the
    /// two must see the other's. So a look is a read-modify-write too: if mine came before the other's end
    /// in the order of that word, then the other one's end was told after reading my look, and with it my
    /// end, which the other therefore sees.
    pub(super) fn verdict(&self, task: u32) -> Verdict {
        let mut verdict = Verdict::Begin;
        for dependency in &self.dependencies[task as usize] {
            let outcome = &self.outcomes[*dependency as usize];
            let told = if mutant("tasks.outcome-looked-at") {
                outcome.load(Ordering::Acquire)
            } else {
                outcome.fetch_or(0, Ordering::AcqRel)
            };
            match told {
                COMPLETED => {}
                FAILED => return Verdict::Never(*dependency),
                _ => verdict = Verdict::Wait,
            }
        }
        verdict
    }

    /// The first dependency of a task that failed.
    pub(super) fn failed_dependency(&self, task: u32) -> Option<TaskId> {
        match self.verdict(task) {
            Verdict::Never(dependency) => Some(self.id(dependency)),
            Verdict::Wait | Verdict::Begin => None,
        }
    }
}
