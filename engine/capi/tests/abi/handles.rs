//! Null, stale, foreign and made-up handles are statuses everywhere, and objects live until the last call on
//! them returns.

use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use latchless_capi::engine::run::{latchless_engine_drain, latchless_engine_step};
use latchless_capi::engine::stream::latchless_stream_release;
use latchless_capi::engine::submit::{latchless_engine_cancel, latchless_engine_submit};
use latchless_capi::engine::{latchless_engine_destroy, latchless_engine_usage};
use latchless_capi::handles::{
    latchless_agent, latchless_block, latchless_claim, latchless_engine, latchless_lease,
    latchless_machine, latchless_pool, latchless_stream, latchless_tasks,
};
use latchless_capi::lease::latchless_lease_release;
use latchless_capi::machine::{latchless_machine_create, latchless_machine_destroy};
use latchless_capi::options::LATCHLESS_SCRIPT_ECHO;
use latchless_capi::pool::{
    latchless_pool_allocate, latchless_pool_create, latchless_pool_destroy, latchless_pool_free,
};
use latchless_capi::status::{latchless_last_status, latchless_status_name};
use latchless_capi::tasks::claim::latchless_claim_release;
use latchless_capi::tasks::{latchless_tasks_create, latchless_tasks_destroy};

use crate::{S, agent, engine, got, last_error, named, pool, request};

/// Ends whatever a number may be the handle of, as each kind.
fn end_as_every_kind(bits: u64) -> [S; 7] {
    [
        latchless_pool_destroy(latchless_pool { bits }),
        latchless_lease_release(latchless_lease { bits }),
        latchless_engine_destroy(latchless_engine { bits }),
        latchless_stream_release(latchless_stream { bits }),
        latchless_machine_destroy(latchless_machine { bits }),
        latchless_tasks_destroy(latchless_tasks { bits }),
        latchless_claim_release(latchless_claim { bits }),
    ]
}

#[test]
fn a_handle_works_as_its_own_kind_only() {
    assert_eq!(end_as_every_kind(0), [S::LATCHLESS_ERROR_NULL_HANDLE; 7]);
    assert!(last_error().contains("claim: the handle is null"), "{}", last_error());
    for garbage in [1, u64::MAX, 0xDEAD_BEEF, 1 << 63] {
        for status in end_as_every_kind(garbage) {
            let refused = [S::LATCHLESS_ERROR_FOREIGN_HANDLE, S::LATCHLESS_ERROR_STALE_HANDLE];
            assert!(refused.contains(&status), "{garbage:x}: {status:?}");
        }
    }
    let machine = got(|machine| {
        // SAFETY: the result is there.
        unsafe { latchless_machine_create(machine) }
    })
    .unwrap();
    let mut expected = [S::LATCHLESS_ERROR_FOREIGN_HANDLE; 7];
    expected[4] = S::LATCHLESS_OK;
    assert_eq!(end_as_every_kind(machine.bits), expected);
    expected[4] = S::LATCHLESS_ERROR_STALE_HANDLE;
    assert_eq!(end_as_every_kind(machine.bits), expected);
}

#[test]
fn null_pointers_are_refused_by_name() {
    let pool = pool(8);
    let me = agent(pool);
    // SAFETY: null pointers are not followed: that is what is tested.
    unsafe {
        assert_eq!(latchless_pool_create(null_mut(), null_mut()), S::LATCHLESS_ERROR_NULL_POINTER);
        assert!(last_error().starts_with("pool is NULL"), "{}", last_error());
        let status = latchless_pool_allocate(pool, me, 0, null_mut(), 4);
        assert_eq!(status, S::LATCHLESS_ERROR_NULL_POINTER);
        let status = latchless_pool_free(pool, me, null_mut(), 4, null_mut());
        assert_eq!(status, S::LATCHLESS_ERROR_NULL_POINTER);
        assert_eq!(latchless_pool_free(pool, me, null_mut(), 0, null_mut()), S::LATCHLESS_OK);
        let status = latchless_tasks_create(null_mut(), null_mut());
        assert_eq!(status, S::LATCHLESS_ERROR_NULL_POINTER);
        let odd = without_provenance_mut(9);
        let status = latchless_pool_allocate(pool, me, 0, odd, 1);
        assert_eq!(status, S::LATCHLESS_ERROR_INVALID_ARGUMENT);
        let status = latchless_pool_allocate(pool, me, 0, without_provenance_mut(8), usize::MAX);
        assert_eq!(status, S::LATCHLESS_ERROR_INVALID_ARGUMENT);
    }
    assert_eq!(latchless_pool_destroy(pool), S::LATCHLESS_OK);
}

#[test]
fn each_thread_has_its_own_last_error() {
    assert_eq!(latchless_pool_destroy(latchless_pool::NULL), S::LATCHLESS_ERROR_NULL_HANDLE);
    let (before, status) = (last_error(), latchless_last_status());
    thread::spawn(|| {
        assert_eq!((last_error(), latchless_last_status()), (String::new(), S::LATCHLESS_OK));
        let machine = latchless_machine { bits: 0 };
        assert_eq!(latchless_machine_destroy(machine), S::LATCHLESS_ERROR_NULL_HANDLE);
        assert!(last_error().starts_with("machine"));
    })
    .join()
    .unwrap();
    assert_eq!((last_error(), latchless_last_status()), (before, status));
    assert!(last_error().starts_with("pool"));
    // A call that succeeds leaves it.
    latchless_pool_destroy(pool(1));
    assert!(last_error().starts_with("pool"));
}

#[test]
fn a_number_that_is_no_status_has_a_name_all_the_same() {
    let name = |status| {
        // SAFETY: names are the library's, for ever.
        unsafe { std::ffi::CStr::from_ptr(latchless_status_name(status)) }.to_str().unwrap()
    };
    assert_eq!((name(0), name(30)), ("LATCHLESS_OK", "LATCHLESS_ERROR_EXHAUSTED"));
    assert_eq!((name(-1), name(i32::MAX)), ("LATCHLESS_ERROR_?", "LATCHLESS_ERROR_?"));
}

/// A third thread destroys and makes pools anew all the time: a call is done on a pool that is whole, or it is
/// refused for a stale handle, and nothing is left behind.
#[test]
fn pools_may_be_destroyed_under_threads_that_use_them() {
    const ROUNDS: u32 = 2_000;
    let shown = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut blocks = [latchless_block { block: 0, seal: 0 }; 16];
                while !over.load(Ordering::Acquire) {
                    let pool = latchless_pool { bits: shown.load(Ordering::Acquire) };
                    let register = latchless_capi::pool::latchless_pool_register;
                    // SAFETY: the results are there, as in the call below.
                    let Ok(me) = got(|me| unsafe { register(pool, me) }) else { continue };
                    // SAFETY: as above.
                    let status =
                        unsafe { latchless_pool_allocate(pool, me, 0, blocks.as_mut_ptr(), 16) };
                    let fine = [S::LATCHLESS_OK, S::LATCHLESS_ERROR_STALE_HANDLE];
                    let exhausted = S::LATCHLESS_ERROR_EXHAUSTED;
                    assert!(fine.contains(&status) || status == exhausted, "{status:?}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..ROUNDS {
            let pool = pool(64);
            shown.store(pool.bits, Ordering::Release);
            assert_eq!(latchless_pool_destroy(pool), S::LATCHLESS_OK);
        }
        // Some pool is met, however the threads are scheduled.
        let last = pool(64);
        shown.store(last.bits, Ordering::Release);
        while done.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        over.store(true, Ordering::Release);
        assert_eq!(latchless_pool_destroy(last), S::LATCHLESS_OK);
    });
}

/// Of an engine that is gone, of another engine, or made up: agents and requests are nobody's.
#[test]
fn an_engine_s_numbers_are_its_own() {
    let make = || engine(LATCHLESS_SCRIPT_ECHO, c"", |_, _| {}).unwrap();
    let (mine, theirs) = (make(), make());
    let (me, them) = (named(mine, "a").unwrap(), named(theirs, "a").unwrap());
    assert_ne!(me, them);
    let request = request(c"hi");
    let submit = |engine, agent| {
        // SAFETY: the request's text is there, and the result is.
        got(|stream| unsafe { latchless_engine_submit(engine, agent, &raw const request, stream) })
    };
    assert_eq!(submit(mine, them), Err(S::LATCHLESS_ERROR_UNKNOWN_AGENT));
    assert_eq!(submit(mine, latchless_agent { bits: 7 }), Err(S::LATCHLESS_ERROR_UNKNOWN_AGENT));
    let stream = submit(mine, me).unwrap();
    // SAFETY: the results are there.
    unsafe {
        for garbage in [0, 7, u64::MAX] {
            assert_eq!(got(|asked| latchless_engine_cancel(mine, garbage, asked)), Ok(0));
        }
        assert_eq!(latchless_engine_step(mine, 1, null_mut()), S::LATCHLESS_ERROR_INVALID_ARGUMENT);
    }
    assert_eq!(latchless_engine_destroy(mine), S::LATCHLESS_OK);
    assert_eq!(submit(mine, me), Err(S::LATCHLESS_ERROR_STALE_HANDLE));
    // SAFETY: the results are there.
    unsafe {
        assert_eq!(latchless_engine_step(mine, 0, null_mut()), S::LATCHLESS_ERROR_STALE_HANDLE);
        assert_eq!(latchless_engine_drain(mine, 0, null_mut()), S::LATCHLESS_ERROR_STALE_HANDLE);
        let usage = got(|usage| latchless_engine_usage(mine, usage));
        assert_eq!(usage.unwrap_err(), S::LATCHLESS_ERROR_STALE_HANDLE);
    }
    let (text, _) = crate::read(stream);
    assert_eq!(text, "", "it never ran, and its stream is there all the same");
    assert_eq!(latchless_stream_release(stream), S::LATCHLESS_OK);
    assert_eq!(latchless_engine_destroy(theirs), S::LATCHLESS_OK);
}
