//! The threads of a round: they begin together, are on the [roll](roll::Roll) while they work, and whatever
//! one of them finds broken, or panics with, ends the run.

pub(crate) mod freezer;
pub(crate) mod roll;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;

use self::roll::{Present, Roll};
use crate::part::Kind;
use crate::stop::{Broken, Stop};
use crate::violation::Violation;

/// What all threads of all parts have in common.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    pub(crate) stop: Stop,
    pub(crate) roll: Roll,
}

impl Ground {
    /// Runs the threads of a round of a part, and returns when all have ended.
    pub(crate) fn round<W>(&self, part: Kind, round: u64, threads: u16, work: W)
    where
        W: Fn(u16, &Present) -> Result<(), Violation> + Sync,
    {
        let begin = Barrier::new(threads.into());
        let (begin, work) = (&begin, &work);
        thread::scope(|scope| {
            for thread in 0..threads {
                scope.spawn(move || {
                    let present = self.roll.enter(part, round, thread);
                    let ended = catch_unwind(AssertUnwindSafe(|| {
                        begin.wait();
                        work(thread, &present)
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
            }
        });
    }

    /// Something does not hold, and no thread of the round saw it.
    pub(crate) fn check_failed(&self, part: Kind, round: u64, violation: Violation) {
        self.stop.broken(Broken { violation, part: Some(part), round, thread: None });
    }
}

/// What somebody panicked with.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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
