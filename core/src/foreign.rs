//! Running a host's code on a thread that is not that host's to lose.
//!
//! A waker is called by whoever has what its task waits for: a thread that gives blocks back, or a lane. If
//! it panics there, the thread that called it has done nothing wrong, may be in the middle of a `drop`, and
//! may serve everybody else.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `foreign`, in which a panic ends; `false` when there was one. The panic hook has told of it.
///
/// Where panics abort the process there is nothing to be done.
pub fn contain(foreign: impl FnOnce()) -> bool {
    // In a model a panic is the model's verdict.
    if cfg!(any(latchless_loom, latchless_shuttle)) {
        foreign();
        return true;
    }
    // Nothing that the closure has is looked at after a panic: the caller gives it away.
    let Err(thrown) = catch_unwind(AssertUnwindSafe(foreign)) else { return true };
    // What was thrown is the host's, too, and so is its destructor.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(thrown))) {
        mem::forget(again);
    }
    false
}

#[cfg(all(test, not(any(latchless_loom, latchless_shuttle))))]
mod tests {
    use std::panic::panic_any;

    use super::*;

    /// Panics when it is dropped, and throws another one of itself, so many times.
    struct Trap(u32);

    impl Drop for Trap {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Self(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_ends_there_whatever_was_thrown() {
        assert!(contain(|| ()));
        assert!(!contain(|| panic!("a waker's")));
        assert!(!contain(|| panic_any(Trap(1))));
        assert!(!contain(|| panic_any(Trap(2))));
    }

    /// As a lease does that is dropped by a panic, and serves somebody whose waker panics.
    #[test]
    fn a_panic_ends_there_also_while_the_thread_unwinds() {
        struct Wakes<'a>(&'a mut bool);

        impl Drop for Wakes<'_> {
            fn drop(&mut self) {
                *self.0 = contain(|| panic!("a waker's"));
            }
        }

        let mut contained = true;
        let thread = catch_unwind(AssertUnwindSafe(|| {
            let _wakes = Wakes(&mut contained);
            panic!("the thread's own");
        }));
        assert!(thread.is_err() && !contained);
    }
}
