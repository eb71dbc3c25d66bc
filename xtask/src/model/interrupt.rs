//! Ctrl-C during a fetch: what was fetched so far goes, as after any fetch that failed.
//!
//! pip is sent the same signal and ends by itself; all this process has to do is to survive it. Outside a
//! fetch Ctrl-C ends the process at once, as it would without this module, and so does a second one.

use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use super::Error;

/// The exit code of a program that Ctrl-C ended: 128 + SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// No fetch goes on.
const IDLE: u8 = 0;
/// One goes on.
const FETCHING: u8 = 1;
/// One is to end.
const ASKED: u8 = 2;

/// Relaxed everywhere: nothing is published by it.
static STATE: AtomicU8 = AtomicU8::new(IDLE);

/// Runs a fetch that Ctrl-C turns into [`Error::Interrupted`].
pub(super) fn survive<T>(fetch: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    static CAUGHT: OnceLock<()> = OnceLock::new();
    // Where it cannot be caught, Ctrl-C ends the process, and the next fetch sweeps up.
    CAUGHT.get_or_init(|| ctrlc::set_handler(on_ctrl_c).unwrap_or_default());
    STATE.store(FETCHING, Ordering::Relaxed);
    let outcome = fetch();
    match STATE.swap(IDLE, Ordering::Relaxed) {
        ASKED => Err(Error::Interrupted),
        _ => outcome,
    }
}

fn on_ctrl_c() {
    let asked = STATE.compare_exchange(FETCHING, ASKED, Ordering::Relaxed, Ordering::Relaxed);
    if asked.is_err() {
        process::exit(EXIT_CODE.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_that_is_interrupted_ends_with_that_error_and_the_next_does_not() {
        let interrupted = survive(|| {
            on_ctrl_c();
            Ok("half a wheel")
        });
        assert!(matches!(interrupted, Err(Error::Interrupted)), "{interrupted:?}");
        assert_eq!(survive(|| Ok("a wheel")).unwrap(), "a wheel");
    }
}
