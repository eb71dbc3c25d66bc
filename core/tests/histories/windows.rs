//! Real threads at full speed, and what they saw.
//!
//! Histories are recorded in *windows*: all threads start together and do a few operations each, and each
//! window begins where all is known. A thread writes into a list of its own and reads the clock twice an
//! operation.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{hint, mem, thread};

use fastrand::Rng;

use crate::checker::{Call, Spec};

/// What each thread did in a window.
pub(crate) type Window<S> = Vec<Vec<Call<Operation<S>>>>;

/// What a thread did to a subject, and what it was told.
pub(crate) type Operation<S> = <<S as Subject>::Model as Spec>::Operation;

/// Threads of a window at most: with more of them the search takes long.
pub(crate) const MOST_THREADS: usize = 3;

/// Operations of a thread in a window, before it gives back what it has.
const OPERATIONS: usize = 8;

/// A structure whose histories are recorded and checked.
pub(crate) trait Subject: Sync {
    /// What it is without threads.
    type Model: Spec<Operation: Debug + Send>;
    /// A fault of the structure's, put between it and the recorder: what a checker is worth is what it
    /// rejects.
    type Fault: Copy + Debug + PartialEq + Send + Sync + 'static;
    /// What a thread has between its operations.
    type Hand<'a>
    where
        Self: 'a;

    const NAME: &'static str;
    const FAULTS: &'static [Self::Fault];

    /// One for so many windows.
    fn new(windows: usize) -> Self;

    /// The model, and its state at the begin of every window.
    fn model() -> (Self::Model, <Self::Model as Spec>::State);

    fn hand(&self, thread: usize) -> Self::Hand<'_>;

    /// Does something that is drawn by chance, and notes it.
    fn operate<'a>(&'a self, window: usize, hand: &mut Self::Hand<'a>, clerk: &mut Clerk<Self>);

    /// The last operations of a window.
    fn end<'a>(&'a self, _window: usize, _hand: &mut Self::Hand<'a>, _clerk: &mut Clerk<Self>) {}

    /// When all threads have ended the window.
    fn tidy(&self, _hand: &mut Self::Hand<'_>) {}
}

/// Writes down what a thread does.
pub(crate) struct Clerk<S: Subject + ?Sized> {
    pub(crate) thread: usize,
    pub(crate) random: Rng,
    fault: Option<S::Fault>,
    start: Instant,
    calls: Vec<Call<Operation<S>>>,
}

impl<S: Subject + ?Sized> Clerk<S> {
    /// Calls `act`, and notes the operation that `tell` makes of its answer.
    pub(crate) fn call<T>(
        &mut self,
        act: impl FnOnce() -> T,
        tell: impl FnOnce(&mut Self, T) -> Operation<S>,
    ) {
        let invoked = self.now();
        let answer = act();
        let responded = self.now();
        let operation = tell(self, answer);
        self.calls.push(Call { operation, invoked, responded });
    }

    /// Whether the fault is to show here: about every eighth time that it could.
    pub(crate) fn shows(&mut self, fault: S::Fault) -> bool {
        self.fault == Some(fault) && self.random.u32(..8) == 0
    }

    /// Nanoseconds: a clock that all threads read gives no two calls an order that they do not have.
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// Records windows on a new subject, with a fault of it or none.
pub(crate) fn windows<S: Subject>(
    count: usize,
    seed: u64,
    fault: Option<S::Fault>,
) -> Vec<Window<S>> {
    let subject = &S::new(count);
    let (gate, start) = (&Gate::new(threads()), Instant::now());
    let recorded: Vec<Vec<_>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..gate.threads)
            .map(|thread| {
                let random = Rng::with_seed(seed ^ (thread as u64) << 32);
                scope.spawn(move || {
                    let clerk = Clerk { thread, random, fault, start, calls: Vec::new() };
                    record(subject, clerk, count, gate)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut threads: Vec<_> = recorded.into_iter().map(Vec::into_iter).collect();
    (0..count).map(|_| threads.iter_mut().filter_map(Iterator::next).collect()).collect()
}

/// Threads of a window: as many as can run at the same time.
fn threads() -> usize {
    thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, MOST_THREADS))
}

fn record<S: Subject>(subject: &S, mut clerk: Clerk<S>, windows: usize, gate: &Gate) -> Window<S> {
    let mut hand = subject.hand(clerk.thread);
    let window = |window| {
        gate.pass();
        for _ in 0..OPERATIONS {
            subject.operate(window, &mut hand, &mut clerk);
        }
        subject.end(window, &mut hand, &mut clerk);
        gate.pass();
        subject.tidy(&mut hand);
        mem::take(&mut clerk.calls)
    };
    (0..windows).map(window).collect()
}

/// A barrier that lets threads go on at the same moment, as nearly as they can: whoever comes first spins
/// for some tenths of a millisecond before it lets others have its core.
struct Gate {
    threads: usize,
    passed: AtomicUsize,
}

impl Gate {
    fn new(threads: usize) -> Self {
        Self { threads, passed: AtomicUsize::new(0) }
    }

    fn pass(&self) {
        let before = self.passed.fetch_add(1, Ordering::AcqRel);
        let all = (before / self.threads + 1) * self.threads;
        let mut spins = 0_u32;
        while self.passed.load(Ordering::Acquire) < all {
            spins += 1;
            if spins.is_multiple_of(10_000) {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
        }
    }
}
