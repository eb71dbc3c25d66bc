//! The prototypes' task queue, with its lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use super::lock;

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// For an agent.
    Pending,
    /// An agent has it.
    Assigned,
    /// It is being done.
    InProgress,
    /// It is done.
    Completed,
}

#[derive(Debug)]
struct Task {
    order: (u8, u64),
    payload: u64,
    status: Status,
    assigned_to: Option<String>,
}

/// Tasks by id, as whoever has them alone uses them.
#[derive(Debug, Default)]
pub struct Tasks {
    rows: HashMap<String, Task>,
    /// The database's index over pending tasks by priority and time of creation.
    pending: BTreeMap<(u8, u64), String>,
    created: u64,
}

impl Tasks {
    /// Adds a task, and returns its id. 0 is the highest priority.
    pub fn add(&mut self, payload: u64, priority: u8) -> String {
        self.created += 1;
        let (id, order) = (format!("task-{}", self.created), (priority, self.created));
        self.pending.insert(order, id.clone());
        let task = Task { order, payload, status: Status::Pending, assigned_to: None };
        self.rows.insert(id.clone(), task);
        id
    }

    /// Assigns the first pending task to an agent: its id and its payload.
    pub fn assign_next(&mut self, agent: &str) -> Option<(String, u64)> {
        let (_, id) = self.pending.pop_first()?;
        let task = self.rows.get_mut(&id)?;
        task.status = Status::Assigned;
        task.assigned_to = Some(agent.to_owned());
        Some((id, task.payload))
    }

    /// Sets a task's status, whatever it was; false when there is none.
    pub fn update_status(&mut self, id: &str, status: Status) -> bool {
        let Some(task) = self.rows.get_mut(id) else { return false };
        task.status = status;
        true
    }

    /// Deletes a task; false when there is none.
    pub fn delete(&mut self, id: &str) -> bool {
        let Some(task) = self.rows.remove(id) else { return false };
        self.pending.remove(&task.order);
        true
    }
}

/// A lock for general operations, and one for assignments that is taken before it; tasks and agents are
/// known by text. The queries are those of the model, on a map with an index instead of a database.
#[derive(Debug, Default)]
pub struct LockedTaskQueue {
    task_lock: Mutex<Tasks>,
    assignment_lock: Mutex<()>,
}

impl LockedTaskQueue {
    /// As [`Tasks::add`].
    pub fn add_task(&self, payload: u64, priority: u8) -> String {
        lock(&self.task_lock).add(payload, priority)
    }

    /// As [`Tasks::assign_next`].
    pub fn get_and_assign_next_task(&self, agent: &str) -> Option<(String, u64)> {
        let _assigning = lock(&self.assignment_lock);
        lock(&self.task_lock).assign_next(agent)
    }

    /// As [`Tasks::update_status`].
    pub fn update_status(&self, id: &str, status: Status) -> bool {
        lock(&self.task_lock).update_status(id, status)
    }

    /// As [`Tasks::delete`].
    pub fn delete(&self, id: &str) -> bool {
        lock(&self.task_lock).delete(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_come_by_priority_and_once() {
        let queue = LockedTaskQueue::default();
        queue.add_task(1, 2);
        queue.add_task(2, 1);
        queue.add_task(3, 2);
        let next = || {
            queue.get_and_assign_next_task("agent").map(|(id, payload)| {
                assert!(queue.update_status(&id, Status::Completed));
                assert!(queue.delete(&id) && !queue.delete(&id));
                payload
            })
        };
        assert_eq!([(); 4].map(|()| next()), [Some(2), Some(1), Some(3), None]);
    }
}
