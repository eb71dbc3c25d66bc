//! Calling hosts back, on a thread that is none of the lanes'.
//!
//! A lane that called a host's function would wait for it, and so would everybody whose request it computes.
//! So a lane only says that there is something (a flag, and an unpark), and one thread at a time makes the
//! calls: the engine's own, if the host wanted one, or whichever thread of the host dispatches. A callback
//! that is slow delays the others' callbacks, and at worst pauses their requests, but no lane.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use ::latchless_engine::TokenStream;
use atomic_waker::AtomicWaker;
use latchless::Inbox;

use super::event::{LATCHLESS_EVENT_FINISHED, Rest, latchless_event};
use super::stream::{LOOK_AGAIN, next_of, thread_waker};
use crate::lease::enter;
use crate::status::Failure;

/// As [`LOOK_AGAIN`], while there is no request: an idle host is not to be woken a hundred times a second.
const IDLE: Duration = Duration::from_millis(250);

/// Events of one request that are handed over before the next one has its turn.
const EVENTS_A_TURN: usize = 64;

type Function = unsafe extern "C" fn(*mut c_void, *const latchless_event);

/// What a host gave to be handed back to it.
struct User(*mut c_void);

// SAFETY: it is never looked into here, and the header says which threads the callback runs on.
unsafe impl Send for User {}

/// A request, and whom to tell of it.
pub(super) struct Route {
    stream: TokenStream,
    rest: Rest,
    callback: Function,
    user: User,
    ready: Arc<Ready>,
}

/// Set by the lane: the stream is worth a look.
struct Ready {
    set: AtomicBool,
    bell: Arc<AtomicWaker>,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: who takes the flag finds the event.
        self.set.store(true, Ordering::Release);
        self.bell.wake();
    }
}

/// The callbacks of one engine.
pub(super) struct Callbacks {
    arrivals: Inbox<Arrival>,
    /// Of whoever dispatches.
    running: Mutex<Vec<Route>>,
    /// Wakes that thread.
    bell: Arc<AtomicWaker>,
    /// Routes that there are, or are about to be.
    routes: AtomicUsize,
    most: usize,
    closed: AtomicBool,
    /// The thread that dispatches now, as [`this_thread`] calls it; 0 for none.
    inside: AtomicUsize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

type Arrival = (TokenStream, Function, User);

/// A place for one more route.
pub(super) struct Place<'a>(&'a Callbacks);

impl Place<'_> {
    /// Calls `callback` with what `stream` gives.
    pub(super) fn fill(self, stream: TokenStream, callback: Function, user: *mut c_void) {
        // Never full: it has room for all places.
        let pushed = self.0.arrivals.push((stream, callback, User(user)));
        debug_assert!(pushed.is_ok(), "a place without a place");
        self.0.bell.wake();
        mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Callbacks {
    /// For an engine of so many requests: twice as many routes, because one that has ended stays until it is
    /// told so.
    pub(super) fn new(requests: usize) -> Arc<Self> {
        let most = requests.saturating_mul(2);
        Arc::new(Self {
            arrivals: Inbox::with_capacity(most),
            running: Mutex::new(Vec::new()),
            bell: Arc::new(AtomicWaker::new()),
            routes: AtomicUsize::new(0),
            most,
            closed: AtomicBool::new(false),
            inside: AtomicUsize::new(0),
            thread: Mutex::new(None),
        })
    }

    /// Room for a route, taken before the request is submitted: what was submitted can be told of.
    pub(super) fn reserve(&self) -> Result<Place<'_>, Failure> {
        let more = |routes| (routes < self.most).then_some(routes + 1);
        // Relaxed: a number, by which nothing else is decided.
        let taken = self.routes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(|_| Place(self)).map_err(|routes| Failure::TooManyRoutes { routes })
    }

    fn leave(&self) {
        self.routes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives the callbacks a thread, until they are closed.
    pub(super) fn spawn(self: &Arc<Self>) -> Result<(), io::Error> {
        let callbacks = Arc::clone(self);
        // Held as long as the thread runs: whoever else dispatches is told that somebody does.
        let name = "latchless-calls".to_owned();
        let thread = thread::Builder::new().name(name).spawn(move || {
            let mut running = lock(&callbacks.running);
            while !callbacks.closed.load(Ordering::Acquire) {
                callbacks.make(&mut running, Duration::MAX);
            }
        })?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// Makes the calls that are due, and waits for the first at most `timeout`. Returns how many.
    pub(super) fn dispatch(&self, timeout: Duration) -> Result<u32, Failure> {
        let mut running = enter(&self.running, "engine's callbacks")?;
        Ok(self.make(&mut running, timeout))
    }

    /// Makes all calls that there will ever be. The requests have ended. Waits for the thread that dispatches,
    /// if that is another one; if it is this one, from within a callback, it goes on when that returns.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.bell.wake();
        if self.inside.load(Ordering::Relaxed) == this_thread() {
            return;
        }
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // A panic on it was shown by its hook; what it left is made below.
            let _panicked = thread.join();
        }
        self.make(&mut lock(&self.running), Duration::ZERO);
    }

    fn make(&self, running: &mut Vec<Route>, timeout: Duration) -> u32 {
        let _inside = Inside::new(&self.inside);
        // A timeout too long for the clock is none.
        let end = Instant::now().checked_add(timeout);
        let waker = thread_waker();
        let mut made = 0;
        loop {
            // Registered, then looked: what comes after the look wakes us.
            self.bell.register(&waker);
            // Before the look, as well: what was closed before it has ended, and is found.
            let closed = self.closed.load(Ordering::Acquire);
            running.extend(self.arrivals.take_all().map(|arrival| self.route(arrival)));
            let round = self.round(running);
            made += round;
            let nap = if running.is_empty() { IDLE } else { LOOK_AGAIN };
            let left = end.map_or(nap, |end| end.saturating_duration_since(Instant::now()));
            if round > 0 && closed {
                continue;
            }
            if made > 0 || closed || left.is_zero() {
                return made;
            }
            thread::park_timeout(left.min(nap));
        }
    }

    fn route(&self, (stream, callback, user): Arrival) -> Route {
        // Set: nobody has looked yet.
        let ready = Ready { set: AtomicBool::new(true), bell: Arc::clone(&self.bell) };
        Route { stream, rest: Rest::default(), callback, user, ready: Arc::new(ready) }
    }

    /// Each route that has something has a turn.
    fn round(&self, running: &mut Vec<Route>) -> u32 {
        let mut made = 0;
        let mut index = 0;
        while let Some(route) = running.get_mut(index) {
            let (calls, ended) = route.turn();
            made += calls;
            if ended {
                running.swap_remove(index);
                self.leave();
            } else {
                index += 1;
            }
        }
        made
    }
}

impl Route {
    /// Makes its calls; says how many, and whether the last was among them.
    fn turn(&mut self) -> (u32, bool) {
        // AcqRel: what the lane sent before it set the flag is there.
        if !self.ready.set.swap(false, Ordering::AcqRel) {
            return (0, false);
        }
        let waker = Waker::from(Arc::clone(&self.ready));
        let mut context = Context::from_waker(&waker);
        for calls in 0..EVENTS_A_TURN as u32 {
            match next_of(&mut self.stream, &mut self.rest, &mut context) {
                Poll::Ready(Some(event)) => {
                    // SAFETY: the host gave both for this, and promised that the function may be called with
                    // `user` until it has had the finished event, which ends the route.
                    unsafe { (self.callback)(self.user.0, &raw const event) };
                    if event.kind == LATCHLESS_EVENT_FINISHED {
                        return (calls + 1, true);
                    }
                }
                Poll::Ready(None) => return (calls, true),
                Poll::Pending => return (calls, false),
            }
        }
        self.ready.set.store(true, Ordering::Relaxed);
        (EVENTS_A_TURN as u32, false)
    }
}

/// The calling thread dispatches as long as this lives.
struct Inside<'a> {
    thread: &'a AtomicUsize,
    before: usize,
}

impl<'a> Inside<'a> {
    fn new(thread: &'a AtomicUsize) -> Self {
        // Relaxed: a thread asks only whether it is itself inside.
        Self { thread, before: thread.swap(this_thread(), Ordering::Relaxed) }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.thread.store(self.before, Ordering::Relaxed);
    }
}

/// A number that no other thread has at the same time, and is not 0.
fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| (&raw const *here).addr())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
