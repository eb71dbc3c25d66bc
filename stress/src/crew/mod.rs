//! The threads of a round: they begin together, are on the [roll](roll::Roll) while they work, and whatever
//! one of them finds broken, or panics with, ends the run. So does a system that has no thread for one of them.

pub(crate) mod freezer;
mod gate;
pub(crate) mod roll;
mod spawner;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, Scope, ScopedJoinHandle};

use self::gate::Gate;
use self::roll::{Present, Roll};
pub(crate) use self::spawner::Spawner;
use crate::part::Kind;
use crate::stop::{Broken, Stop};
use crate::violation::Violation;

/// What all threads of all parts have in common.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    pub(crate) stop: Stop,
    pub(crate) roll: Roll,
    pub(crate) spawner: Spawner,
}

impl Ground {
    /// Runs the threads of a round of a part, and returns when all have ended.
    pub(crate) fn round<W>(&self, part: Kind, round: u64, threads: u16, work: W)
    where
        W: Fn(u16, &Present) -> Result<(), Violation> + Sync,
    {
        let gate = Gate::new(threads);
        let (gate, work) = (&gate, &work);
        thread::scope(|scope| {
            for thread in 0..threads {
                let begun = self.spawn(scope, move || {
                    let present = self.roll.enter(part, round, thread);
                    let ended = catch_unwind(AssertUnwindSafe(|| {
                        if gate.pass() { work(thread, &present) } else { Ok(()) }
                    }));
                    let ended = ended.unwrap_or_else(|payload| {
                        Err(Violation::Panicked { message: message_of(&*payload) })
                    });
                    if let Err(violation) = ended {
                        let broken =
                            Broken { violation, part: Some(part), round, thread: Some(thread) };
                        self.stop.broken(broken);
                    }
                });
                if begun.is_none() {
                    gate.shut();
                    break;
                }
            }
        });
    }

    /// Begins a thread. When the system has none left, the run ends.
    pub(crate) fn spawn<'scope, T: Send + 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> Option<ScopedJoinHandle<'scope, T>> {
        self.spawner.spawn(scope, work).map_err(|failure| self.stop.failed(failure)).ok()
    }

    /// Carries out what no thread of a round does. A panic in it breaks the run at once: whoever waits for the
    /// end of the run would find it hours later, or never.
    pub(crate) fn guarded(
        &self,
        panicked: &'static str,
        place: impl Fn() -> (Option<Kind>, u64),
        work: impl FnOnce(),
    ) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
            let violation = Violation::answer(panicked, message_of(&*payload));
            let (part, round) = place();
            self.stop.broken(Broken { violation, part, round, thread: None });
        }
    }

    /// Checks a part whose threads have ended. A check that never ends is a stall as well.
    pub(crate) fn check(
        &self,
        part: Kind,
        round: u64,
        check: impl FnOnce(&Present<'_>) -> Result<(), Violation>,
    ) {
        let present = self.roll.enter_checker(part, round);
        if let Err(violation) = check(&present) {
            self.check_failed(part, round, violation);
        }
    }

    /// Something does not hold, and no thread of the round saw it.
    pub(crate) fn check_failed(&self, part: Kind, round: u64, violation: Violation) {
        self.stop.broken(Broken { violation, part: Some(part), round, thread: None });
    }
}

/// What somebody panicked with.
fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_round_whose_threads_cannot_all_be_had_ends_before_it_begins() {
        for threads in [0, 1, 4] {
            let ground = Ground { spawner: Spawner::at_most(threads), ..Ground::default() };
            let worked = AtomicUsize::new(0);
            ground.round(Kind::Pool, 0, 5, |_, _| {
                worked.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            assert!(ground.stop.is_stopped() && ground.stop.what_broke().is_none());
            let failure = ground.stop.what_failed().unwrap().to_string();
            assert!(
                failure.contains("fewer --threads") && failure.contains("ulimit -u"),
                "{failure}"
            );
            assert_eq!(worked.into_inner(), 0, "nobody began");
            assert!(ground.roll.everybody().is_empty(), "all have left");
        }
    }

    #[test]
    fn what_others_panic_with_breaks_the_run_where_they_are() {
        let ground = Ground::default();
        let place = || (Some(Kind::Store), 4);
        ground.guarded("nobody panicked", place, || {});
        assert!(!ground.stop.is_stopped());
        ground.guarded("the freezer panicked", place, || panic!("too cold"));
        let broken = ground.stop.what_broke().unwrap();
        assert!(ground.stop.is_stopped());
        assert_eq!((broken.part, broken.round, broken.thread), (Some(Kind::Store), 4, None));
        assert_eq!(broken.violation, Violation::answer("the freezer panicked", "too cold"));
    }

    #[test]
    fn what_a_thread_panics_with_breaks_the_run() {
        let ground = Ground::default();
        ground.round(Kind::Pool, 7, 3, |thread, _| {
            assert_ne!(thread, 1, "the one");
            Ok(())
        });
        let broken = ground.stop.what_broke().unwrap();
        assert!(ground.stop.is_stopped());
        assert_eq!((broken.part, broken.round, broken.thread), (Some(Kind::Pool), 7, Some(1)));
        assert!(
            matches!(&broken.violation, Violation::Panicked { message } if message.contains("the one"))
        );
        assert!(ground.roll.everybody().is_empty(), "all have left");
    }
}
