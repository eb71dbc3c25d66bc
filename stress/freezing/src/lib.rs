//! Threads that are stopped at any instruction: by a signal whose handler sleeps.
//!
//! A thread [enlists](Enlisted::this_thread) and hands out its [`Victim`]; whoever has that can freeze the
//! thread, for as long as it stays enlisted. Only on Linux: elsewhere the crate is empty.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// The signal that freezes. Its handler is this crate's: a program that uses it otherwise cannot use both.
const SIGNAL: Signal = Signal::SIGUSR2;

/// Threads of a process that can be enlisted at a time.
pub const MAX_ENLISTED: usize = 1_024;

/// How much longer than asked for a thread may stay frozen before [`Victim::freeze`] gives up: a busy
/// machine lets it wait for a core.
const PATIENCE: Duration = Duration::from_mins(1);

/// A place for a thread: what its handler, the thread and those who freeze it have in common.
struct Place {
    /// The thread that is enlisted here, with the number of its enlistment. Held while the signal is sent,
    /// so that no thread leaves, and ends, meanwhile: a signal to a thread that has ended is undefined.
    thread: Mutex<(Option<Pthread>, u64)>,
    /// How long the next freeze lasts.
    nanoseconds: AtomicU64,
    frozen: AtomicU32,
    thawed: AtomicU32,
}

static PLACES: [Place; MAX_ENLISTED] = [const {
    Place {
        thread: Mutex::new((None, 0)),
        nanoseconds: AtomicU64::new(0),
        frozen: AtomicU32::new(0),
        thawed: AtomicU32::new(0),
    }
}; MAX_ENLISTED];

thread_local! {
    /// The calling thread's place in [`PLACES`]. Initialised by a constant and without a destructor: a
    /// handler that reads it runs no code but the read.
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };

    /// Leaves for a thread that forgot to: it ends only after this.
    static AT_EXIT: AtExit = const { AtExit };
}

struct AtExit;

impl Drop for AtExit {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the calling thread's place back.
fn leave() {
    if let Some(place) = PLACES.get(PLACE.replace(usize::MAX)) {
        // A signal that was sent before this comes while the thread is still there, or never.
        place.thread().0 = None;
    }
}

/// What the signal runs. It calls nothing but `clock_gettime` and `clock_nanosleep`, both of which POSIX
/// allows in a handler or which are plain system calls on Linux, and leaves `errno` as it was.
extern "C" fn freeze(_signal: libc::c_int) {
    let errno = Errno::last_raw();
    if let Some(place) = PLACES.get(PLACE.get()) {
        // Relaxed in all of this: the thread itself reads `frozen`, and `thawed` orders nothing.
        place.frozen.fetch_add(1, Ordering::Relaxed);
        let time = place.nanoseconds.load(Ordering::Relaxed) as i64;
        if let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) {
            let until = now + TimeSpec::nanoseconds(time);
            let flags = ClockNanosleepFlags::TIMER_ABSTIME;
            while clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &until) == Err(Errno::EINTR) {}
        }
        place.thawed.fetch_add(1, Ordering::Relaxed);
    }
    Errno::set_raw(errno);
}

/// Installs the handler, once in a process.
#[expect(unsafe_code, reason = "a signal handler")]
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SA_RESTART: a thread that is frozen while it waits in the kernel goes on waiting.
        let handler = SigHandler::Handler(freeze);
        let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handler does only what is safe in a handler, see there; it is a function of this
        // program, which is never unloaded.
        unsafe { sigaction(SIGNAL, &action) }.expect("SIGUSR2 is a signal that may be handled");
    });
}

impl Place {
    fn thread(&self) -> MutexGuard<'_, (Option<Pthread>, u64)> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The calling thread can be frozen, until this is dropped.
#[derive(Debug)]
pub struct Enlisted {
    victim: Victim,
    /// It belongs to the thread that made it.
    not_send: PhantomData<*const ()>,
}

impl Enlisted {
    /// Enlists the calling thread. `None` when it is enlisted already, when it is about to end, or when
    /// [`MAX_ENLISTED`] threads are enlisted.
    pub fn this_thread() -> Option<Self> {
        install();
        if PLACE.get() != usize::MAX || AT_EXIT.try_with(|_| {}).is_err() {
            return None;
        }
        for (index, place) in PLACES.iter().enumerate() {
            let mut thread = place.thread();
            if thread.0.is_none() {
                thread.0 = Some(pthread_self());
                thread.1 += 1;
                PLACE.set(index);
                let victim = Victim { place: index, enlistment: thread.1 };
                return Some(Self { victim, not_send: PhantomData });
            }
        }
        None
    }

    /// What others freeze the thread by.
    pub fn victim(&self) -> Victim {
        self.victim
    }
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        leave();
    }
}

/// A thread that can be frozen as long as it is enlisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    place: usize,
    enlistment: u64,
}

impl Victim {
    /// Stops the thread at whatever instruction it is, for `time`, and returns at once. `false`: it is not
    /// enlisted any more.
    ///
    /// # Errors
    /// The system's.
    pub fn strike(self, time: Duration) -> io::Result<bool> {
        let place = &PLACES[self.place];
        let thread = place.thread();
        let (Some(enlisted), enlistment) = *thread else { return Ok(false) };
        if enlistment != self.enlistment {
            return Ok(false);
        }
        place.nanoseconds.store(time.as_nanos() as u64, Ordering::Relaxed);
        pthread_kill(enlisted, SIGNAL)?;
        Ok(true)
    }

    /// The same, and returns when the thread runs again, or has left.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::TimedOut`] when the thread is not seen to run again.
    pub fn freeze(self, time: Duration) -> io::Result<bool> {
        let place = &PLACES[self.place];
        let before = place.thawed.load(Ordering::Relaxed);
        if !self.strike(time)? {
            return Ok(false);
        }
        let mut rest = time;
        let patience = Instant::now() + time + PATIENCE;
        while place.thawed.load(Ordering::Relaxed) == before {
            // The other threads need the cores: look again when it can be over.
            std::thread::sleep(rest);
            if !self.is_enlisted() {
                // The signal came when it had left.
                return Ok(false);
            }
            if Instant::now() > patience {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            rest = (time / 100).max(Duration::from_micros(100));
        }
        Ok(true)
    }

    fn is_enlisted(self) -> bool {
        let thread = PLACES[self.place].thread();
        thread.0.is_some() && thread.1 == self.enlistment
    }

    /// Whether the thread is within a freeze.
    pub fn is_frozen(self) -> bool {
        let place = &PLACES[self.place];
        place.frozen.load(Ordering::Relaxed) != place.thawed.load(Ordering::Relaxed)
    }
}

/// How often the calling thread has been frozen. Equal before and after some work: it was not frozen
/// within.
#[inline]
pub fn times_frozen() -> u32 {
    // The handler runs on this thread, so that program order is all it takes, once the compiler keeps it.
    compiler_fence(Ordering::SeqCst);
    let times = PLACES.get(PLACE.get()).map_or(0, |place| place.frozen.load(Ordering::Relaxed));
    compiler_fence(Ordering::SeqCst);
    times
}

/// How often the system took the calling thread off its core although it could have gone on. Equal before
/// and after some work: what that took was its own, waits for others included.
pub fn times_preempted() -> u64 {
    // It fails for arguments that are not these.
    getrusage(UsageWho::RUSAGE_THREAD)
        .map_or(0, |usage| usage.involuntary_context_switches() as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::channel;

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn a_frozen_thread_knows_and_goes_on() {
        static STOP: AtomicBool = AtomicBool::new(false);
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || {
            let enlisted = Enlisted::this_thread().unwrap();
            assert!(Enlisted::this_thread().is_none(), "once is enough");
            let before = times_frozen();
            sender.send(enlisted.victim()).unwrap();
            while !STOP.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            times_frozen() - before
        });
        let victim = receiver.recv().unwrap();
        for _ in 0..5 {
            assert!(victim.freeze(SHORT).unwrap());
            assert!(!victim.is_frozen());
        }
        STOP.store(true, Ordering::Release);
        assert_eq!(thread.join().unwrap(), 5);
        assert_eq!(times_frozen(), 0, "nobody else was frozen");
        assert!(!victim.freeze(SHORT).unwrap(), "a thread that has ended is left alone");
    }

    #[test]
    fn a_thread_that_forgot_to_leave_is_left_alone_as_well() {
        let thread = std::thread::spawn(|| {
            let enlisted = Enlisted::this_thread().unwrap();
            let victim = enlisted.victim();
            std::mem::forget(enlisted);
            victim
        });
        assert!(!thread.join().unwrap().strike(SHORT).unwrap());
    }

    #[test]
    fn whoever_comes_to_a_place_after_another_is_not_taken_for_it() {
        let first = Enlisted::this_thread().unwrap();
        let victim = first.victim();
        drop(first);
        assert!(!victim.strike(SHORT).unwrap());
        let second = Enlisted::this_thread().unwrap();
        assert_ne!(second.victim(), victim);
        assert!(!victim.strike(SHORT).unwrap());
        let before = times_frozen();
        assert!(second.victim().strike(SHORT).unwrap());
        while second.victim().is_frozen() || times_frozen() == before {
            std::hint::spin_loop();
        }
        assert_eq!(times_frozen(), before + 1);
    }
}
