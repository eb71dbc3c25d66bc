//! What a task queue and a plan show.

use super::{Observe, Reading};
use crate::plan::PlanContention;
use crate::task::{TaskContention, TaskCounts, TaskQueue};

/// A task queue at a glance: see [`TaskQueue::snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskQueueSnapshot {
    /// Tasks that the queue has room for.
    pub capacity: usize,
    /// How many tasks are where.
    pub counts: TaskCounts,
    /// How often threads came into each other's way.
    pub contention: TaskContention,
}

impl<T> TaskQueue<T> {
    /// What there is to see, for a display or a recorder of metrics. Reads only, in time proportional to the
    /// slots; nobody waits for it.
    ///
    /// ```
    /// use latchless::{NewTask, TaskQueue, TaskQueueConfig};
    /// let queue = TaskQueue::new(TaskQueueConfig::new(10))?;
    /// queue.submit(NewTask::new("write"))?;
    /// let snapshot = queue.snapshot();
    /// assert_eq!((snapshot.capacity, snapshot.counts.pending), (10, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> TaskQueueSnapshot {
        TaskQueueSnapshot {
            capacity: self.capacity(),
            counts: self.counts(),
            contention: self.contention(),
        }
    }
}

impl Observe for TaskQueueSnapshot {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<TaskQueueSnapshot>;
        const TASKS: &str = "latchless_tasks";
        const WHERE: &str = "Tasks in the queue, by where they are";
        const RETRIES: &str = "latchless_task_retries_total";
        const RETRIED: &str = "Steps that another thread's came before, by the step";
        static READINGS: [Of; 12] = [
            Of::gauge("latchless_tasks_limit", "Tasks that the queue has room for", |queue| {
                queue.capacity as f64
            }),
            Of::gauge(TASKS, WHERE, |queue| queue.counts.waiting as f64).label("status", "waiting"),
            Of::gauge(TASKS, WHERE, |queue| queue.counts.pending as f64).label("status", "pending"),
            Of::gauge(TASKS, WHERE, |queue| queue.counts.assigned as f64)
                .label("status", "assigned"),
            Of::gauge(TASKS, WHERE, |queue| queue.counts.in_progress as f64)
                .label("status", "in_progress"),
            Of::gauge(TASKS, WHERE, |queue| queue.counts.completed as f64)
                .label("status", "completed"),
            Of::gauge(TASKS, WHERE, |queue| queue.counts.failed as f64).label("status", "failed"),
            Of::counter(RETRIES, RETRIED, |queue| queue.contention.claim_retries)
                .label("step", "claim"),
            Of::counter(RETRIES, RETRIED, |queue| queue.contention.step_retries)
                .label("step", "other"),
            Of::counter(RETRIES, RETRIED, |queue| queue.contention.lane_retries)
                .label("step", "lane"),
            Of::counter(RETRIES, RETRIED, |queue| queue.contention.slot_retries)
                .label("step", "slot"),
            Of::counter(
                "latchless_task_walks_total",
                "Walks over all slots by claimers that found nothing while a task's end was to take \
                 effect",
                |queue| queue.contention.walks,
            ),
        ];
        &READINGS
    }
}

impl Observe for PlanContention {
    fn readings() -> &'static [Reading<Self>] {
        type Of = Reading<PlanContention>;
        const RETRIES: &str = "latchless_plan_retries_total";
        const RETRIED: &str = "Starts and records that another one came before";
        static READINGS: [Of; 4] = [
            Of::counter(RETRIES, RETRIED, |plan| plan.start_retries).label("step", "start"),
            Of::counter(RETRIES, RETRIED, |plan| plan.record_retries).label("step", "record"),
            Of::counter(
                "latchless_plan_late_records_total",
                "Records that came too late for the newest changeset they knew",
                |plan| plan.late,
            ),
            Of::gauge(
                "latchless_plan_segments",
                "Room for records that was made, 32 each; constant in the steady state",
                |plan| plan.segments as f64,
            ),
        ];
        &READINGS
    }
}
