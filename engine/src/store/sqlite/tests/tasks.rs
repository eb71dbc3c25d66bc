//! Claims, leases, dependencies.

use std::collections::HashSet;
use std::thread;

use super::TaskStatus::{Assigned, Completed, Failed, Skipped};
use super::*;

fn status(store: &SqliteStore, plan: PlanId) -> Vec<TaskStatus> {
    store.tasks(plan).unwrap().into_iter().map(|task| task.status).collect()
}

/// Case 29: all are claimed, each once, by threads of two stores on one file.
#[test]
fn every_task_is_claimed_once() {
    let fixture = Fixture::new();
    let stores = [fixture.open(), fixture.open()];
    stores[0].create_plan("p", &independent(200), Durable).unwrap();
    let mut all: Vec<Claim> = thread::scope(|scope| {
        let agents: Vec<_> = (0..8)
            .map(|number| {
                let store = &stores[number % 2];
                let durability = if number < 4 { Durable } else { Relaxed };
                scope.spawn(move || {
                    let agent = format!("agent {number}");
                    let mut claims = Vec::new();
                    while let Some(claim) = store.claim(&agent, "any", LEASE, durability).unwrap() {
                        claims.push(claim);
                    }
                    claims
                })
            })
            .collect();
        agents.into_iter().flat_map(|agent| agent.join().unwrap()).collect()
    });
    all.sort_by_key(|claim| claim.task);
    let tasks: HashSet<_> = all.iter().map(|claim| claim.task).collect();
    assert_eq!((all.len(), tasks.len()), (200, 200));
    assert!(all.iter().all(|claim| claim.attempt == 1));
    let stats = stores[0].stats();
    assert!(stats.groups < stats.writes, "writes were put together: {stats:?}");
}

/// Case 29: high before low, a type for one, "any" for all.
#[test]
fn priority_and_type_decide_who_gets_what() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let tasks = [
        NewTask::new("low", "x").priority(Priority::Low),
        NewTask::new("for coders", "x").for_type("coder").priority(Priority::High),
        NewTask::new("normal", "x"),
        NewTask::new("high", "x").priority(Priority::High),
        NewTask::new("also normal", "x"),
    ];
    store.create_plan("p", &tasks, Durable).unwrap();
    let next = |kind| store.claim("a", kind, LEASE, Durable).unwrap().map(|claim| claim.key);
    assert_eq!(next("writer").as_deref(), Some("high"));
    assert_eq!(next("any").as_deref(), Some("normal"));
    assert_eq!(next("coder").as_deref(), Some("for coders"));
    assert_eq!(next("coder").as_deref(), Some("also normal"));
    assert_eq!(next("writer").as_deref(), Some("low"));
    assert_eq!(next("coder"), None);
}

/// Case 30.
#[test]
fn a_dead_agents_claim_returns_and_its_late_result_is_refused() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let plan = store.create_plan("p", &independent(1), Durable).unwrap();
    let dead = claim(&store, "dead").unwrap();
    store.start(&dead, Durable).unwrap();
    assert_eq!(claim(&store, "heir"), None);

    fixture.set_clock(1_000_000 + 59_999);
    assert_eq!(claim(&store, "heir"), None, "the lease has not ended");
    fixture.set_clock(1_000_000 + 60_000);
    let heir = claim(&store, "heir").unwrap();
    assert_eq!((heir.task, heir.attempt), (dead.task, 2));
    for late in [
        store.complete(&dead, "late", Durable),
        store.start(&dead, Durable),
        store.release(&dead, Durable),
        store.renew(&dead, LEASE, Durable).map(drop),
        store.fail(&dead, "late", Durable).map(drop),
    ] {
        let stale = matches!(late, Err(StoreError::StaleClaim { attempt: 1, current: 2, .. }));
        assert!(stale, "{late:?}");
    }
    store.start(&heir, Durable).unwrap();
    store.complete(&heir, "done", Durable).unwrap();
    let task = &store.tasks(plan).unwrap()[0];
    assert_eq!((task.outcome.as_deref(), task.attempt), (Some("done"), 2));
}

#[test]
fn leases_are_renewed_and_agents_given_up() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.create_plan("p", &independent(2), Durable).unwrap();
    let [first, second] = ["a", "b"].map(|agent| claim(&store, agent).unwrap());
    fixture.set_clock(1_000_000 + 50_000);
    assert_eq!(store.renew(&first, LEASE, Durable).unwrap(), 1_110_000);
    fixture.set_clock(1_000_000 + 70_000);
    assert_eq!(store.take_back(None, Durable).unwrap(), [second.task]);
    assert_eq!(store.take_back(Some("a"), Durable).unwrap(), [first.task]);
    let again = claim(&store, "c").unwrap();
    assert_eq!((again.task, again.attempt), (first.task, 2));
    store.release(&again, Durable).unwrap();
    assert_eq!(claim(&store, "d").unwrap().attempt, 3);
}

/// A result that comes after the lease, and before anybody took the task back, is not thrown away.
#[test]
fn a_result_counts_until_the_task_is_taken_back() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.create_plan("p", &independent(1), Durable).unwrap();
    let slow = claim(&store, "slow").unwrap();
    store.start(&slow, Durable).unwrap();
    fixture.set_clock(9_000_000);
    store.complete(&slow, "at last", Durable).unwrap();
    assert_eq!(claim(&store, "other"), None);
}

/// Case 31: along the edges and nowhere else.
#[test]
fn statuses_follow_their_order() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let plan = store.create_plan("p", &independent(2), Durable).unwrap();
    let first = claim(&store, "a").unwrap();
    let early = store.complete(&first, "x", Durable).unwrap_err();
    assert!(early.to_string().contains("it is assigned; start it first"), "{early}");
    assert!(store.fail(&first, "x", Durable).is_err());
    store.start(&first, Durable).unwrap();
    assert!(matches!(store.start(&first, Durable), Err(StoreError::Status { .. })));
    store.complete(&first, "x", Durable).unwrap();
    for again in [
        store.complete(&first, "y", Durable),
        store.start(&first, Durable),
        store.fail(&first, "y", Durable).map(drop),
        store.release(&first, Durable),
        store.renew(&first, LEASE, Durable).map(drop),
    ] {
        assert!(matches!(again, Err(StoreError::Status { .. })), "{again:?}");
    }
    assert_eq!(status(&store, plan), [TaskStatus::Completed, TaskStatus::Pending]);
    assert_eq!(store.tasks(plan).unwrap()[0].outcome.as_deref(), Some("x"));
    let unknown = Claim { task: TaskId(99), ..first };
    assert!(matches!(store.start(&unknown, Durable), Err(StoreError::UnknownTask(TaskId(99)))));
}

/// Case 37.
#[test]
fn a_plan_that_cannot_run_is_not_stored() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let circular = [NewTask::new("a", "x").after("b"), NewTask::new("b", "x").after("a")];
    let error = store.create_plan("p", &circular, Durable).unwrap_err();
    assert!(error.to_string().contains("a -> b -> a"), "{error}");
    let unknown = [NewTask::new("a", "x").after("c")];
    let error = store.create_plan("p", &unknown, Durable).unwrap_err();
    assert!(matches!(error, StoreError::UnknownDependency { .. }), "{error}");
    assert_eq!(store.plans().unwrap(), []);
    assert_eq!(claim(&store, "a"), None);
}

/// Case 37: what waits for a failed task never runs, and says why.
#[test]
fn dependents_wait_run_and_are_skipped() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let tasks = [
        NewTask::new("base", "x"),
        NewTask::new("risky", "x"),
        NewTask::new("both", "x").after("base").after("risky"),
        NewTask::new("end", "x").after("both"),
        NewTask::new("apart", "x").after("base"),
    ];
    let plan = store.create_plan("p", &tasks, Durable).unwrap();
    let [base, risky] = ["a", "b"].map(|agent| claim(&store, agent).unwrap());
    assert_eq!(claim(&store, "c"), None, "the others wait");
    for claim in [&base, &risky] {
        store.start(claim, Durable).unwrap();
    }
    assert_eq!(store.fail(&risky, "no luck", Durable).unwrap(), 2);
    store.complete(&base, "ok", Durable).unwrap();
    assert_eq!(claim(&store, "c").unwrap().key, "apart");
    assert_eq!(claim(&store, "d"), None);
    assert_eq!(status(&store, plan), [Completed, Failed, Skipped, Skipped, Assigned]);
    let end = &store.tasks(plan).unwrap()[3];
    assert!(end.outcome.as_deref().unwrap().contains("\"risky\", which it waits for, failed"));
    let counts = store.task_counts(Some(plan)).unwrap();
    assert_eq!((counts.completed, counts.failed, counts.skipped, counts.assigned), (1, 1, 2, 1));
    assert_eq!(store.task_counts(None).unwrap(), counts);
    assert_eq!(store.task_counts(Some(PlanId(9))).unwrap(), TaskCounts::default());
}

/// The clock of the machine is set back while nobody runs: leases end as they should all the same.
#[test]
fn a_clock_that_goes_back_prolongs_no_lease() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.create_plan("p", &independent(1), Durable).unwrap();
    let first = claim(&store, "a").unwrap();
    drop(store);
    fixture.set_clock(5_000);
    let store = fixture.open();
    assert_eq!(claim(&store, "b"), None);
    fixture.set_clock(5_000 + 60_000);
    let second = claim(&store, "b").unwrap();
    assert_eq!((second.attempt, second.lease_until_ms), (2, first.lease_until_ms + 60_000));
}

#[test]
fn those_who_wait_for_work_are_woken_by_any_process() {
    let fixture = Fixture::new();
    let (here, elsewhere) = (fixture.open(), fixture.open());
    for giver in [&here, &elsewhere] {
        let seen = here.work_seen().unwrap();
        assert!(!here.wait_for_work(seen, Duration::ZERO).unwrap());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| here.wait_for_work(seen, LEASE).unwrap());
            giver.create_plan("p", &independent(1), Durable).unwrap();
            assert!(waiter.join().unwrap());
        });
    }
    // What completes lets others run; what only begins does not.
    let seen = here.work_seen().unwrap();
    let first = claim(&here, "a").unwrap();
    here.start(&first, Durable).unwrap();
    assert!(!here.wait_for_work(seen, Duration::ZERO).unwrap());
    here.release(&first, Durable).unwrap();
    assert!(here.wait_for_work(seen, Duration::ZERO).unwrap());
}

#[test]
fn a_claim_in_one_plan_leaves_the_others_alone() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let [first, second] =
        ["first", "second"].map(|name| store.create_plan(name, &independent(2), Durable).unwrap());
    let next = || store.claim_in(second, "a", "coder", LEASE, Durable).unwrap();
    let claims: Vec<_> = std::iter::from_fn(next).collect();
    assert_eq!(claims.len(), 2);
    assert!(claims.iter().all(|claim| claim.plan == second));
    assert!(store.tasks(first).unwrap().iter().all(|task| task.attempt == 0));
}

/// SQLite prepares a statement anew for each value that is bound, unless it is told not to: that was half of what
/// a claim cost.
#[test]
fn a_claim_prepares_nothing() {
    let fixture = Fixture::new();
    drop(fixture.open());
    let failed = Failures::new(&fixture.path());
    let connection = super::super::open(&fixture.path(), &fixture.options(), &failed).unwrap();
    let mut writing = Writing::new(&connection, 1_000_000, &failed);
    let tasks = independent(20);
    let edges = vec![Vec::new(); tasks.len()];
    super::super::tasks::create_plan(&mut writing, "p", &tasks, &edges).unwrap();
    let mut claim = |kind: &str| {
        super::super::tasks::claim(&mut writing, None, "a", kind, 1_000).unwrap().unwrap()
    };
    let agents = (0..10).map(|number| claim(&format!("kind {number}")).task);
    assert_eq!(agents.collect::<HashSet<_>>().len(), 10);
    for sql in [super::super::tasks::FIRST, super::super::tasks::TAKE] {
        let statement = connection.prepare_cached(sql).unwrap();
        let again = statement.get_status(rusqlite::StatementStatus::RePrepare);
        let runs = statement.get_status(rusqlite::StatementStatus::Run);
        assert_eq!((again, runs), (0, 10), "{sql}");
    }
}

/// Claims of one group look once for leases that are over, and find one all the same that is over when it is
/// given.
#[test]
fn a_lease_of_no_length_is_over_at_once() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.create_plan("p", &independent(1), Durable).unwrap();
    let claims: Vec<_> = thread::scope(|scope| {
        let claim = || store.claim("a", "any", Duration::ZERO, Relaxed).unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(claim)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let attempts: HashSet<_> = claims.into_iter().flatten().map(|claim| claim.attempt).collect();
    assert_eq!(attempts, (1..9).collect());
}

#[test]
fn pending_tasks_grow_old_by_the_stores_clock() {
    let fixture = Fixture::new();
    let store = fixture.open();
    assert_eq!(store.oldest_pending(None).unwrap(), None);
    let tasks = [NewTask::new("first", "x"), NewTask::new("second", "x").after("first")];
    let plan = store.create_plan("p", &tasks, Durable).unwrap();
    fixture.set_clock(1_000_000 + 5_000);
    let other = store.create_plan("q", &independent(1), Durable).unwrap();
    fixture.set_clock(1_000_000 + 7_000);
    let age = |plan| {
        let found = store.oldest_pending(plan).unwrap();
        found.map(|TaskAge { task, age }| (task.0, age.as_secs()))
    };
    assert_eq!(
        (age(None), age(Some(plan)), age(Some(other))),
        (Some((1, 7)), Some((1, 7)), Some((3, 2)))
    );
    let first = claim(&store, "a").unwrap();
    assert_eq!(first.waited, Some(Duration::from_secs(7)));
    assert_eq!(
        (age(None), age(Some(plan))),
        (Some((3, 2)), None),
        "what waits for others does not count"
    );
    store.release(&first, Durable).unwrap();
    fixture.set_clock(1_000_000);
    assert_eq!(age(Some(plan)), Some((1, 7)), "a clock that went back");
    fixture.set_clock(1_000_000 + 9_000);
    assert_eq!(claim(&store, "b").unwrap().waited, Some(Duration::from_secs(9)));
}
