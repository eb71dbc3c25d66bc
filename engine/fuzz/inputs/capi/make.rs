//! Objects with options made of bytes: as a rule they make one.

use latchless_capi::engine::latchless_engine_create_scripted;
use latchless_capi::engine::request::{latchless_request, latchless_request_init};
use latchless_capi::handles::{latchless_engine, latchless_pool, latchless_tasks};
use latchless_capi::options::{latchless_engine_options, latchless_engine_options_init};
use latchless_capi::pool::{
    latchless_pool_create, latchless_pool_options, latchless_pool_options_init,
};
use latchless_capi::status::latchless_status as S;
use latchless_capi::tasks::{
    latchless_tasks_create, latchless_tasks_options, latchless_tasks_options_init,
};
use std::ptr::null;

use super::Bytes;

pub(super) fn pool(bytes: &mut Bytes<'_>) -> (S, u64) {
    let mut options = std::mem::MaybeUninit::<latchless_pool_options>::uninit();
    let mut pool = latchless_pool::NULL;
    // SAFETY: the options are initialised by the first call, and the result is there.
    let status = unsafe {
        latchless_pool_options_init(options.as_mut_ptr(), size_of::<latchless_pool_options>());
        let mut options = options.assume_init();
        options.blocks = 64 + bytes.small();
        options.layers = bytes.small() % 3;
        options.max_agents = 1 + bytes.small() % 8;
        latchless_pool_create(&raw const options, &raw mut pool)
    };
    (status, pool.bits)
}

pub(super) fn engine(bytes: &mut Bytes<'_>) -> (S, u64) {
    let mut options = std::mem::MaybeUninit::<latchless_engine_options>::uninit();
    let mut engine = latchless_engine::NULL;
    // SAFETY: the options are initialised by the first call, and the result is there.
    let status = unsafe {
        let size = size_of::<latchless_engine_options>();
        latchless_engine_options_init(options.as_mut_ptr(), size);
        let mut options = options.assume_init();
        options.lanes = bytes.small() % 3;
        options.max_agents = 4;
        options.max_requests = 4;
        latchless_engine_create_scripted(&raw const options, null(), &raw mut engine)
    };
    (status, engine.bits)
}

pub(super) fn queue(bytes: &mut Bytes<'_>) -> (S, u64) {
    let mut options = std::mem::MaybeUninit::<latchless_tasks_options>::uninit();
    let mut tasks = latchless_tasks::NULL;
    // SAFETY: the options are initialised by the first call, and the result is there.
    let status = unsafe {
        latchless_tasks_options_init(options.as_mut_ptr(), size_of::<latchless_tasks_options>());
        let mut options = options.assume_init();
        options.capacity = bytes.small() % 8;
        options.agent_types = 3;
        options.lease_ticks = 1 + u64::from(bytes.byte());
        latchless_tasks_create(&raw const options, &raw mut tasks)
    };
    (status, tasks.bits)
}

pub(super) fn request(bytes: &mut Bytes<'_>) -> latchless_request {
    let mut request = std::mem::MaybeUninit::<latchless_request>::uninit();
    // SAFETY: the result is there, and the call succeeds.
    let mut request = unsafe {
        latchless_request_init(request.as_mut_ptr(), size_of::<latchless_request>());
        request.assume_init()
    };
    request.text = [c"hi", c"", c"\xFF"][usize::from(bytes.byte()) % 3].as_ptr();
    request.max_tokens = bytes.small() % 8;
    request.draw = bytes.small() % 2;
    request.temperature = f32::from_bits(bytes.word() as u32);
    request.size = if bytes.byte() > 250 { bytes.word() as usize } else { request.size };
    request
}
