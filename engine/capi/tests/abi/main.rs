//! Every function through the door that C uses, and every kind of handle that it may bring.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "all of it is C's side of the door")]

mod engine;
mod handles;
mod pool;
mod tasks;

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

use latchless_capi::engine::event::{LATCHLESS_EVENT_FINISHED, latchless_event};
use latchless_capi::engine::request::{latchless_request, latchless_request_init};
use latchless_capi::engine::{latchless_engine_agent, latchless_engine_create_scripted};
use latchless_capi::handles::{
    latchless_agent, latchless_engine, latchless_pool, latchless_stream,
};
use latchless_capi::options::{
    latchless_engine_options, latchless_engine_options_init, latchless_scripted_options,
    latchless_scripted_options_init,
};
use latchless_capi::pool::{
    latchless_pool_create, latchless_pool_options, latchless_pool_options_init,
    latchless_pool_register,
};
use latchless_capi::status::{latchless_last_error, latchless_status};

pub(crate) use latchless_capi::status::latchless_status as S;

/// Calls a function that writes its result, and takes it.
pub(crate) fn got<T>(function: impl FnOnce(*mut T) -> latchless_status) -> Result<T, S> {
    let mut result = MaybeUninit::uninit();
    match function(result.as_mut_ptr()) {
        // SAFETY: a function that succeeds has written its result.
        S::LATCHLESS_OK => Ok(unsafe { result.assume_init() }),
        status => Err(status),
    }
}

/// What a call said that failed.
pub(crate) fn last_error() -> String {
    // SAFETY: the text is good until the thread's next failing call, and is copied at once.
    unsafe { CStr::from_ptr(latchless_last_error()) }.to_str().unwrap().to_owned()
}

pub(crate) fn pool(blocks: u32) -> latchless_pool {
    // SAFETY: the results are there, as in all calls below.
    unsafe {
        let size = size_of::<latchless_pool_options>();
        let mut options = got(|options| latchless_pool_options_init(options, size)).unwrap();
        options.blocks = blocks;
        options.layers = 4;
        options.max_agents = 8;
        got(|pool| latchless_pool_create(&raw const options, pool)).unwrap()
    }
}

pub(crate) fn agent(pool: latchless_pool) -> latchless_agent {
    // SAFETY: the result is there.
    got(|agent| unsafe { latchless_pool_register(pool, agent) }).unwrap()
}

/// An engine that says `text`, which the test steps.
pub(crate) fn engine(
    script: u32,
    text: &CStr,
    change: impl FnOnce(&mut latchless_engine_options, &mut latchless_scripted_options),
) -> Result<latchless_engine, S> {
    // SAFETY: the options are initialised, and the text outlives the call.
    unsafe {
        let size = size_of::<latchless_engine_options>();
        let mut options = got(|options| latchless_engine_options_init(options, size)).unwrap();
        let size = size_of::<latchless_scripted_options>();
        let mut scripted = got(|options| latchless_scripted_options_init(options, size)).unwrap();
        scripted.script = script;
        scripted.text = text.as_ptr();
        change(&mut options, &mut scripted);
        let (options, scripted) = (&raw const options, &raw const scripted);
        got(|engine| latchless_engine_create_scripted(options, scripted, engine))
    }
}

pub(crate) fn named(engine: latchless_engine, name: &str) -> Result<latchless_agent, S> {
    let name = CString::new(name).unwrap();
    // SAFETY: the name is a text, and the result is there.
    got(|agent| unsafe { latchless_engine_agent(engine, name.as_ptr(), agent) })
}

pub(crate) fn request(text: &CStr) -> latchless_request {
    let size = size_of::<latchless_request>();
    // SAFETY: the result is there.
    let mut request = got(|request| unsafe { latchless_request_init(request, size) }).unwrap();
    request.text = text.as_ptr();
    request
}

/// Everything that a stream has, by looking.
pub(crate) fn read(stream: latchless_stream) -> (String, latchless_event) {
    let mut text = String::new();
    loop {
        let poll = latchless_capi::engine::stream::latchless_stream_poll;
        // SAFETY: the result is there.
        let event = got(|event| unsafe { poll(stream, event) }).unwrap();
        let bytes = &event.text[..event.text_bytes as usize];
        text.push_str(std::str::from_utf8(bytes).unwrap());
        if event.kind == LATCHLESS_EVENT_FINISHED {
            return (text, event);
        }
    }
}
