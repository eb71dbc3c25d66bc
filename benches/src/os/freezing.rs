//! Threads that are stopped at any instruction: by a signal whose handler sleeps.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

const SIGNAL: Signal = Signal::SIGUSR2;

/// Threads that can be frozen.
pub const MAX_VICTIMS: usize = 64;

/// How much longer than asked for a thread may stay frozen: a busy machine lets it wait for a core.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a handler and the thread that it stops have in common.
struct Victim {
    frozen: AtomicU32,
    thawed: AtomicU32,
}

static VICTIMS: [Victim; MAX_VICTIMS] =
    [const { Victim { frozen: AtomicU32::new(0), thawed: AtomicU32::new(0) } }; MAX_VICTIMS];

static NANOSECONDS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The calling thread's place in [`VICTIMS`]. Initialised by a constant and without a destructor: a
    /// handler that reads it runs no code but the read.
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// What a signal runs. It calls nothing but `clock_gettime` and `clock_nanosleep`, both of which POSIX
/// allows in a handler or which are plain system calls on Linux, and leaves `errno` as it was.
extern "C" fn freeze(_signal: libc::c_int) {
    let errno = Errno::last_raw();
    if let Some(victim) = VICTIMS.get(PLACE.get()) {
        // Relaxed in all of this: the thread itself reads `frozen`, and `thawed` orders nothing.
        victim.frozen.fetch_add(1, Ordering::Relaxed);
        let time = NANOSECONDS.load(Ordering::Relaxed) as i64;
        if let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) {
            let until = now + TimeSpec::nanoseconds(time);
            let flags = ClockNanosleepFlags::TIMER_ABSTIME;
            while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &until) == Err(Errno::EINTR) {}
        }
        victim.thawed.fetch_add(1, Ordering::Relaxed);
    }
    Errno::set_raw(errno);
}

/// Prepares this process: a frozen thread is to stop for `time`.
///
/// # Errors
/// The system's.
pub fn prepare(time: Duration) -> io::Result<()> {
    NANOSECONDS.store(time.as_nanos() as u64, Ordering::Relaxed);
    // SA_RESTART: a thread that is frozen while it waits in the kernel goes on waiting.
    let action = SigAction::new(SigHandler::Handler(freeze), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does only what is safe in a handler, see there; it is a function of this
    // program, which is never unloaded.
    unsafe { sigaction(SIGNAL, &action) }?;
    Ok(())
}

/// A thread that can be frozen, for as long as it lives.
#[derive(Debug, Clone, Copy)]
pub struct Freezable {
    thread: Pthread,
    place: usize,
}

impl Freezable {
    /// The calling thread, under a number below [`MAX_VICTIMS`] that no other living thread has.
    ///
    /// # Panics
    /// When the number is too large.
    pub fn this_thread(place: usize) -> Self {
        assert!(place < MAX_VICTIMS, "place {place} of {MAX_VICTIMS}");
        PLACE.set(place);
        Self { thread: pthread_self(), place }
    }

    /// Stops the thread at whatever instruction it is, and returns when it runs again. The thread must
    /// not have ended.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::TimedOut`] when the thread is not seen to run again, which is so
    /// when it has ended.
    pub fn freeze(self) -> io::Result<()> {
        let victim = &VICTIMS[self.place];
        let before = victim.thawed.load(Ordering::Relaxed);
        pthread_kill(self.thread, SIGNAL)?;
        let time = Duration::from_nanos(NANOSECONDS.load(Ordering::Relaxed));
        let mut rest = time;
        let patience = Instant::now() + time + PATIENCE;
        while victim.thawed.load(Ordering::Relaxed) == before {
            // The measured threads need the cores: look again when it can be over.
            std::thread::sleep(rest);
            if Instant::now() > patience {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            rest = (time / 100).max(Duration::from_micros(100));
        }
        Ok(())
    }
}

/// How often the calling thread has been frozen. Equal before and after some work: it was not frozen
/// within.
#[inline]
pub fn times_frozen() -> u32 {
    // The handler runs on this thread, so that program order is all it takes, once the compiler keeps it.
    compiler_fence(Ordering::SeqCst);
    let times = VICTIMS.get(PLACE.get()).map_or(0, |victim| victim.frozen.load(Ordering::Relaxed));
    compiler_fence(Ordering::SeqCst);
    times
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::channel;

    use super::*;

    /// The only test that prepares: the time is the process's.
    #[test]
    fn a_frozen_thread_knows_and_goes_on() {
        static STOP: AtomicBool = AtomicBool::new(false);
        prepare(Duration::from_millis(1)).unwrap();
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || {
            sender.send(Freezable::this_thread(MAX_VICTIMS - 1)).unwrap();
            while !STOP.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            times_frozen()
        });
        let victim = receiver.recv().unwrap();
        for _ in 0..5 {
            victim.freeze().unwrap();
        }
        STOP.store(true, Ordering::Release);
        assert_eq!(thread.join().unwrap(), 5);
        assert_eq!(times_frozen(), 0, "nobody else was frozen");
    }
}
