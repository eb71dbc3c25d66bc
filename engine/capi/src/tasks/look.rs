//! Where tasks are, and taking claims back.

use latchless::{Reclaimed, TaskQueue, WorkerId};

use super::{Payload, stage, tick};
use crate::arguments::{out, out_list};
use crate::call::call;
use crate::handles::{latchless_task, latchless_tasks};
use crate::status::{Failure, latchless_status};

/// How many tasks are where, read one after another.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_task_counts {
    /// Wait for dependencies.
    pub waiting: usize,
    /// Wait for an agent.
    pub pending: usize,
    /// Claimed and not begun.
    pub assigned: usize,
    /// Begun.
    pub in_progress: usize,
    /// Done.
    pub completed: usize,
    /// Failed, for whatever reason.
    pub failed: usize,
}

/// A claim that was taken back.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_reclaimed {
    /// The task.
    pub task: latchless_task,
    /// Who had it.
    pub worker: u32,
    /// In which attempt.
    pub attempt: u32,
    /// 1 if it was the last: the task has failed then, and is pending otherwise.
    pub used_up: u32,
    /// 0.
    pub unused: u32,
}

/// Where a task is: one of `LATCHLESS_TASK_...`.
///
/// Threads: any. Real-time: yes. Errors: UNKNOWN_TASK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_tasks_status(
    tasks: latchless_tasks,
    task: latchless_task,
    status: *mut u32,
) -> latchless_status {
    call(|| {
        let tasks = tasks.get()?;
        // SAFETY: the caller's promise.
        let status = unsafe { out(status, "status") }?;
        let found = tasks.queue.status(tasks.open(task)).ok_or(Failure::UnknownTask)?;
        status.write(stage(found));
        Ok(())
    })
}

/// Takes a task that is over out of the queue, so that its slot can be used again.
///
/// Threads: any; of two that forget one task, one does. Real-time: no, it frees. Errors: UNKNOWN_TASK,
/// NOT_OVER.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_tasks_forget(
    tasks: latchless_tasks,
    task: latchless_task,
) -> latchless_status {
    call(|| {
        let tasks = tasks.get()?;
        let task = tasks.open(task);
        // Its own words tell the task's number, which is not the caller's.
        match tasks.queue.status(task) {
            None => Err(Failure::UnknownTask),
            Some(_) => Ok(tasks.queue.forget(task)?),
        }
    })
}

/// How many tasks are where.
///
/// Threads: any. Real-time: no, it walks over all slots.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_tasks_counts(
    tasks: latchless_tasks,
    counts: *mut latchless_task_counts,
) -> latchless_status {
    call(|| {
        let tasks = tasks.get()?;
        // SAFETY: the caller's promise.
        let counts = unsafe { out(counts, "counts") }?;
        let latchless::TaskCounts { waiting, pending, assigned, in_progress, completed, failed } =
            tasks.queue.counts();
        counts.write(latchless_task_counts {
            waiting,
            pending,
            assigned,
            in_progress,
            completed,
            failed,
        });
        Ok(())
    })
}

/// Takes claims back and tells which, as far as there is room. Nothing is taken when the result could not be
/// written.
///
/// # Safety
/// As for [`out`] and [`out_list`].
unsafe fn reclaim(
    tasks: latchless_tasks,
    list: *mut latchless_reclaimed,
    capacity: usize,
    count: *mut usize,
    take: impl FnOnce(&TaskQueue<Payload>) -> Vec<Reclaimed>,
) -> Result<(), Failure> {
    let tasks = tasks.get()?;
    // SAFETY: the caller's promise.
    let list = unsafe { out_list(list, capacity, "reclaimed") }?;
    // SAFETY: the caller's promise.
    let count = if count.is_null() { None } else { Some(unsafe { out(count, "count") }?) };
    let taken = take(&tasks.queue);
    for (to, from) in list.iter_mut().zip(&taken) {
        to.write(latchless_reclaimed {
            task: tasks.seal(from.task),
            worker: from.worker.0.into(),
            attempt: from.attempt.into(),
            used_up: from.used_up.into(),
            unused: 0,
        });
    }
    if let Some(count) = count {
        count.write(taken.len());
    }
    Ok(())
}

/// Takes back every claim whose lease was over before `now`. `reclaimed`, memory for `capacity`, gets as many
/// as there is room for, and may be NULL with a capacity of 0; `count`, which may be NULL, how many there
/// were.
///
/// Threads: any, every now and then. Real-time: no, it walks over all slots and allocates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_tasks_reclaim_expired(
    tasks: latchless_tasks,
    now: u64,
    reclaimed: *mut latchless_reclaimed,
    capacity: usize,
    count: *mut usize,
) -> latchless_status {
    let take = |queue: &TaskQueue<Payload>| queue.reclaim_expired(tick(now));
    // SAFETY: the caller's promise.
    call(|| unsafe { reclaim(tasks, reclaimed, capacity, count, take) })
}

/// Takes back every claim of a worker that is known to be dead.
///
/// `reclaimed`, `capacity`, `count`, threads and real-time: as for latchless_tasks_reclaim_expired().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_tasks_reclaim_worker(
    tasks: latchless_tasks,
    worker: u32,
    reclaimed: *mut latchless_reclaimed,
    capacity: usize,
    count: *mut usize,
) -> latchless_status {
    // A number that no worker can have has no claims.
    let worker = u16::try_from(worker).map(WorkerId);
    let take = |queue: &TaskQueue<Payload>| {
        worker.map_or_else(|_| Vec::new(), |worker| queue.reclaim_worker(worker))
    };
    // SAFETY: the caller's promise.
    call(|| unsafe { reclaim(tasks, reclaimed, capacity, count, take) })
}
