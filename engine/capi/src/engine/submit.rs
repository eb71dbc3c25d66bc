//! Submitting and cancelling.

use std::ffi::c_void;

use latchless::RequestId;

use super::event::latchless_event;
use super::request::latchless_request;
use super::stream::Stream;
use crate::arguments::{duration, out};
use crate::call::call;
use crate::handles::{latchless_agent, latchless_engine, latchless_stream};
use crate::pool::write_if_wanted;
use crate::status::{Failure, latchless_status};

/// What is called with each event of a request. `event` is good during the call. It must return, and not by
/// an exception or longjmp().
pub type latchless_callback =
    Option<unsafe extern "C" fn(user: *mut c_void, event: *const latchless_event)>;

/// Hands a request to the engine, to be read by latchless_stream_poll() or latchless_stream_wait(). The prompt
/// is read and its blocks are reserved by this call, all or nothing; no decode, no other submitter and no
/// reader can make it wait.
///
/// Owner of `stream`: the caller, who ends it with latchless_stream_release(); it may outlive the engine.
/// Threads: any. Real-time: no lock and no wait, but it allocates, for the prompt and the stream: see
/// docs/c-abi.md for what that means. One system call when the lane sleeps.
///
/// Errors, and nothing was taken: PROMPT, EXHAUSTED, QUOTA, UNKNOWN_AGENT, TOO_MANY_REQUESTS, DRAINING,
/// CLOSED, INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_submit(
    engine: latchless_engine,
    agent: latchless_agent,
    request: *const latchless_request,
    stream: *mut latchless_stream,
) -> latchless_status {
    call(|| {
        let inside = engine.get()?;
        // SAFETY: the caller's promise.
        let stream = unsafe { out(stream, "stream") }?;
        // SAFETY: the caller's promise.
        let request = unsafe { latchless_request::read(request) }?;
        let tokens = inside.engine.submit(inside.agent(agent), request)?;
        stream.write(latchless_stream::of(Stream::new(engine, tokens))?);
        Ok(())
    })
}

/// Hands a request to the engine, whose events `callback` is called with, on the engine's callback thread or
/// by latchless_engine_dispatch(): never on a lane's thread, so that a slow one delays no other request.
///
/// If this succeeds the last call has `LATCHLESS_EVENT_FINISHED`, and comes exactly once, also when the engine
/// is destroyed: `user` is not touched after it. `id`, which may be NULL, gets the request, for
/// latchless_engine_cancel(); the first call may come before this one returns.
///
/// Threads, real-time, errors: as for latchless_engine_submit().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_submit_callback(
    engine: latchless_engine,
    agent: latchless_agent,
    request: *const latchless_request,
    callback: latchless_callback,
    user: *mut c_void,
    id: *mut u64,
) -> latchless_status {
    call(|| {
        let inside = engine.get()?;
        let callback = callback.ok_or(Failure::NullPointer("callback"))?;
        // SAFETY: the caller's promise.
        let id = if id.is_null() { None } else { Some(unsafe { out(id, "id") }?) };
        // SAFETY: the caller's promise.
        let request = unsafe { latchless_request::read(request) }?;
        let place = inside.callbacks.reserve()?;
        let tokens = inside.engine.submit(inside.agent(agent), request)?;
        // Before the route is there: it may end, and what it is for with it, before this call.
        if let Some(id) = id {
            id.write(tokens.id().0);
        }
        place.fill(tokens, callback, user);
        Ok(())
    })
}

/// Asks the lane to end a request, and returns at once; its finished event has
/// `LATCHLESS_FINISH_CANCELLED`, unless it ended before. `asked`, which may be NULL, gets 0 when it has ended
/// or never was, else 1.
///
/// Threads: any. Real-time: yes; one system call when the lane sleeps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_cancel(
    engine: latchless_engine,
    request: u64,
    asked: *mut u32,
) -> latchless_status {
    call(|| {
        let engine = engine.get()?;
        let known = engine.engine.cancel(RequestId(request));
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(asked, known.into(), "asked") }
    })
}

/// Makes the callbacks that are due, on the calling thread; waits for the first one, at most `timeout_ns`
/// nanoseconds, 0 for not at all. `events`, which may be NULL, gets how many were made. Returns at once when
/// the engine is destroyed.
///
/// Threads: one at a time on an engine, and none where the engine has a callback thread. Real-time: no, it
/// makes callbacks.
///
/// Errors: BUSY; a time that is over is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_dispatch(
    engine: latchless_engine,
    timeout_ns: u64,
    events: *mut u32,
) -> latchless_status {
    call(|| {
        let engine = engine.get()?;
        let made = engine.callbacks.dispatch(duration(timeout_ns))?;
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(events, made, "events") }
    })
}
