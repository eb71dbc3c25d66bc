//! Driving an engine: steps, drains, swaps.

use std::sync::Arc;

use ::latchless_engine::Retiring;

use super::Engine;
use crate::arguments::{self, duration, out};
use crate::call::call;
use crate::handles::latchless_engine;
use crate::options::{latchless_llama_options, latchless_scripted_options};
use crate::pool::write_if_wanted;
use crate::status::{Failure, latchless_status};

/// What one step did.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct latchless_step {
    /// Requests that got a sequence.
    pub admitted: u32,
    /// Rows of prompts that were computed.
    pub prefill_rows: u32,
    /// Rows of drawn tokens that were computed.
    pub decode_rows: u32,
    /// Decodes that the backend failed.
    pub failed_decodes: u32,
    /// Requests that ended.
    pub ended: u32,
    /// Requests that have a sequence after the step.
    pub running: u32,
    /// Requests that wait for one.
    pub waiting: u32,
    /// 1 if anything moved. If not, the lane has nothing to do until somebody submits, cancels or reads from a
    /// full stream.
    pub progressed: u32,
    /// 1 if the lane is closed: no step will do anything.
    pub closed: u32,
}

/// One step of a lane, 0 to the engine's lanes - 1: at most one batch. `step`, which may be NULL, gets what it
/// did.
///
/// Threads: one at a time on a lane; as a rule one that does nothing else. Real-time: no, it computes.
///
/// Errors: BUSY, INVALID_ARGUMENT for an engine whose lanes have threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_step(
    engine: latchless_engine,
    lane: u32,
    step: *mut latchless_step,
) -> latchless_status {
    call(|| {
        let engine = engine.get()?;
        let report = engine.lanes.step(lane as usize)?;
        let done = latchless_step {
            admitted: report.admitted,
            prefill_rows: report.prefill_rows,
            decode_rows: report.decode_rows,
            failed_decodes: report.failed_decodes,
            ended: report.ended,
            running: report.running,
            waiting: report.waiting,
            progressed: report.progressed().into(),
            closed: report.closed.into(),
        };
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(step, done, "step") }
    })
}

/// Waits until all requests have ended, at most `timeout_ns` nanoseconds; meanwhile submits are refused.
/// `ended`, which may be NULL, gets how many it waited for. A host that steps the lanes itself calls it from
/// another thread.
///
/// Threads: any. Real-time: no, it sleeps. Errors: TIMED_OUT, and the text names the requests.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_drain(
    engine: latchless_engine,
    timeout_ns: u64,
    ended: *mut u32,
) -> latchless_status {
    call(|| {
        let engine = engine.get()?;
        let waited_for = engine.engine.drain(duration(timeout_ns))?;
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(ended, waited_for, "ended") }
    })
}

/// Replaces the model by one that needs none: as latchless_engine_swap_llama().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_swap_scripted(
    engine: latchless_engine,
    scripted: *const latchless_scripted_options,
) -> latchless_status {
    call(|| {
        let engine = engine.get()?;
        // SAFETY: the caller's promise.
        let scripted = unsafe { arguments::options(scripted) }?;
        // SAFETY: the caller's promise.
        let backends = unsafe { scripted.backends(engine.lanes.count() as u32) }?;
        engine.swap(|| Ok(backends))
    })
}

/// Replaces the model under load: requests that are submitted from now on are answered by the new one, those
/// that were accepted before by the old one, which is dropped when they have ended. The new model is loaded by
/// this call, and nobody else waits for it; if that fails everything is as before. Agents keep their numbers.
/// Where the host steps the lanes, its next steps step the new ones, too.
///
/// Threads: any, one at a time. Real-time: no.
///
/// Errors: LOAD, ENGINE, RETIRING while the model before has requests, BUSY while another thread swaps,
/// CLOSED, UNSUPPORTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_swap_llama(
    engine: latchless_engine,
    llama: *const latchless_llama_options,
) -> latchless_status {
    call(|| {
        let engine = engine.get()?;
        // SAFETY: the caller's promise.
        unsafe { swap_model(&engine, llama) }
    })
}

/// # Safety
/// As for [`arguments::options`], and its path is a text.
#[cfg(feature = "llama")]
unsafe fn swap_model(
    engine: &Engine,
    llama: *const latchless_llama_options,
) -> Result<(), Failure> {
    if llama.is_null() {
        return Err(Failure::NullPointer("llama"));
    }
    // SAFETY: the caller's promise.
    let llama = unsafe { arguments::options(llama) }?;
    // SAFETY: the caller's promise.
    let load = unsafe { llama.load(engine.lanes.count() as u32) }?;
    engine.swap(|| load.contexts())
}

/// # Safety
/// None: nothing is read.
#[cfg(not(feature = "llama"))]
unsafe fn swap_model(
    _engine: &Engine,
    _llama: *const latchless_llama_options,
) -> Result<(), Failure> {
    Err(Failure::Unsupported("llama.cpp"))
}

impl Engine {
    fn swap<B: ::latchless_engine::backend::Backend>(
        &self,
        load: impl FnOnce() -> Result<Vec<B>, Failure>,
    ) -> Result<(), Failure> {
        let retiring = if self.lanes.are_stepped() {
            let (retiring, lanes) = self.engine.swap_stepped(load()?)?;
            self.lanes.replace(lanes);
            retiring
        } else {
            self.engine.swap(load)?
        };
        self.retiring.store(Some(Arc::new(retiring)));
        Ok(())
    }
}

/// How many requests the model before has still; 0 when there is none, and it is gone.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_retiring(
    engine: latchless_engine,
    requests: *mut u32,
) -> latchless_status {
    call(|| {
        let engine = engine.get()?;
        // SAFETY: the caller's promise.
        let requests = unsafe { out(requests, "requests") }?;
        let before = engine.retiring.load();
        requests.write(before.as_deref().map_or(0, Retiring::remaining));
        Ok(())
    })
}

/// Waits until the model before has finished its requests and is gone, at most `timeout_ns` nanoseconds. Where
/// the host steps the lanes it is another thread that waits.
///
/// Threads: any. Real-time: no, it sleeps. Errors: RETIRING when the time is over.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_engine_wait_retired(
    engine: latchless_engine,
    timeout_ns: u64,
) -> latchless_status {
    call(|| {
        let engine = engine.get()?;
        let before = engine.retiring.load_full();
        Ok(before.map_or(Ok(()), |before| before.wait(duration(timeout_ns)))?)
    })
}
