//! A word that a thread can sleep on until it changes: the system's futex.
//!
//! The system looks at the word and puts the thread to sleep in one step, so nobody holds a duty to wake that
//! others rely on, as the first of several callers does with `Thread::unpark`.

use std::time::Duration;

use super::AtomicU32;

/// A word to sleep on.
#[derive(Debug, Default)]
pub(crate) struct Futex {
    pub(crate) word: AtomicU32,
    #[cfg(latchless_loom)]
    sleepers: super::modelled::Sleepers,
}

impl Futex {
    /// Sleeps while the word is `expected`, until somebody [wakes](Self::wake_all) or `at_most` is over. May
    /// return for no reason, so the caller looks again.
    pub(crate) fn wait(&self, expected: u32, at_most: Option<Duration>) {
        #[cfg(latchless_loom)]
        // A model has no time: a wake-up that is lost is a deadlock, which loom reports.
        self.sleepers.wait(&self.word, expected, at_most);
        #[cfg(not(latchless_loom))]
        system::wait(&self.word, expected, at_most);
    }

    /// Wakes everybody who sleeps on it.
    pub(crate) fn wake_all(&self) {
        #[cfg(latchless_loom)]
        self.sleepers.wake_all();
        #[cfg(not(latchless_loom))]
        system::wake_all(&self.word);
    }
}

#[cfg(all(not(latchless_loom), target_os = "linux"))]
mod system {
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use rustix::thread::futex::{Flags, Timespec, wait as futex_wait, wake as futex_wake};

    /// As good as for ever, and within every clock's range.
    const LONGEST: Duration = Duration::from_hours(24);

    pub(super) fn wait(word: &AtomicU32, expected: u32, at_most: Option<Duration>) {
        let time = at_most.and_then(|time| Timespec::try_from(time.min(LONGEST)).ok());
        // Its errors are the ways to return for no reason: the word had changed, a signal came, time is over.
        let _woken = futex_wait(word, Flags::PRIVATE, expected, time.as_ref());
    }

    pub(super) fn wake_all(word: &AtomicU32) {
        // It fails for an address that is no word's only.
        let _count = futex_wake(word, Flags::PRIVATE, i32::MAX as u32);
    }
}

/// The portable crate has no waits with an end: those look every millisecond.
#[cfg(all(not(latchless_loom), not(target_os = "linux")))]
mod system {
    use std::sync::atomic::AtomicU32;
    use std::thread;
    use std::time::Duration;

    const LOOK_AGAIN: Duration = Duration::from_millis(1);

    pub(super) fn wait(word: &AtomicU32, expected: u32, at_most: Option<Duration>) {
        match at_most {
            None => atomic_wait::wait(word, expected),
            Some(time) => thread::sleep(time.min(LOOK_AGAIN)),
        }
    }

    pub(super) fn wake_all(word: &AtomicU32) {
        atomic_wait::wake_all(&raw const *word);
    }
}
