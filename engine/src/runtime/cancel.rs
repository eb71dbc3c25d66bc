//! Ending what should not go on: a turn whose lease is lost, a flow that the user interrupts.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Why something is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelReason {
    /// The user wants it.
    User,
    /// The task was taken back: whatever this attempt does comes late.
    LeaseLost,
    /// The agent gave no sign of life for too long.
    Silent,
    /// Its time is over.
    TimeLimit,
    /// What it was done for has ended.
    Over,
}

impl CancelReason {
    const ALL: [Self; 5] = [Self::User, Self::LeaseLost, Self::Silent, Self::TimeLimit, Self::Over];

    fn of(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "the user ended it",
            Self::LeaseLost => "its claim was taken back",
            Self::Silent => "it gave no sign of life",
            Self::TimeLimit => "its time is over",
            Self::Over => "what it was done for has ended",
        })
    }
}

type Hook = Box<dyn FnOnce(CancelReason) + Send>;

/// Says once, to everybody who looks or asked to be told, that something is to end. Clones are the same one.
///
/// ```
/// use latchless_engine::runtime::{Cancel, CancelReason};
///
/// let flow = Cancel::new();
/// let turn = flow.child();
/// flow.cancel(CancelReason::User);
/// assert_eq!(turn.reason(), Some(CancelReason::User));
/// assert!(!flow.cancel(CancelReason::Over), "the first reason stays");
/// ```
#[derive(Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// 0, or the reason's place and 1.
    reason: AtomicU8,
    hooks: Mutex<Hooks>,
    /// What a child is told by.
    parent: Option<OnCancel>,
}

#[derive(Default)]
struct Hooks {
    next: u64,
    waiting: Vec<(u64, Hook)>,
}

impl Inner {
    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        // No foreign code runs under the lock.
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self) -> Option<CancelReason> {
        // Acquire: who sees the end sees what was done before it was asked for.
        CancelReason::of(self.reason.load(Ordering::Acquire))
    }

    fn cancel(&self, reason: CancelReason) -> bool {
        let code = reason as u8 + 1;
        let first = self.reason.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        if first.is_err() {
            return false;
        }
        // After the reason: who registers later finds it under the lock.
        let hooks = std::mem::take(&mut self.hooks().waiting);
        for (_, hook) in hooks {
            hook(reason);
        }
        true
    }
}

impl Cancel {
    /// One that nobody has used.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that ends with this one, and can end before it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(Arc::new_cyclic(|child: &Weak<Inner>| {
            let child = Weak::clone(child);
            let parent = self.on_cancel(move |reason| {
                if let Some(child) = child.upgrade() {
                    child.cancel(reason);
                }
            });
            // A parent that has ended before could not upgrade a child that is being made.
            let reason = AtomicU8::new(self.0.reason.load(Ordering::Acquire));
            Inner { reason, hooks: Mutex::default(), parent: Some(parent) }
        }))
    }

    /// Asks for the end. False when somebody did before: the first reason stays.
    pub fn cancel(&self, reason: CancelReason) -> bool {
        self.0.cancel(reason)
    }

    /// Why it is to end; `None` while it may go on.
    pub fn reason(&self) -> Option<CancelReason> {
        self.0.reason()
    }

    /// Whether it is to end.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Has `hook` called when the end is asked for, on the thread that asks; at once if it was. Dropping
    /// what is returned takes the hook back. It should only wake somebody.
    pub fn on_cancel(&self, hook: impl FnOnce(CancelReason) + Send + 'static) -> OnCancel {
        let mut hooks = self.0.hooks();
        let number = hooks.next;
        if let Some(reason) = self.reason() {
            drop(hooks);
            hook(reason);
        } else {
            hooks.next += 1;
            hooks.waiting.push((number, Box::new(hook)));
        }
        OnCancel { cancel: Arc::downgrade(&self.0), number }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel")
            .field("reason", &self.reason())
            .field("is_child", &self.0.parent.is_some())
            .finish_non_exhaustive()
    }
}

/// A hook that waits; dropping this takes it back.
#[must_use = "the hook is taken back when this is dropped"]
#[derive(Debug)]
pub struct OnCancel {
    cancel: Weak<Inner>,
    number: u64,
}

impl Drop for OnCancel {
    fn drop(&mut self) {
        let Some(cancel) = self.cancel.upgrade() else { return };
        let mut hooks = cancel.hooks();
        let place = hooks.waiting.iter().position(|(number, _)| *number == self.number);
        let hook = place.map(|place| hooks.waiting.swap_remove(place));
        // Its captures may be anything: not under the lock.
        drop(hooks);
        drop(hook);
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("reason", &self.reason()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn hooks_are_called_once_whenever_they_come() {
        let cancel = Cancel::new();
        let (sender, receiver) = mpsc::channel();
        let hook = |name| {
            let sender = sender.clone();
            cancel.on_cancel(move |reason| sender.send((name, reason)).unwrap())
        };
        let _before = hook("before");
        drop(hook("taken back"));
        assert!(cancel.cancel(CancelReason::LeaseLost));
        let _after = hook("after");
        assert!(!cancel.cancel(CancelReason::User));
        let told: Vec<_> = receiver.try_iter().collect();
        let lost = CancelReason::LeaseLost;
        assert_eq!(told, [("before", lost), ("after", lost)]);
    }

    #[test]
    fn a_child_ends_with_its_parent_and_not_the_other_way_round() {
        let parent = Cancel::new();
        let [first, second] = [(); 2].map(|()| parent.child());
        first.cancel(CancelReason::TimeLimit);
        assert!(!parent.is_cancelled() && !second.is_cancelled());
        parent.cancel(CancelReason::User);
        assert_eq!(first.reason(), Some(CancelReason::TimeLimit));
        assert_eq!(second.reason(), Some(CancelReason::User));
        assert_eq!(parent.child().reason(), Some(CancelReason::User), "born after the end");
        let hooks = |cancel: &Cancel| cancel.0.hooks().waiting.len();
        let parent = Cancel::new();
        drop((parent.child(), parent.child().child()));
        assert_eq!(hooks(&parent), 0, "nothing is kept of children that are gone");
    }

    #[test]
    fn registering_races_with_the_end_and_every_hook_is_called() {
        for _ in 0..200 {
            let cancel = Cancel::new();
            let called = Arc::new(AtomicUsize::new(0));
            thread::scope(|scope| {
                scope.spawn(|| cancel.cancel(CancelReason::Over));
                for _ in 0..2 {
                    scope.spawn(|| {
                        let called = Arc::clone(&called);
                        let hook = cancel.on_cancel(move |_| {
                            called.fetch_add(1, Ordering::Relaxed);
                        });
                        // Kept beyond the end.
                        std::mem::forget(hook);
                    });
                }
            });
            assert_eq!(called.load(Ordering::Relaxed), 2);
        }
    }
}
