//! The state machine, and tasks.

use std::ptr::{null, null_mut};

use latchless_capi::handles::{
    latchless_claim, latchless_machine, latchless_task, latchless_tasks,
};
use latchless_capi::machine::{
    LATCHLESS_STATE_ASSISTANT, LATCHLESS_STATE_RESPONSE, LATCHLESS_STATE_TOOL_EXECUTION,
    LATCHLESS_STATE_USER_INPUT, latchless_machine_create, latchless_machine_destroy,
    latchless_machine_set_completion, latchless_machine_snapshot, latchless_machine_transition,
    latchless_machine_transition_from, latchless_snapshot,
};
use latchless_capi::tasks::claim::{
    latchless_claim_complete, latchless_claim_describe, latchless_claim_fail,
    latchless_claim_give_back, latchless_claim_payload, latchless_claim_release,
    latchless_claim_renew, latchless_claim_start, latchless_tasks_claim,
};
use latchless_capi::tasks::look::{
    latchless_reclaimed, latchless_task_counts, latchless_tasks_counts, latchless_tasks_forget,
    latchless_tasks_reclaim_expired, latchless_tasks_reclaim_worker, latchless_tasks_status,
};
use latchless_capi::tasks::{
    LATCHLESS_ANY_TYPE, LATCHLESS_PRIORITY_HIGH, LATCHLESS_PRIORITY_NORMAL,
    LATCHLESS_TASK_COMPLETED, LATCHLESS_TASK_FAILED, LATCHLESS_TASK_PENDING,
    latchless_tasks_create, latchless_tasks_destroy, latchless_tasks_options,
    latchless_tasks_options_init, latchless_tasks_submit,
};

use crate::{S, got, last_error};

#[test]
fn the_machine_has_five_edges() {
    // SAFETY: the results are there, in all of this test.
    unsafe {
        let machine = got(|machine| latchless_machine_create(machine)).unwrap();
        let to = |state| got(|now| latchless_machine_transition(machine, state, now));
        let seen: latchless_snapshot = got(|now| latchless_machine_snapshot(machine, now)).unwrap();
        assert_eq!((seen.state, seen.version), (LATCHLESS_STATE_USER_INPUT, 0));
        assert_eq!(to(LATCHLESS_STATE_RESPONSE), Err(S::LATCHLESS_ERROR_NO_EDGE));
        assert!(last_error().contains("USER_INPUT cannot go to RESPONSE"), "{}", last_error());
        assert_eq!(to(4), Err(S::LATCHLESS_ERROR_INVALID_ARGUMENT));
        let now = to(LATCHLESS_STATE_ASSISTANT).unwrap();
        let from = |seen: &latchless_snapshot, state| {
            got(|now| latchless_machine_transition_from(machine, seen, state, now))
        };
        assert_eq!(from(&seen, LATCHLESS_STATE_ASSISTANT), Err(S::LATCHLESS_ERROR_OVERTAKEN));
        let forged = latchless_snapshot { state: 77, ..now };
        assert_eq!(from(&forged, LATCHLESS_STATE_RESPONSE), Err(S::LATCHLESS_ERROR_OVERTAKEN));
        assert_eq!(from(&now, LATCHLESS_STATE_USER_INPUT), Err(S::LATCHLESS_ERROR_NO_EDGE));
        let now = from(&now, LATCHLESS_STATE_TOOL_EXECUTION).unwrap();
        assert_eq!((now.version, now.completion_detected), (2, 0));
        let now = got(|now| latchless_machine_set_completion(machine, 2, now)).unwrap();
        assert_eq!((now.completion_detected, now.version), (1, 3));
        assert_eq!(to(LATCHLESS_STATE_RESPONSE).unwrap().completion_detected, 1);
        assert_eq!(to(LATCHLESS_STATE_ASSISTANT).unwrap().completion_detected, 0, "the next turn");
        assert_eq!(latchless_machine_transition(machine, 3, null_mut()), S::LATCHLESS_OK);
        assert_eq!(latchless_machine_destroy(machine), S::LATCHLESS_OK);
        assert_eq!(to(LATCHLESS_STATE_ASSISTANT), Err(S::LATCHLESS_ERROR_STALE_HANDLE));
        let none = got(|now| latchless_machine_snapshot(latchless_machine { bits: 0 }, now));
        assert_eq!(none, Err::<latchless_snapshot, _>(S::LATCHLESS_ERROR_NULL_HANDLE));
    }
}

fn queue(capacity: u32) -> latchless_tasks {
    // SAFETY: the options are initialised, and the result is there.
    unsafe {
        let size = size_of::<latchless_tasks_options>();
        let mut options = got(|options| latchless_tasks_options_init(options, size)).unwrap();
        (options.capacity, options.agent_types, options.lease_ticks) = (capacity, 2, 100);
        got(|tasks| latchless_tasks_create(&raw const options, tasks)).unwrap()
    }
}

fn submit(
    tasks: latchless_tasks,
    priority: u32,
    kind: u32,
    text: &str,
) -> Result<latchless_task, S> {
    let (payload, bytes) = (text.as_ptr().cast(), text.len());
    // SAFETY: the payload is there, and the result is.
    got(|task| unsafe { latchless_tasks_submit(tasks, priority, kind, payload, bytes, task) })
}

fn claim(tasks: latchless_tasks, worker: u32, kind: u32, now: u64) -> Result<latchless_claim, S> {
    // SAFETY: the result is there.
    got(|claim| unsafe { latchless_tasks_claim(tasks, worker, kind, now, claim) })
}

fn payload(claim: latchless_claim) -> String {
    let mut bytes = vec![0_u8; 64];
    // SAFETY: there is room for as many bytes as it says.
    let len =
        got(|len| unsafe { latchless_claim_payload(claim, bytes.as_mut_ptr().cast(), 64, len) });
    bytes.truncate(len.unwrap());
    String::from_utf8(bytes).unwrap()
}

fn status(tasks: latchless_tasks, task: latchless_task) -> Result<u32, S> {
    // SAFETY: the result is there.
    got(|status| unsafe { latchless_tasks_status(tasks, task, status) })
}

/// Cases 29 to 31 of the behaviour, as C sees them.
#[test]
fn tasks_are_claimed_once_in_order_and_end_once() {
    let tasks = queue(4);
    let low = submit(tasks, LATCHLESS_PRIORITY_NORMAL, LATCHLESS_ANY_TYPE, "low").unwrap();
    let high = submit(tasks, LATCHLESS_PRIORITY_HIGH, 1, "high").unwrap();
    assert_eq!(submit(tasks, 4, 0, ""), Err(S::LATCHLESS_ERROR_INVALID_ARGUMENT));
    assert_eq!(submit(tasks, 1, 2, ""), Err(S::LATCHLESS_ERROR_UNKNOWN_TYPE));
    assert_eq!(submit(tasks, 1, 300, ""), Err(S::LATCHLESS_ERROR_INVALID_ARGUMENT));

    let first = claim(tasks, 7, 1, 0).unwrap();
    assert_eq!(payload(first), "high");
    // SAFETY: the results are there, and lists have the room that is told, in the rest of this test.
    unsafe {
        let info = got(|info| latchless_claim_describe(first, info)).unwrap();
        assert_eq!((info.task, info.worker, info.attempt, info.payload_bytes), (high, 7, 1, 4));
        let status = latchless_claim_payload(first, null_mut(), 3, null_mut());
        assert_eq!(status, S::LATCHLESS_ERROR_BUFFER_TOO_SMALL);
    }
    assert_eq!(payload(claim(tasks, 8, 0, 0).unwrap()), "low");
    assert_eq!(claim(tasks, 9, 1, 0), Err(S::LATCHLESS_ERROR_NO_TASK));
    assert_eq!(claim(tasks, 70_000, 1, 0), Err(S::LATCHLESS_ERROR_INVALID_ARGUMENT));

    assert_eq!(latchless_claim_complete(first), S::LATCHLESS_ERROR_NOT_A_STEP);
    assert_eq!(latchless_claim_start(first), S::LATCHLESS_OK);
    assert_eq!(latchless_tasks_forget(tasks, high), S::LATCHLESS_ERROR_NOT_OVER);
    assert_eq!(latchless_claim_complete(first), S::LATCHLESS_OK);
    assert_eq!(latchless_claim_fail(first), S::LATCHLESS_ERROR_NOT_A_STEP);
    assert_eq!(status(tasks, high), Ok(LATCHLESS_TASK_COMPLETED));
    assert_eq!(latchless_tasks_forget(tasks, high), S::LATCHLESS_OK);
    assert_eq!(latchless_tasks_forget(tasks, high), S::LATCHLESS_ERROR_UNKNOWN_TASK);
    assert_eq!(status(tasks, high), Err(S::LATCHLESS_ERROR_UNKNOWN_TASK));
    assert_eq!(latchless_claim_release(first), S::LATCHLESS_OK);
    let counts: latchless_task_counts =
        // SAFETY: the result is there.
        got(|counts| unsafe { latchless_tasks_counts(tasks, counts) }).unwrap();
    assert_eq!((counts.assigned, counts.completed), (1, 0));

    // Another queue has a task in the same slot, and does not know this one.
    let other = queue(4);
    submit(other, 1, 0, "theirs").unwrap();
    assert_eq!(status(other, low), Err(S::LATCHLESS_ERROR_UNKNOWN_TASK));
    assert_eq!(latchless_tasks_forget(other, low), S::LATCHLESS_ERROR_UNKNOWN_TASK);
    assert_eq!(latchless_tasks_destroy(other), S::LATCHLESS_OK);
    assert_eq!(latchless_tasks_destroy(tasks), S::LATCHLESS_OK);
}

#[test]
fn a_claim_whose_lease_is_over_is_lost() {
    let tasks = queue(2);
    let task = submit(tasks, 1, LATCHLESS_ANY_TYPE, "").unwrap();
    // SAFETY: the results are there, and lists have the room that is told, in all of this test.
    let reclaim = |now| unsafe {
        let mut taken =
            [latchless_reclaimed { task, worker: 0, attempt: 0, used_up: 9, unused: 0 }];
        let count =
            got(|count| latchless_tasks_reclaim_expired(tasks, now, taken.as_mut_ptr(), 1, count));
        (count.unwrap(), taken[0])
    };
    for attempt in 1..=3 {
        let start = u64::from(attempt) * 1_000;
        let late = claim(tasks, 5, 0, start).unwrap();
        assert_eq!(latchless_claim_start(late), S::LATCHLESS_OK);
        assert_eq!(latchless_claim_renew(late, start + 50), S::LATCHLESS_OK);
        assert_eq!(reclaim(start + 120).0, 0, "it was renewed");
        let (count, taken) = reclaim(start + 200);
        let used_up = u32::from(attempt == 3);
        assert_eq!((count, taken.task, taken.worker), (1, task, 5));
        assert_eq!((taken.attempt, taken.used_up), (attempt, used_up));
        // The last attempt stays in the task's word, which has failed by it.
        let refused = match attempt {
            3 => S::LATCHLESS_ERROR_NOT_A_STEP,
            _ => S::LATCHLESS_ERROR_CLAIM_LOST,
        };
        assert_eq!(latchless_claim_complete(late), refused);
        assert_eq!(latchless_claim_renew(late, start), refused);
        assert_eq!(latchless_claim_release(late), S::LATCHLESS_OK);
    }
    assert_eq!(status(tasks, task), Ok(LATCHLESS_TASK_FAILED));

    let task = submit(tasks, 1, LATCHLESS_ANY_TYPE, "").unwrap();
    let given = claim(tasks, 6, 0, 0).unwrap();
    assert_eq!(latchless_claim_give_back(given), S::LATCHLESS_OK);
    assert_eq!(status(tasks, task), Ok(LATCHLESS_TASK_PENDING));
    let again = claim(tasks, 6, 0, 0).unwrap();
    // SAFETY: a list of nothing may be null, and a count may be.
    unsafe {
        // What could not be told is not done.
        let status = latchless_tasks_reclaim_worker(tasks, 6, null_mut(), 1, null_mut());
        assert_eq!(status, S::LATCHLESS_ERROR_NULL_POINTER);
        assert_eq!(latchless_claim_start(again), S::LATCHLESS_OK);
        let status = latchless_tasks_reclaim_worker(tasks, 6, null_mut(), 0, null_mut());
        assert_eq!(status, S::LATCHLESS_OK);
    }
    // A claim may outlive its queue.
    assert_eq!(latchless_tasks_destroy(tasks), S::LATCHLESS_OK);
    assert_eq!(latchless_claim_fail(again), S::LATCHLESS_ERROR_CLAIM_LOST);
    for claim in [given, again] {
        assert_eq!(latchless_claim_release(claim), S::LATCHLESS_OK);
    }
    // SAFETY: a payload of nothing may be null.
    let status = unsafe { latchless_tasks_submit(tasks, 1, 0, null(), 0, null_mut()) };
    assert_eq!(status, S::LATCHLESS_ERROR_STALE_HANDLE);
}
