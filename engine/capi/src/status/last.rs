//! What a thread's last failure was.

use std::cell::RefCell;
use std::ffi::{CString, c_char};

use super::failure::Failure;
use super::latchless_status;
use super::names::ALL;

/// The last failure of a thread: as it was, and in words once somebody asked.
struct Last {
    failure: Option<Failure>,
    words: Option<CString>,
}

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last { failure: None, words: None }) };
}

/// Keeps a failure for the calling thread.
pub(crate) fn remember(failure: Failure) {
    // A thread that is about to end, whose last error is gone already, has nobody left to ask for it.
    let _ended = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            *last = Last { failure: Some(failure), words: None };
        }
    });
}

/// Why the calling thread's last call that failed did so, in words: what happened, and what to do next.
/// "" when none has failed. A call that succeeds leaves it as it was.
///
/// Owner: the library. The text is good until the thread's next failing call, or its end; copy it to keep
/// it. Threads: each has its own. Real-time: no, it allocates.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_last_error() -> *const c_char {
    // Not through the door of the other calls: they replace what is asked for here.
    let words = std::panic::catch_unwind(|| {
        LAST.try_with(|last| {
            let mut last = last.try_borrow_mut().ok()?;
            if last.words.is_none() {
                let text = last.failure.as_ref()?.to_string().replace('\0', " ");
                last.words = CString::new(text).ok();
            }
            last.words.as_ref().map(|words| words.as_ptr())
        })
    });
    // A panic cannot be told here, and a thread that ends has no text any more.
    words.ok().and_then(Result::ok).flatten().unwrap_or(c"".as_ptr())
}

/// The name of a status, such as "LATCHLESS_ERROR_EXHAUSTED"; "LATCHLESS_ERROR_?" for a number that is
/// none.
///
/// Owner: the library, for ever. Real-time: yes.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_status_name(status: i32) -> *const c_char {
    ALL.iter()
        .find(|(known, _)| *known as i32 == status)
        .map_or(c"LATCHLESS_ERROR_?".as_ptr(), |(_, name)| name.as_ptr())
}

/// The status of the calling thread's last call that failed; `LATCHLESS_OK` when none has.
///
/// Threads: each has its own. Real-time: yes.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_last_status() -> latchless_status {
    let failed =
        LAST.try_with(|last| last.try_borrow().ok()?.failure.as_ref().map(Failure::status));
    failed.ok().flatten().unwrap_or(latchless_status::LATCHLESS_OK)
}
