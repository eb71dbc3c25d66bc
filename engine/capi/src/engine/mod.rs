//! The engine: made, stepped or given threads, drained, swapped, destroyed.

pub mod event;
pub mod request;
pub mod run;
pub mod stream;
pub mod submit;

mod callbacks;
mod lanes;

use std::ffi::c_char;
use std::sync::Arc;

use ::latchless_engine::backend::Backend;
use ::latchless_engine::{EngineError, Lane, Retiring};
use arc_swap::ArcSwapOption;
use latchless::AgentHandle;

use self::callbacks::Callbacks;
use self::lanes::Lanes;
use crate::arguments::{self, out, text};
use crate::call::call;
use crate::handles::{latchless_agent, latchless_engine};
use crate::options::{
    latchless_engine_options, latchless_llama_options, latchless_scripted_options,
};
use crate::pool::latchless_usage;
use crate::seal::Key;
use crate::status::{Failure, latchless_status};

pub use self::stream::Stream;

/// What is behind a `latchless_engine`.
pub struct Engine {
    pub(crate) engine: ::latchless_engine::Engine,
    /// What the numbers of its agents are sealed with.
    key: Key,
    /// Those that the host steps.
    lanes: Lanes,
    callbacks: Arc<Callbacks>,
    /// The model that was replaced last.
    retiring: ArcSwapOption<Retiring>,
}

impl Engine {
    fn new<B: Backend>(
        options: &latchless_engine_options,
        contexts: Vec<B>,
    ) -> Result<Self, Failure> {
        let (engine, lanes) = ::latchless_engine::Engine::with_lanes(contexts, options.config())?;
        let count = lanes.len();
        let stepped = if options.lane_threads == 0 {
            lanes.into_iter().map(Some).collect()
        } else {
            spawn(lanes)?;
            Vec::new()
        };
        let callbacks = Callbacks::new(options.max_requests as usize);
        if options.callback_thread != 0 {
            callbacks.spawn().map_err(EngineError::Thread)?;
        }
        Ok(Self {
            engine,
            key: Key::new(),
            lanes: Lanes::new(count, stepped),
            callbacks,
            retiring: ArcSwapOption::empty(),
        })
    }

    pub(crate) fn agent(&self, agent: latchless_agent) -> AgentHandle {
        AgentHandle::from_bits(self.key.apply(agent.bits))
    }

    /// Ends everything: requests, lanes, threads, callbacks. What is inside other threads' calls ends by
    /// itself, because nothing is left to wait for. May be called any number of times.
    fn end(&self) {
        self.engine.shutdown();
        self.lanes.close();
        self.callbacks.close();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A submit that raced with the destroy may have left something.
        self.end();
    }
}

fn spawn<B: Backend>(lanes: Vec<Lane<B>>) -> Result<(), EngineError> {
    lanes.into_iter().try_for_each(Lane::spawn)
}

/// Makes an engine on a backend that needs no model. Either options may be NULL for the defaults.
///
/// Owner: the caller, who ends it with latchless_engine_destroy(). Threads: any; the engine has those that
/// the options ask for, and no other. Real-time: no.
///
/// Errors: INVALID_ARGUMENT, ENGINE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_create_scripted(
    options: *const latchless_engine_options,
    scripted: *const latchless_scripted_options,
    engine: *mut latchless_engine,
) -> latchless_status {
    call(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { arguments::options(options) }?;
        // SAFETY: the caller's promise.
        let scripted = unsafe { arguments::options(scripted) }?;
        // SAFETY: the caller's promise.
        let engine = unsafe { out(engine, "engine") }?;
        options.check()?;
        // SAFETY: the caller's promise.
        let backends = unsafe { scripted.backends(options.lanes) }?;
        engine.write(latchless_engine::of(Engine::new(&options, backends)?)?);
        Ok(())
    })
}

/// Makes an engine on a GGUF model, which is loaded by this call: that takes seconds. `options` may be NULL
/// for the defaults.
///
/// Owner, threads: as for latchless_engine_create_scripted(); llama.cpp computes with threads of its own
/// within a decode. Real-time: no.
///
/// Errors: INVALID_ARGUMENT, LOAD, ENGINE, UNSUPPORTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_create_llama(
    options: *const latchless_engine_options,
    llama: *const latchless_llama_options,
    engine: *mut latchless_engine,
) -> latchless_status {
    call(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { arguments::options(options) }?;
        // SAFETY: the caller's promise.
        let engine = unsafe { out(engine, "engine") }?;
        options.check()?;
        // SAFETY: the caller's promise.
        engine.write(latchless_engine::of(unsafe { on_model(&options, llama) }?)?);
        Ok(())
    })
}

/// # Safety
/// As for [`arguments::options`], and its path is a text.
#[cfg(feature = "llama")]
unsafe fn on_model(
    options: &latchless_engine_options,
    llama: *const latchless_llama_options,
) -> Result<Engine, Failure> {
    if llama.is_null() {
        return Err(Failure::NullPointer("llama"));
    }
    // SAFETY: the caller's promise.
    let llama = unsafe { arguments::options(llama) }?;
    // SAFETY: the caller's promise.
    let load = unsafe { llama.load(options.lanes) }?;
    Engine::new(options, load.contexts()?)
}

/// # Safety
/// None: nothing is read.
#[cfg(not(feature = "llama"))]
unsafe fn on_model(
    _options: &latchless_engine_options,
    _llama: *const latchless_llama_options,
) -> Result<Engine, Failure> {
    Err(Failure::Unsupported("llama.cpp"))
}

/// Ends an engine: its handle and its agents are refused from now on, requests that are waiting or running
/// end as `LATCHLESS_FINISH_SHUTDOWN`, its threads end, and every callback has had its last event when this
/// returns. Streams can be read to their end. To let requests finish, latchless_engine_drain() before.
///
/// Waits for the decode that a lane is in, for the step or the callback that another thread is in; not for
/// other calls, which end as if they had come before. May be called from a callback of this engine: then the
/// remaining callbacks come after that one returns.
///
/// Threads: any, also while others use the engine; of two that destroy it one does. Real-time: no.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_engine_destroy(engine: latchless_engine) -> latchless_status {
    call(|| {
        let inside = engine.get()?;
        engine.close()?;
        inside.end();
        Ok(())
    })
}

/// The agent of this name, 1 to 256 bytes; registers it when it is new.
///
/// Threads: any. Real-time: no, it goes through a map with locks: once for each agent.
///
/// Errors: INVALID_ARGUMENT, TOO_MANY_AGENTS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_agent(
    engine: latchless_engine,
    name: *const c_char,
    agent: *mut latchless_agent,
) -> latchless_status {
    call(|| {
        let engine = engine.get()?;
        // SAFETY: the caller's promise.
        let name = unsafe { text(name, "name") }?;
        // SAFETY: the caller's promise.
        let agent = unsafe { out(agent, "agent") }?;
        let bits = engine.engine.agent(name)?.to_bits();
        agent.write(latchless_agent { bits: engine.key.apply(bits) });
        Ok(())
    })
}

/// How many blocks of all lanes' pools are free now.
///
/// Threads: any. Real-time: no, it allocates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_usage(
    engine: latchless_engine,
    usage: *mut latchless_usage,
) -> latchless_status {
    call(|| {
        let engine = engine.get()?;
        // SAFETY: the caller's promise.
        let usage = unsafe { out(usage, "usage") }?;
        let mut sum = latchless_usage { total: 0, free: 0, used: 0, reserved: 0 };
        for pool in engine.engine.pools() {
            let of_one = pool.usage();
            sum.total += of_one.total;
            sum.free += of_one.free;
            sum.used += of_one.used;
            sum.reserved += of_one.reserved;
        }
        usage.write(sum);
        Ok(())
    })
}
