//! What an agent does with a task that it has claimed.

use std::ffi::c_void;
use std::sync::Arc;

use latchless::{AgentType, ClaimError, TaskQueue, WorkerId};

use super::{Payload, agent_type, seal, tick};
use crate::arguments::{out, out_list};
use crate::call::call;
use crate::handles::{latchless_claim, latchless_task, latchless_tasks};
use crate::seal::Key;
use crate::status::{Failure, latchless_status};

/// What is behind a `latchless_claim`.
pub struct Claim {
    claim: latchless::Claim<Payload>,
    queue: Arc<TaskQueue<Payload>>,
    key: Key,
}

/// What a claim is of.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_claim_info {
    /// The task.
    pub task: latchless_task,
    /// Bytes of its payload.
    pub payload_bytes: usize,
    /// Who claimed it.
    pub worker: u32,
    /// Which attempt at the task this is, from 1 on: a fencing token, for what the agent writes elsewhere.
    pub attempt: u32,
}

/// Claims the first task for an agent of a type (`LATCHLESS_ANY_TYPE`: tasks for any agent only): of the
/// highest priority that has one. `worker` is a number up to 65,535 that the host gives each of its agents.
/// `now` is the host's monotonic clock, in the ticks of the queue's leases. A task that is claimable during
/// the whole call is found.
///
/// Owner: the caller, who ends the handle with latchless_claim_release() when the task is completed, failed
/// or given back. Threads: any. Real-time: yes, up to 64 claims at a time; it allocates for more.
///
/// Errors: NO_TASK, INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_tasks_claim(
    tasks: latchless_tasks,
    worker: u32,
    agent_type: u32,
    now: u64,
    claim: *mut latchless_claim,
) -> latchless_status {
    call(|| {
        let tasks = tasks.get()?;
        // SAFETY: the caller's promise.
        let claim = unsafe { out(claim, "claim") }?;
        let allowed = "at most 65535";
        let too_large = |_| Failure::Value { what: "the worker", value: worker.into(), allowed };
        let worker = WorkerId(u16::try_from(worker).map_err(too_large)?);
        // A type that no queue has finds what is for any.
        let agent_type = self::agent_type(agent_type)?.unwrap_or(AgentType(u8::MAX));
        let claimed = tasks.queue.claim(worker, agent_type, tick(now)).ok_or(Failure::NoTask)?;
        let queue = Arc::clone(&tasks.queue);
        let made = latchless_claim::of(Claim { claim: claimed.clone(), queue, key: tasks.key });
        if made.is_err() {
            // No handle for it: the next one who looks gets it.
            let _was_ours = tasks.queue.give_back(&claimed);
        }
        claim.write(made?);
        Ok(())
    })
}

/// What a claim is of.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_claim_describe(
    claim: latchless_claim,
    info: *mut latchless_claim_info,
) -> latchless_status {
    call(|| {
        let claim = claim.get()?;
        // SAFETY: the caller's promise.
        let info = unsafe { out(info, "info") }?;
        info.write(latchless_claim_info {
            task: seal(claim.key, claim.claim.task()),
            payload_bytes: claim.claim.payload().len(),
            worker: claim.claim.worker().0.into(),
            attempt: claim.claim.attempt().into(),
        });
        Ok(())
    })
}

/// Copies the task's payload to memory for `capacity` bytes. `bytes`, which may be NULL, gets how many there
/// are.
///
/// Threads: any. Real-time: yes. Errors: BUFFER_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_claim_payload(
    claim: latchless_claim,
    payload: *mut c_void,
    capacity: usize,
    bytes: *mut usize,
) -> latchless_status {
    call(|| {
        let claim = claim.get()?;
        let content = claim.claim.payload();
        // SAFETY: the caller's promise.
        unsafe { crate::pool::write_if_wanted(bytes, content.len(), "bytes") }?;
        if capacity < content.len() {
            return Err(Failure::BufferTooSmall { what: "bytes", needed: content.len(), capacity });
        }
        // SAFETY: the caller's promise.
        let payload = unsafe { out_list(payload.cast::<u8>(), content.len(), "payload") }?;
        for (to, from) in payload.iter_mut().zip(content) {
            to.write(*from);
        }
        Ok(())
    })
}

/// Takes one step of a task.
fn step(
    claim: latchless_claim,
    step: fn(&TaskQueue<Payload>, &latchless::Claim<Payload>) -> Result<(), ClaimError>,
) -> latchless_status {
    call(|| {
        let claim = claim.get()?;
        Ok(step(&claim.queue, &claim.claim)?)
    })
}

/// Assigned to in progress.
///
/// Threads: any. Real-time: yes. Errors: CLAIM_LOST, NOT_A_STEP.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_claim_start(claim: latchless_claim) -> latchless_status {
    step(claim, TaskQueue::start)
}

/// In progress to completed.
///
/// Threads: any. Real-time: yes. Errors: CLAIM_LOST: drop the result, it is another one's task now;
/// NOT_A_STEP.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_claim_complete(claim: latchless_claim) -> latchless_status {
    step(claim, TaskQueue::complete)
}

/// In progress to failed.
///
/// Threads: any. Real-time: yes. Errors: CLAIM_LOST, NOT_A_STEP.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_claim_fail(claim: latchless_claim) -> latchless_status {
    step(claim, TaskQueue::fail)
}

/// Assigned or in progress back to pending, for an agent that cannot go on. The attempt counts.
///
/// Threads: any. Real-time: yes. Errors: CLAIM_LOST, NOT_A_STEP.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_claim_give_back(claim: latchless_claim) -> latchless_status {
    step(claim, TaskQueue::give_back)
}

/// Lets the claim stand for another lease from `now` on.
///
/// Threads: any. Real-time: yes. Errors: CLAIM_LOST when the claim or its lease is over, NOT_A_STEP.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_claim_renew(claim: latchless_claim, now: u64) -> latchless_status {
    call(|| {
        let claim = claim.get()?;
        Ok(claim.queue.renew(&claim.claim, tick(now))?)
    })
}

/// Ends the handle. A task that is not over stays claimed until its lease ends: give it back before.
///
/// Threads: any. Real-time: yes, as long as the queue lives.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_claim_release(claim: latchless_claim) -> latchless_status {
    call(|| claim.close())
}
