//! What agents do all day, beside the locked systems that did it before: transitions, claims, changes
//! recorded, output.
//!
//! An operation is measured through [`Work`], so that all of its backends are driven in the same way.
//! [`visit`] is the list.

mod events;
mod latchless;
mod ports;

pub use self::events::{
    EventChanges, EventClaims, EventOutput, EventTransitions, PlanAnswer, PlanEvent, TaskEvent,
};
pub use self::latchless::{Changes, Claims, Output, Transitions};
pub use self::ports::{LockedChanges, LockedClaims, LockedOutput, LockedTransitions};

/// An operation of one backend, on what all threads share.
pub trait Work: Sync + Sized + 'static {
    /// What is done.
    const OPERATION: &'static str;

    /// Who does it.
    const BACKEND: &'static str;

    /// What one thread has for itself.
    type Hand<'work>
    where
        Self: 'work;

    /// What the threads share.
    fn new() -> Self;

    /// A thread's own things, for the thread of this number.
    fn hand(&self, thread: usize) -> Self::Hand<'_>;

    /// Does the operation once.
    fn step<'work>(&'work self, hand: &mut Self::Hand<'work>);
}

/// Something that is done with every backend of every operation.
pub trait WorkVisitor {
    /// With this one.
    fn visit<W: Work>(&mut self);
}

/// Visits all of them, an operation's backends one after another and ours first.
pub fn visit(visitor: &mut impl WorkVisitor) {
    visitor.visit::<Transitions>();
    visitor.visit::<LockedTransitions>();
    visitor.visit::<EventTransitions>();
    visitor.visit::<Claims>();
    visitor.visit::<LockedClaims>();
    visitor.visit::<EventClaims>();
    visitor.visit::<Changes>();
    visitor.visit::<LockedChanges>();
    visitor.visit::<EventChanges>();
    visitor.visit::<Output>();
    visitor.visit::<LockedOutput>();
    visitor.visit::<EventOutput>();
}

/// The name of our own backend.
pub const LATCHLESS: &str = "latchless";

/// The name of the ports of the prototypes' locked systems.
pub const LOCKED: &str = "locked_port";

/// The name of the single event queue: one thread owns the state, the others send it events.
pub const EVENT_QUEUE: &str = "event_queue";

/// Tasks that wait all the time while tasks are claimed.
pub(crate) const BACKLOG: usize = 64;

/// Changes that a thread records until it starts a changeset and takes the one before.
pub(crate) const CHANGES_A_SET: u32 = 1_000;

/// Items of an agent's output.
pub(crate) const OUTPUT: usize = 1_000;

/// A change of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// What was changed.
    pub file: u32,
    /// Where.
    pub line: u32,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Each backend does its operation, by two threads at once.
    #[test]
    fn every_work_works() {
        #[derive(Default)]
        struct Runs(BTreeMap<&'static str, Vec<&'static str>>);
        impl WorkVisitor for Runs {
            fn visit<W: Work>(&mut self) {
                let work = &W::new();
                std::thread::scope(|scope| {
                    for thread in 0..2 {
                        scope.spawn(move || {
                            let mut hand = work.hand(thread);
                            for _ in 0..5_000 {
                                work.step(&mut hand);
                            }
                        });
                    }
                });
                self.0.entry(W::OPERATION).or_default().push(W::BACKEND);
            }
        }
        let mut runs = Runs::default();
        visit(&mut runs);
        assert_eq!(runs.0.len(), 4);
        for backends in runs.0.values() {
            assert_eq!(backends, &[LATCHLESS, LOCKED, EVENT_QUEUE]);
        }
    }
}
