use super::*;
use crate::crew::Spawner;
use crate::crew::freezer::Freezes;
use crate::crew::roll::Present;
use crate::fault::{Fault, Rates};
use crate::part::{Fill, Kind};
use crate::phase::PHASES;
use crate::plan::Plant;
use crate::tally::{Columns, Tally};
use crate::view::Nobody;
use crate::violation::Violation;

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
    let samples = outcome.seen.series.samples();
    assert!(outcome.seen.looks > 0 && !samples.is_empty());
    for fault in Fault::ALL {
        let sampled: u64 = samples.iter().map(|sample| sample.faults.count(fault)).sum();
        let counts = outcome.parts.iter().map(|part| &part.counts);
        let counted: u64 = counts.map(|counts| counts.of(fault.counted_as())).sum();
        assert_eq!(sampled, counted, "{fault}: all of them are in the samples");
        assert!(sampled > 0, "{fault}");
    }
}

#[test]
fn every_fault_is_counted_by_some_part_under_its_names() {
    let plan = plan(&Kind::ALL, 1);
    let parts: Vec<_> = Kind::ALL.iter().map(|kind| kind.make(&plan).unwrap()).collect();
    for name in Fault::ALL.iter().flat_map(|fault| fault.counted_as()) {
        let mut columns = parts.iter().map(|part| part.tally().snapshot().columns);
        let has = |all: &Columns| all.actions.contains(name) || all.outcomes.contains(name);
        assert!(columns.any(has), "{name}");
    }
}

#[test]
fn the_rate_of_a_part_is_by_its_own_time() {
    let once = plan(&[], 1);
    let parts = vec![Panics::boxed("never"), Panics::boxed("late")];
    let site = Site::new(Ground::default(), &once, parts);
    let outcome = run_on(&site, &once, &AtomicBool::new(false), &Nobody, |_| {});
    let report = crate::report::Report::new(&once, &outcome);
    let report = serde_json::to_value(report).unwrap();
    let took = |part: usize| report["parts"][part]["took_s"].as_f64().unwrap();
    let rate = |part: usize| report["parts"][part]["operations_per_second"].as_f64().unwrap();
    assert!(took(0) < LATE.as_secs_f64() && took(1) >= LATE.as_secs_f64(), "{report}");
    for part in [0, 1] {
        assert!((rate(part) * took(part) - 1.0).abs() < 1e-6, "one operation: {report}");
    }
}

#[test]
fn a_fault_by_factor_0_never_comes() {
    let rates = crate::fault::tests::all(0.0);
    let outcome = run(&Plan { rates, threads: 1, ..plan(&Kind::ALL, PHASES as u64) });
    assert_held(&outcome);
    let never: [&[&str]; 4] = [
        &["unwind", "panicking-waker", "wakers that panicked"],
        &["unwind", "jump-clock", "die", "reclaim-worker"],
        &[
            "panicking-waker",
            "wakers that panicked",
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
        let all: Vec<_> = actions.chain(columns.outcomes.iter().zip(&counts.outcomes)).collect();
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
    let charged = Violation::WrongCharge { agent: "thread-0-0".into(), expected: 0, charged: 1 };
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
        let parts = Kind::ALL.iter().map(|kind| kind.make(&endless).unwrap()).collect();
        let site = Site::new(ground, &endless, parts);
        let ending = run_on(&site, &endless, &AtomicBool::new(false), &Nobody, |_| {}).ending;
        assert!(matches!(ending, Ending::Failed(Failure::Thread(_))), "{threads}: {ending:?}");
    }
}

/// A part whose threads only beat, and that panics where it is told to.
struct Panics {
    at: &'static str,
    tally: Tally,
}

static COLUMNS: Columns = Columns { actions: &["dig"], outcomes: &["hole"], needed: 0, timed: &[] };

/// How long a round takes that is late.
const LATE: Duration = Duration::from_millis(800);

impl Panics {
    fn boxed(at: &'static str) -> Box<dyn Part> {
        Box::new(Self { at, tally: Tally::new(&COLUMNS) })
    }

    fn pass(&self, place: &str) {
        assert_ne!(place, self.at, "as it was told");
    }
}

impl Part for Panics {
    fn kind(&self) -> Kind {
        Kind::Agents
    }

    fn threads(&self) -> u16 {
        1
    }

    fn round(&self, ground: &Ground, round: u64) {
        if self.at == "nowhere" {
            // A round that goes on for as long as it may.
            ground.round(Kind::Agents, round, 1, |_, present| {
                while !ground.stop.is_stopped() {
                    present.beat();
                    thread::yield_now();
                }
                Ok(())
            });
        }
        if self.at == "late" {
            thread::sleep(LATE);
        }
        if round == 0 {
            let mut counts = Counts::new(&COLUMNS);
            counts.actions[0] = 1;
            self.tally.collect(&mut counts);
        }
        if round == 5 {
            self.pass("round");
        }
    }

    fn check(&self, present: &Present<'_>) -> Result<(), Violation> {
        if present.round == 5 {
            self.pass("check");
        }
        if self.at == "hang" {
            thread::sleep(LATE);
        }
        Ok(())
    }

    fn end(&self, _: &Present<'_>) -> Result<(), Violation> {
        Ok(())
    }

    fn look(&self) -> Result<Fill, Violation> {
        self.pass("look");
        Ok(Fill::default())
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

#[test]
fn a_panic_outside_a_round_s_threads_ends_the_run_at_once_and_is_told_with_its_place() {
    let endless = Plan { rounds: None, ..plan(&[], 0) };
    for (at, panicked, place) in [
        ("round", "a part panicked between its rounds", (Some(Kind::Agents), 5)),
        ("check", "a part panicked between its rounds", (Some(Kind::Agents), 5)),
        ("look", "the watcher panicked", (None, 0)),
    ] {
        // The first one never ends by itself, and is waited for first.
        let parts = vec![Panics::boxed("nowhere"), Panics::boxed(at)];
        let site = Site::new(Ground::default(), &endless, parts);
        let outcome = run_on(&site, &endless, &AtomicBool::new(false), &Nobody, |_| {});
        let Ending::Broken(broken) = &outcome.ending else { panic!("{at}: {:?}", outcome.ending) };
        assert!(broken.violation.to_string().starts_with(panicked), "{broken:?}");
        assert!(broken.violation.to_string().contains("as it was told"), "{broken:?}");
        assert_eq!((broken.part, broken.round), place);
        let report = crate::report::Report::new(&endless, &outcome).to_string();
        assert!(report.contains("BROKEN: ") && report.contains("agents: "), "{report}");
        assert_eq!(report.contains("in round 5 (shared prefixes), agents"), at != "look");
    }
}

#[test]
fn a_check_that_does_not_end_is_a_stall() {
    let stall_after = Duration::from_millis(50);
    let once = Plan { stall_after, ..plan(&[], 1) };
    let site = Site::new(Ground::default(), &once, vec![Panics::boxed("hang")]);
    let given_up = AtomicBool::new(false);
    let give_up = |_: &Outcome| given_up.store(true, Ordering::Relaxed);
    let outcome = run_on(&site, &once, &AtomicBool::new(false), &Nobody, give_up);
    let Ending::Broken(broken) = &outcome.ending else { panic!("{:?}", outcome.ending) };
    assert_eq!(broken.violation, Violation::Stalled(stall_after));
    assert_eq!((broken.part, broken.thread), (Some(Kind::Agents), None));
    assert!(given_up.into_inner());
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
