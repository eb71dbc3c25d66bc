//! The engine that the host steps, its streams and its callbacks.

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use latchless_capi::engine::event::{
    LATCHLESS_EVENT_FINISHED, LATCHLESS_FINISH_CANCELLED, LATCHLESS_FINISH_END,
    LATCHLESS_FINISH_LENGTH, LATCHLESS_FINISH_STOP, latchless_event,
};
use latchless_capi::engine::request::latchless_message;
use latchless_capi::engine::run::{
    latchless_engine_drain, latchless_engine_step, latchless_engine_swap_scripted, latchless_step,
};
use latchless_capi::engine::stream::{
    latchless_stream_cancel, latchless_stream_poll, latchless_stream_release,
    latchless_stream_request, latchless_stream_wait,
};
use latchless_capi::engine::submit::{
    latchless_engine_cancel, latchless_engine_dispatch, latchless_engine_submit,
    latchless_engine_submit_callback,
};
use latchless_capi::engine::{latchless_engine_destroy, latchless_engine_usage};
use latchless_capi::handles::{latchless_engine, latchless_stream};
use latchless_capi::options::{
    LATCHLESS_SCRIPT_ECHO, LATCHLESS_SCRIPT_ENDLESS, LATCHLESS_SCRIPT_TEXT,
};

use crate::{S, engine, got, last_error, named, read, request};

fn run(engine: latchless_engine) -> u32 {
    let mut ended = 0;
    loop {
        // SAFETY: the result is there.
        let step: latchless_step =
            got(|step| unsafe { latchless_engine_step(engine, 0, step) }).unwrap();
        ended += step.ended;
        if step.progressed == 0 {
            return ended;
        }
    }
}

fn submit(
    engine: latchless_engine,
    request: &latchless_capi::engine::request::latchless_request,
) -> Result<latchless_stream, S> {
    let agent = named(engine, "somebody").unwrap();
    // SAFETY: the request's texts are there, and the result is.
    got(|stream| unsafe { latchless_engine_submit(engine, agent, request, stream) })
}

fn poll(stream: latchless_stream) -> Result<latchless_event, S> {
    // SAFETY: the result is there.
    got(|event| unsafe { latchless_stream_poll(stream, event) })
}

#[test]
fn the_host_steps_and_reads_to_the_end() {
    let engine = engine(LATCHLESS_SCRIPT_TEXT, c"a\u{f1}o", |_, _| {}).unwrap();
    let stream = submit(engine, &request(c"When?")).unwrap();
    assert_eq!(poll(stream), Err(S::LATCHLESS_ERROR_NO_EVENT));
    assert_eq!(run(engine), 1);
    let (text, last) = read(stream);
    assert_eq!((text.as_str(), last.completion.reason), ("a\u{f1}o", LATCHLESS_FINISH_END));
    assert_eq!((last.completion.prompt_tokens, last.completion.generated_tokens), (6, 4));
    assert!(last.completion.blocks_freed > 0 && last.completion.error == 0);
    assert_eq!(poll(stream), Err(S::LATCHLESS_ERROR_ENDED));
    // SAFETY: the results are there.
    unsafe {
        assert_eq!(got(|id| latchless_stream_request(stream, id)), Ok(last.request));
        assert_eq!(got(|asked| latchless_stream_cancel(stream, asked)), Ok(0));
        assert_eq!(got(|usage| latchless_engine_usage(engine, usage)).unwrap().used, 0);
        assert_eq!(got(|ended| latchless_engine_drain(engine, 0, ended)), Ok(0));
    }
    assert_eq!(latchless_stream_release(stream), S::LATCHLESS_OK);
    assert_eq!(latchless_engine_destroy(engine), S::LATCHLESS_OK);
}

/// Case 15 of the behaviour, and requests that are none.
#[test]
fn nonsense_is_refused_and_nothing_is_taken() {
    let engine = engine(LATCHLESS_SCRIPT_ECHO, c"", |_, _| {}).unwrap();
    let refused = |change: &dyn Fn(&mut latchless_capi::engine::request::latchless_request)| {
        let mut request = request(c"hello");
        change(&mut request);
        submit(engine, &request).unwrap_err()
    };
    let tokens = [1, -1];
    let long = std::ffi::CString::new("x".repeat(2_000)).unwrap();
    assert_eq!(refused(&|it| it.text = c"".as_ptr()), S::LATCHLESS_ERROR_PROMPT);
    assert_eq!(refused(&|it| it.text = long.as_ptr()), S::LATCHLESS_ERROR_PROMPT);
    assert!(last_error().contains("2001 tokens"), "{}", last_error());
    assert_eq!(refused(&|it| it.text = null()), S::LATCHLESS_ERROR_INVALID_ARGUMENT);
    assert_eq!(refused(&|it| it.text = c"\xFF".as_ptr()), S::LATCHLESS_ERROR_NOT_UTF8);
    assert_eq!(refused(&|it| it.max_tokens = 0), S::LATCHLESS_ERROR_INVALID_ARGUMENT);
    assert_eq!(refused(&|it| it.priority = 9), S::LATCHLESS_ERROR_INVALID_ARGUMENT);
    assert_eq!(refused(&|it| it.size = 8), S::LATCHLESS_ERROR_STRUCT_SIZE);
    assert_eq!(refused(&|it| it.stop_count = 1), S::LATCHLESS_ERROR_NULL_POINTER);
    let hot = |it: &mut latchless_capi::engine::request::latchless_request| {
        (it.draw, it.temperature) = (1, f32::NAN);
    };
    assert_eq!(refused(&hot), S::LATCHLESS_ERROR_INVALID_ARGUMENT);
    assert_eq!(refused(&|it| it.token_count = 1), S::LATCHLESS_ERROR_INVALID_ARGUMENT);
    let strange = |it: &mut latchless_capi::engine::request::latchless_request| {
        (it.text, it.tokens, it.token_count) = (null(), tokens.as_ptr(), 2);
    };
    assert_eq!(refused(&strange), S::LATCHLESS_ERROR_PROMPT);
    assert_eq!(named(engine, ""), Err(S::LATCHLESS_ERROR_INVALID_ARGUMENT));
    // SAFETY: the result is there.
    assert_eq!(got(|usage| unsafe { latchless_engine_usage(engine, usage) }).unwrap().used, 0);
    latchless_engine_destroy(engine);
    for lanes in [0, 65] {
        let none = crate::engine(LATCHLESS_SCRIPT_ECHO, c"", |options, _| options.lanes = lanes);
        assert_eq!(none, Err(S::LATCHLESS_ERROR_INVALID_ARGUMENT));
    }
    let none = crate::engine(17, c"", |_, _| {});
    assert_eq!(none, Err(S::LATCHLESS_ERROR_INVALID_ARGUMENT));
    let none =
        crate::engine(LATCHLESS_SCRIPT_ECHO, c"", |_, scripted| scripted.tokens_per_sequence = 1);
    assert_eq!(none, Err(S::LATCHLESS_ERROR_ENGINE));
}

#[test]
fn chats_tokens_stops_and_limits_arrive() {
    let engine = engine(LATCHLESS_SCRIPT_ECHO, c"", |_, _| {}).unwrap();
    let messages = [latchless_message { role: c"user".as_ptr(), content: c"xyz".as_ptr() }];
    let mut chat = request(c"");
    (chat.text, chat.messages, chat.message_count) = (null(), messages.as_ptr(), 1);
    let tokens = [104, 105];
    let mut ids = request(c"");
    (ids.text, ids.tokens, ids.token_count) = (null(), tokens.as_ptr(), 2);
    let stops = [c"??".as_ptr(), c"lo".as_ptr()];
    let mut stopped = request(c"hello");
    (stopped.stops, stopped.stop_count) = (stops.as_ptr(), 2);
    let mut short = request(c"hello");
    short.max_tokens = 3;
    let streams = [&chat, &ids, &stopped, &short].map(|it| submit(engine, it).unwrap());
    assert_eq!(run(engine), 4);
    let [chat, ids, stopped, short] = streams.map(read);
    assert!(chat.0.contains("xyz"), "{}", chat.0);
    assert_eq!(ids.0, "hi");
    let stop = &stopped.1.completion;
    assert_eq!(
        (stopped.0.as_str(), stop.reason, stop.stop_index),
        ("hel", LATCHLESS_FINISH_STOP, 1)
    );
    assert_eq!((short.0.as_str(), short.1.completion.reason), ("hel", LATCHLESS_FINISH_LENGTH));
    for stream in streams {
        assert_eq!(latchless_stream_release(stream), S::LATCHLESS_OK);
    }
    latchless_engine_destroy(engine);
}

/// While one thread waits for a stream's next event, another one is turned away, and may cancel.
#[test]
fn a_stream_has_one_reader_and_anybody_cancels() {
    let engine = engine(LATCHLESS_SCRIPT_ENDLESS, c"z", |options, scripted| {
        options.lane_threads = 1;
        scripted.tokens_per_sequence = 100_000;
        scripted.cells = 100_000;
    })
    .unwrap();
    let mut long = request(c"go");
    long.max_tokens = 90_000;
    let stream = submit(engine, &long).unwrap();
    // SAFETY: the result is there.
    let wait = || got(|event| unsafe { latchless_stream_wait(stream, u64::MAX, event) });
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            loop {
                let event: latchless_event = match wait() {
                    Ok(event) => event,
                    Err(S::LATCHLESS_ERROR_BUSY) => continue,
                    Err(status) => panic!("{status:?}"),
                };
                if event.kind == LATCHLESS_EVENT_FINISHED {
                    return event;
                }
            }
        });
        // Looked at from here until both met: one was inside, the other one came.
        while poll(stream) != Err(S::LATCHLESS_ERROR_BUSY) {}
        // SAFETY: the result is there.
        assert_eq!(got(|asked| unsafe { latchless_stream_cancel(stream, asked) }), Ok(1));
        let last = reader.join().unwrap();
        assert_eq!(last.completion.reason, LATCHLESS_FINISH_CANCELLED);
    });
    // SAFETY: the result is there.
    let late = got(|event| unsafe { latchless_stream_wait(stream, u64::MAX, event) });
    assert_eq!(late, Err::<latchless_event, _>(S::LATCHLESS_ERROR_ENDED));
    latchless_stream_release(stream);
    latchless_engine_destroy(engine);
}

unsafe extern "C" fn note(user: *mut c_void, event: *const latchless_event) {
    // SAFETY: the tests hand a list over that outlives the engine, and one thread at a time calls.
    let list = unsafe { &mut *user.cast::<Vec<latchless_event>>() };
    // SAFETY: an event is there during the call.
    list.push(unsafe { event.read() });
}

#[test]
fn callbacks_come_where_the_host_dispatches() {
    let engine = engine(LATCHLESS_SCRIPT_ECHO, c"", |options, _| options.max_requests = 2).unwrap();
    let agent = named(engine, "somebody").unwrap();
    let asked = request(c"hey");
    let mut events = [const { Vec::<latchless_event>::new() }; 5];
    let submit = |events: &mut Vec<latchless_event>| {
        // SAFETY: the request's text is there, the results are, and the list outlives the engine.
        got(|id| unsafe {
            let user = (&raw mut *events).cast();
            latchless_engine_submit_callback(engine, agent, &raw const asked, Some(note), user, id)
        })
    };
    // SAFETY: the result is there.
    let dispatch = || got(|made| unsafe { latchless_engine_dispatch(engine, 0, made) });
    let [first, second, third, fourth, fifth] = &mut events;
    let ids = [submit(first).unwrap(), submit(second).unwrap()];
    assert_eq!(submit(third), Err(S::LATCHLESS_ERROR_TOO_MANY_REQUESTS));
    assert_eq!(dispatch(), Ok(0));
    assert_eq!(run(engine), 2);
    // They have ended, and nobody was told: a host that does not dispatch is not served for ever.
    submit(third).unwrap();
    submit(fourth).unwrap();
    assert_eq!(run(engine), 2);
    assert_eq!(submit(fifth), Err(S::LATCHLESS_ERROR_TOO_MANY_REQUESTS));
    assert!(last_error().contains("dispatch"), "{}", last_error());
    assert_eq!(dispatch(), Ok(16));
    assert_eq!(submit(fifth).map(|_| ()), Ok(()));
    // SAFETY: the result is there.
    assert_eq!(got(|asked| unsafe { latchless_engine_cancel(engine, ids[0], asked) }), Ok(0));
    assert_eq!(latchless_engine_destroy(engine), S::LATCHLESS_OK);
    for (number, events) in events.iter().enumerate() {
        let finished = events.iter().filter(|event| event.kind == LATCHLESS_EVENT_FINISHED).count();
        assert_eq!((finished, events.len()), (1, if number == 4 { 1 } else { 4 }));
        assert_eq!(events.last().unwrap().kind, LATCHLESS_EVENT_FINISHED);
    }
    assert!(events[0].iter().all(|event| event.request == ids[0]));
}

#[test]
fn a_callback_is_needed_and_a_lane_with_a_thread_is_not_stepped() {
    let engine = engine(LATCHLESS_SCRIPT_ECHO, c"", |options, _| {
        (options.lane_threads, options.callback_thread, options.lanes) = (1, 1, 2);
    })
    .unwrap();
    let agent = named(engine, "somebody").unwrap();
    let request = request(c"hey");
    // SAFETY: the request's text is there; the other pointers are null, which is what is tested.
    unsafe {
        let (request, none) = (&raw const request, null_mut());
        let status =
            latchless_engine_submit_callback(engine, agent, request, None, none, null_mut());
        assert_eq!(status, S::LATCHLESS_ERROR_NULL_POINTER);
        let status = latchless_engine_step(engine, 0, null_mut());
        assert_eq!(status, S::LATCHLESS_ERROR_INVALID_ARGUMENT);
        // The engine's own thread does that, as soon as it runs.
        while latchless_engine_dispatch(engine, 0, null_mut()) != S::LATCHLESS_ERROR_BUSY {}
        let status = latchless_engine_swap_scripted(engine, null());
        assert_eq!(status, S::LATCHLESS_OK);
    }
    assert_eq!(latchless_engine_destroy(engine), S::LATCHLESS_OK);
}

#[test]
#[cfg(not(feature = "llama"))]
fn a_library_without_llama_says_so() {
    use latchless_capi::engine::latchless_engine_create_llama;
    // SAFETY: the result is there, and null options mean the defaults.
    let none = got(|engine| unsafe { latchless_engine_create_llama(null(), null(), engine) });
    assert_eq!(none, Err::<latchless_engine, _>(S::LATCHLESS_ERROR_UNSUPPORTED));
    assert!(last_error().contains("feature `llama`"), "{}", last_error());
}

#[test]
#[cfg(feature = "llama")]
fn a_model_that_is_not_there_is_named() {
    use latchless_capi::engine::latchless_engine_create_llama;
    use latchless_capi::options::{latchless_llama_options, latchless_llama_options_init};
    // SAFETY: the options are initialised, their path is a text, and the result is there.
    unsafe {
        let size = size_of::<latchless_llama_options>();
        let mut options = got(|options| latchless_llama_options_init(options, size)).unwrap();
        let make = |options: *const latchless_llama_options| {
            got(|engine| latchless_engine_create_llama(null(), options, engine))
        };
        assert_eq!(make(&raw const options), Err(S::LATCHLESS_ERROR_NULL_POINTER));
        options.model_path = c"/no/such/model.gguf".as_ptr();
        assert_eq!(make(&raw const options), Err::<latchless_engine, _>(S::LATCHLESS_ERROR_LOAD));
        assert!(last_error().contains("/no/such/model.gguf"), "{}", last_error());
    }
}
