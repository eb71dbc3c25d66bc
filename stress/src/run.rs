//! A run: its parts, each round after round beside the others, the freezer and the watcher.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::crew::Ground;
use crate::crew::freezer::freeze;
use crate::crew::roll::Entry;
use crate::failure::Failure;
use crate::part::Part;
use crate::phase::Phase;
use crate::plan::Plan;
use crate::schedule::Schedule;
use crate::stop::Broken;
use crate::tally::Counts;
use crate::view::View;
use crate::watch::{Seen, Watcher};

/// A part, and how far it is.
pub(crate) struct Running {
    pub(crate) part: Box<dyn Part>,
    /// Rounds that have begun.
    rounds: AtomicU64,
    /// The number of the last one.
    round: AtomicU64,
    /// How long it took, once it is over: a part may end long before the others.
    took: OnceLock<Duration>,
}

impl Running {
    fn new(part: Box<dyn Part>, plan: &Plan) -> Self {
        let (rounds, round) = (AtomicU64::new(0), AtomicU64::new(plan.first_round));
        Self { part, rounds, round, took: OnceLock::new() }
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Acquire)
    }

    /// The round that has begun last.
    pub(crate) fn round(&self) -> u64 {
        self.round.load(Ordering::Acquire)
    }

    /// Round after round, until it is over.
    fn run(&self, ground: &Ground, plan: &Plan) {
        let begun = Instant::now();
        let place = || (Some(self.part.kind()), self.round());
        ground
            .guarded("a part panicked between its rounds", place, || self.rounds_of(ground, plan));
        self.took.get_or_init(|| begun.elapsed());
    }

    fn rounds_of(&self, ground: &Ground, plan: &Plan) {
        let mut schedule = Schedule::new(&plan.phases, plan.first_round);
        while !ground.stop.is_stopped() && plan.rounds.is_none_or(|rounds| self.rounds() < rounds) {
            let round = schedule.next(Instant::now());
            self.round.store(round, Ordering::Release);
            self.rounds.fetch_add(1, Ordering::Release);
            self.part.round(ground, round);
            // A round that broke leaves things behind, and one that could not begin lacks some: only the first
            // counts.
            if ground.stop.is_sound() {
                ground.check(self.part.kind(), round, |present| self.part.check(present));
            }
        }
        if ground.stop.is_sound() {
            ground.check(self.part.kind(), self.round(), |present| self.part.end(present));
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// Everything held.
    Held,
    /// A part did nothing that could have shown anything.
    Idle,
    /// Everything held until somebody interrupted it.
    Interrupted,
    /// Everything held until the machine did not give what the run needs.
    Failed(Failure),
    /// Something did not hold.
    Broken(Broken),
}

/// What came out of a part.
#[derive(Debug)]
pub(crate) struct PartOutcome {
    pub(crate) kind: crate::part::Kind,
    pub(crate) threads: u16,
    pub(crate) rounds: u64,
    /// How long it ran.
    pub(crate) took: Duration,
    pub(crate) counts: Counts,
    /// What else there is to be told, by name.
    pub(crate) gauges: Vec<(&'static str, u64)>,
}

/// What came out of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ending: Ending,
    /// The phase in which it broke.
    pub(crate) phase: Option<&'static str>,
    pub(crate) wall: Duration,
    pub(crate) parts: Vec<PartOutcome>,
    pub(crate) frozen: u64,
    pub(crate) seen: Seen,
}

/// Everything that lasts for a run.
struct Site {
    parts: Vec<Running>,
    ground: Ground,
    frozen: AtomicU64,
    over: AtomicBool,
}

impl Site {
    fn new(ground: Ground, plan: &Plan, parts: Vec<Box<dyn Part>>) -> Self {
        Self {
            parts: parts.into_iter().map(|part| Running::new(part, plan)).collect(),
            ground,
            frozen: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    fn outcome(&self, wall: Duration, seen: &Seen) -> Outcome {
        let parts: Vec<_> = self
            .parts
            .iter()
            .map(|running| PartOutcome {
                kind: running.part.kind(),
                threads: running.part.threads(),
                rounds: running.rounds(),
                took: running.took.get().copied().unwrap_or(wall),
                counts: running.part.tally().snapshot(),
                gauges: running.part.gauges(),
            })
            .collect();
        let stop = &self.ground.stop;
        let ending = match (stop.what_broke(), stop.what_failed()) {
            (Some(broken), _) => Ending::Broken(broken),
            (None, Some(failure)) => Ending::Failed(failure),
            (None, None) if stop.was_interrupted() => Ending::Interrupted,
            (None, None) if !parts.iter().all(|part| part.counts.shows_something()) => Ending::Idle,
            (None, None) => Ending::Held,
        };
        let phase = match &ending {
            Ending::Broken(broken) => {
                let running = self.parts.iter().find(|r| Some(r.part.kind()) == broken.part);
                running.map(|_| Phase::of_round(broken.round).name())
            }
            _ => None,
        };
        let frozen = self.frozen.load(Ordering::Relaxed);
        Outcome { ending, phase, wall, parts, frozen, seen: seen.clone() }
    }
}

/// Runs a plan to its end.
///
/// `give_up` is called when a thread has stalled, so that it never ends; it should not return.
///
/// # Errors
/// When the plan cannot be carried out at all: a part cannot be made.
pub(crate) fn run(
    plan: &Plan,
    interrupted: &AtomicBool,
    view: &dyn View,
    give_up: impl Fn(&Outcome) + Send,
) -> anyhow::Result<Outcome> {
    let parts = plan.parts.iter().map(|kind| kind.make(plan));
    let site = Site::new(Ground::default(), plan, parts.collect::<anyhow::Result<_>>()?);
    Ok(run_on(&site, plan, interrupted, view, give_up))
}

fn run_on(
    site: &Site,
    plan: &Plan,
    interrupted: &AtomicBool,
    view: &dyn View,
    give_up: impl Fn(&Outcome) + Send,
) -> Outcome {
    let begun = Instant::now();
    let ground = &site.ground;
    let mut seen = Seen::of(site.parts.len());
    thread::scope(|scope| {
        let watcher = Watcher {
            parts: &site.parts,
            ground,
            frozen: &site.frozen,
            over: &site.over,
            interrupted,
            deadline: plan.duration.and_then(|duration| begun.checked_add(duration)),
            view,
            stall_after: plan.stall_after,
            judge_after: plan.judge_after,
        };
        let seen = &mut seen;
        let nowhere = || (None, plan.first_round);
        let watch = move || {
            let give_up = |seen: &Seen| give_up(&site.outcome(begun.elapsed(), seen));
            ground.guarded("the watcher panicked", nowhere, || watcher.watch(seen, give_up));
        };
        // What nobody watches is not run.
        let Some(watching) = ground.spawn(scope, watch) else { return };
        let running: Vec<_> = site
            .parts
            .iter()
            .map_while(|running| ground.spawn(scope, || running.run(ground, plan)))
            .collect();
        if let Some(freezes) = plan.freezes {
            let count = |_: &Entry, _, _| {
                site.frozen.fetch_add(1, Ordering::Relaxed);
            };
            let freezer = move || freeze(ground, freezes, plan.seed, count);
            ground.spawn(scope, move || {
                ground.guarded("the freezer panicked", nowhere, freezer);
            });
        }
        for running in running {
            // It does not panic: it is guarded.
            let _ = running.join();
        }
        // All parts have ended by their counts: so do the freezer and the watcher.
        ground.stop.stop();
        site.over.store(true, Ordering::Release);
        watching.thread().unpark();
    });
    site.outcome(begun.elapsed(), &seen)
}

#[cfg(test)]
mod tests;
