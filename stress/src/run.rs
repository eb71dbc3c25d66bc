//! A run: its parts, each round after round beside the others, the freezer and the watcher.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::crew::freezer::freeze;
use crate::crew::roll::Entry;
use crate::crew::{Ground, message_of};
use crate::failure::Failure;
use crate::part::Part;
use crate::phase::Phase;
use crate::plan::Plan;
use crate::schedule::Schedule;
use crate::stop::Broken;
use crate::tally::Counts;
use crate::view::View;
use crate::violation::Violation;
use crate::watch::{Seen, Watcher};

/// A part, and how far it is.
pub(crate) struct Running {
    pub(crate) part: Box<dyn Part>,
    /// Rounds that have begun.
    rounds: AtomicU64,
    /// The number of the last one.
    round: AtomicU64,
}

impl Running {
    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Acquire)
    }

    /// The round that has begun last.
    pub(crate) fn round(&self) -> u64 {
        self.round.load(Ordering::Acquire)
    }

    /// Round after round, until it is over.
    fn run(&self, ground: &Ground, plan: &Plan) {
        let mut schedule = Schedule::new(&plan.phases, plan.first_round);
        while !ground.stop.is_stopped() && plan.rounds.is_none_or(|rounds| self.rounds() < rounds) {
            let round = schedule.next(Instant::now());
            self.round.store(round, Ordering::Release);
            self.rounds.fetch_add(1, Ordering::Release);
            self.part.round(ground, round);
            // A round that broke leaves things behind, and one that could not begin lacks some: only the first
            // counts.
            if ground.stop.is_sound()
                && let Err(violation) = self.part.check(round)
            {
                ground.check_failed(self.part.kind(), round, violation);
            }
        }
        if ground.stop.is_sound()
            && let Err(violation) = self.part.end()
        {
            ground.check_failed(self.part.kind(), self.round(), violation);
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
    pub(crate) counts: Counts,
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
    fn new(ground: Ground, plan: &Plan) -> anyhow::Result<Self> {
        let round = || AtomicU64::new(plan.first_round);
        let running = |part| Running { part, rounds: AtomicU64::new(0), round: round() };
        Ok(Self {
            parts: plan
                .parts
                .iter()
                .map(|kind| kind.make(plan).map(running))
                .collect::<anyhow::Result<_>>()?,
            ground,
            frozen: AtomicU64::new(0),
            over: AtomicBool::new(false),
        })
    }

    fn outcome(&self, wall: Duration, seen: &Seen) -> Outcome {
        let parts: Vec<_> = self
            .parts
            .iter()
            .map(|running| PartOutcome {
                kind: running.part.kind(),
                threads: running.part.threads(),
                rounds: running.rounds(),
                counts: running.part.tally().snapshot(),
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
    run_on(Ground::default(), plan, interrupted, view, give_up)
}

fn run_on(
    ground: Ground,
    plan: &Plan,
    interrupted: &AtomicBool,
    view: &dyn View,
    give_up: impl Fn(&Outcome) + Send,
) -> anyhow::Result<Outcome> {
    let site = Site::new(ground, plan)?;
    let begun = Instant::now();
    let seen = thread::scope(|scope| {
        let site = &site;
        let watcher = Watcher {
            parts: &site.parts,
            ground: &site.ground,
            frozen: &site.frozen,
            over: &site.over,
            interrupted,
            deadline: plan.duration.and_then(|duration| begun.checked_add(duration)),
            view,
            stall_after: plan.stall_after,
            judge_after: plan.judge_after,
        };
        let watch = move || watcher.watch(|seen| give_up(&site.outcome(begun.elapsed(), seen)));
        // What nobody watches is not run.
        let Some(watching) = site.ground.spawn(scope, watch) else { return Seen::default() };
        let running: Vec<_> = site
            .parts
            .iter()
            .map_while(|running| site.ground.spawn(scope, || running.run(&site.ground, plan)))
            .collect();
        if let Some(freezes) = plan.freezes {
            let count = |_: &Entry, _, _| {
                site.frozen.fetch_add(1, Ordering::Relaxed);
            };
            site.ground.spawn(scope, move || freeze(&site.ground, freezes, plan.seed, count));
        }
        for running in running {
            if let Err(payload) = running.join() {
                let message = message_of(&*payload);
                let violation = Violation::Panicked { message };
                let (part, round, thread) = (None, plan.first_round, None);
                site.ground.stop.broken(Broken { violation, part, round, thread });
            }
        }
        // All parts have ended by their counts: so do the freezer and the watcher.
        site.ground.stop.stop();
        site.over.store(true, Ordering::Release);
        watching.thread().unpark();
        watching.join().unwrap_or_else(|payload| {
            let violation = Violation::answer("the watcher panicked", message_of(&*payload));
            let (part, round, thread) = (None, plan.first_round, None);
            site.ground.stop.broken(Broken { violation, part, round, thread });
            Seen::default()
        })
    });
    Ok(site.outcome(begun.elapsed(), &seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crew::Spawner;
    use crate::crew::freezer::Freezes;
    use crate::fault::Rates;
    use crate::part::Kind;
    use crate::phase::PHASES;
    use crate::plan::Plant;
    use crate::view::Nobody;

    fn plan(parts: &[Kind], rounds: u64) -> Plan {
        Plan {
            seed: 1,
            parts: parts.to_vec(),
            threads: 4,
            blocks: 1_000,
            first_round: 0,
            phases: Vec::new(),
            duration: None,
            rounds: Some(rounds),
            stall_after: Duration::MAX,
            judge_after: Duration::MAX,
            freezes: None,
            model: None,
            faults: true,
            rates: Rates::default(),
            plant: None,
        }
    }

    fn run(plan: &Plan) -> Outcome {
        super::run(plan, &AtomicBool::new(false), &Nobody, |_| {}).unwrap()
    }

    #[track_caller]
    fn assert_held(outcome: &Outcome) {
        assert!(matches!(outcome.ending, Ending::Held), "{:?}", outcome.ending);
    }

    #[test]
    fn all_phases_hold_and_every_action_is_counted() {
        let outcome = run(&plan(&Kind::ALL, PHASES as u64));
        assert_held(&outcome);
        assert_eq!(outcome.parts.len(), Kind::ALL.len());
        for part in &outcome.parts {
            assert_eq!(part.rounds, PHASES as u64, "{}", part.kind);
            assert!(part.counts.actions.iter().all(|count| *count > 0), "{:?}", part.counts);
            assert!(part.counts.outcomes.iter().all(|count| *count > 0), "{:?}", part.counts);
            assert!(part.counts.times.iter().all(|times| !times.is_empty()));
        }
        assert!(outcome.seen.looks > 0 && !outcome.seen.series.samples().is_empty());
    }

    #[test]
    fn a_fault_by_factor_0_never_comes() {
        let rates = crate::fault::tests::all(0.0);
        let outcome = run(&Plan { rates, threads: 2, ..plan(&Kind::ALL, PHASES as u64) });
        assert_held(&outcome);
        let never: [&[&str]; 4] = [
            &["unwind"],
            &["unwind", "jump-clock", "die", "reclaim-worker"],
            &[
                "cancel",
                "cancelled",
                "vanished",
                "slow readers",
                "failed by a fault",
                "failed loads",
                "spoilt files",
            ],
            &[
                "kills",
                "full disks",
                "I/O errors",
                "cache refusals",
                "half-written files",
                "clock jumps",
                "panics",
                "abandon",
                "take-back",
            ],
        ];
        for (PartOutcome { kind, counts, .. }, never) in outcome.parts.iter().zip(never) {
            let columns = counts.columns;
            let actions = columns.actions.iter().zip(&counts.actions);
            let all: Vec<_> =
                actions.chain(columns.outcomes.iter().zip(&counts.outcomes)).collect();
            for name in never {
                let count = all.iter().find(|(other, _)| *other == name);
                assert!(matches!(count, Some((_, 0))), "{kind}: {name}: {count:?}");
            }
        }
    }

    #[test]
    fn everything_holds_while_threads_are_frozen() {
        let freezes = Freezes { per_second: 500.0, time: Duration::from_millis(5) };
        let outcome = run(&Plan { freezes: Some(freezes), ..plan(&Kind::ALL, PHASES as u64) });
        assert_held(&outcome);
        assert!(outcome.frozen > 0);
    }

    #[test]
    fn one_thread_and_the_smallest_pool_hold_too() {
        // The second round: in the first nobody may take anything of a pool with fewer blocks than threads.
        for (threads, blocks) in [(1, 1), (1, 100), (3, 2), (2, 65)] {
            let first_round = 1;
            let plan = Plan { threads, blocks, first_round, ..plan(&Kind::ALL, 1) };
            assert_held(&run(&plan));
        }
    }

    #[test]
    fn a_run_in_which_nobody_had_a_block_shows_nothing() {
        let outcome = run(&Plan { threads: 3, blocks: 2, ..plan(&[Kind::Pool], 1) });
        assert!(matches!(outcome.ending, Ending::Idle), "{:?}", outcome.ending);
    }

    #[test]
    fn many_threads_go_through_all_phases_as_well() {
        let outcome = run(&Plan { threads: 32, blocks: 64, ..plan(&Kind::ALL, PHASES as u64) });
        assert_held(&outcome);
        assert!(outcome.parts.iter().all(|part| part.rounds == PHASES as u64));
    }

    fn broken(plan: &Plan) -> Broken {
        match run(plan).ending {
            Ending::Broken(broken) => broken,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_planted_double_hand_out_is_seen_by_a_worker() {
        let plant = Some(Plant::Double);
        let broken = broken(&Plan { plant, ..plan(&[Kind::Pool], 1) });
        assert!(matches!(broken.violation, Violation::GivenTwice { .. }), "{broken:?}");
        assert!(broken.thread.is_some());
        assert_eq!((broken.part, broken.round), (Some(Kind::Pool), 0));
    }

    #[test]
    fn a_planted_leak_is_seen_by_the_check() {
        let broken = broken(&Plan { plant: Some(Plant::Leak), ..plan(&[Kind::Pool], 1) });
        let charged =
            Violation::WrongCharge { agent: "thread-0-0".into(), expected: 0, charged: 1 };
        assert_eq!((broken.violation, broken.thread), (charged, None));
    }

    #[test]
    fn a_planted_second_end_of_a_task_is_seen() {
        let broken = broken(&Plan { plant: Some(Plant::Stolen), ..plan(&Kind::ALL, 1) });
        assert!(matches!(broken.violation, Violation::NotOnce { what: "task", .. }), "{broken:?}");
        assert_eq!(broken.part, Some(Kind::Agents));
    }

    #[test]
    fn planted_defects_of_the_store_and_the_cache_are_seen() {
        for (plant, seen) in [
            (Plant::Lost, "told: (Some("),
            (Plant::Twice, "there twice"),
            (Plant::Torn, "is not whole"),
            (Plant::Dropped, "was acknowledged and is not there"),
        ] {
            let broken = broken(&Plan { plant: Some(plant), ..plan(&[Kind::Store], 1) });
            let Violation::Store { what, .. } = &broken.violation else { panic!("{broken:?}") };
            assert!(what.contains(seen), "{what}");
        }
    }

    #[test]
    fn an_interrupted_run_ends_settled() {
        let endless = Plan { rounds: None, ..plan(&Kind::ALL, 0) };
        let outcome = super::run(&endless, &AtomicBool::new(true), &Nobody, |_| {}).unwrap();
        assert!(matches!(outcome.ending, Ending::Interrupted), "{:?}", outcome.ending);
    }

    #[test]
    fn a_run_for_which_there_are_too_few_threads_ends_settled() {
        let endless = Plan { rounds: None, ..plan(&Kind::ALL, 0) };
        // From none at all, by one that is missing in the first rounds, to some of later ones.
        for threads in [0, 1, 3, 7, 12, 19, 30, 60] {
            let ground = Ground { spawner: Spawner::at_most(threads), ..Ground::default() };
            let outcome = run_on(ground, &endless, &AtomicBool::new(false), &Nobody, |_| {});
            let ending = outcome.unwrap().ending;
            assert!(matches!(ending, Ending::Failed(Failure::Thread(_))), "{threads}: {ending:?}");
        }
    }

    #[test]
    fn only_the_phases_that_were_asked_for_are_run() {
        let phases = ["calm=1", "burst=2"].map(|text| text.parse().unwrap()).to_vec();
        let outcome = run(&Plan { phases, ..plan(&[Kind::Pool], 3) });
        assert_held(&outcome);
        let counts = &outcome.parts[0].counts;
        let of = |name| counts.columns.actions.iter().position(|action| *action == name).unwrap();
        // As often in calm, and far less often in a burst; more often where agents come and go.
        assert!(counts.actions[of("reregister")] < counts.actions[of("free-agent")]);
    }

    #[test]
    fn a_round_can_be_run_alone() {
        for first_round in 0..PHASES as u64 {
            let outcome = run(&Plan { first_round, ..plan(&Kind::ALL, 1) });
            assert_held(&outcome);
            assert!(outcome.parts.iter().all(|part| part.rounds == 1));
        }
    }
}
