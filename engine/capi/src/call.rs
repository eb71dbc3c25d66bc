//! The one door: every call comes in here, and nothing but a status goes out.
//!
//! A forked child has a copy of the memory and none of the other threads: whoever was in the middle of
//! something stays there for ever, and lanes are gone. So it is refused. A handler that fork() runs in the
//! child sets a flag, and each call reads it: that costs one load, where asking for the process id would
//! cost a system call.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::status::{Failure, latchless_status, remember};

static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether the handler is installed: from before the first object on.
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Makes a call.
#[inline]
pub(crate) fn call(body: impl FnOnce() -> Result<(), Failure>) -> latchless_status {
    // Relaxed: set before the child has a second thread.
    let outcome = if FORKED.load(Ordering::Relaxed) {
        Err(Failure::Forked)
    } else {
        // What is broken by a panic stays behind its handle, and can only be destroyed.
        catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(caught(&*panic)))
    };
    match outcome {
        Ok(()) => latchless_status::LATCHLESS_OK,
        Err(failure) => failed(failure),
    }
}

#[cold]
fn failed(failure: Failure) -> latchless_status {
    let status = failure.status();
    remember(failure);
    status
}

fn caught(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Failure::Panic(text.unwrap_or_else(|| "a panic without a text".to_owned()))
}

/// From now on a child of fork() is known as one. Called before an object is made: a child that was forked
/// earlier has nothing to break.
pub(crate) fn watch_forks() {
    // Relaxed: of two threads both may install it, and it does the same twice.
    if WATCHED.load(Ordering::Relaxed) {
        return;
    }
    #[cfg(unix)]
    {
        extern "C" fn in_child() {
            FORKED.store(true, Ordering::Relaxed);
        }
        // SAFETY: the handler stores to a static, which is all that a forked child may do. glibc and musl
        // forget it when the library is unloaded.
        // It fails for want of memory only: then forks are not told apart, as on systems without fork.
        let _installed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    }
    WATCHED.store(true, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_status_and_is_told() {
        let status = call(|| panic!("number {}", 7));
        assert_eq!(status, latchless_status::LATCHLESS_ERROR_PANIC);
        // SAFETY: the text is good until the thread's next failing call.
        let text = unsafe { std::ffi::CStr::from_ptr(crate::status::latchless_last_error()) };
        assert!(text.to_str().unwrap().contains("number 7"), "{text:?}");
    }
}
