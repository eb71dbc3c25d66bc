//! Flows on a scripted model.

use std::sync::mpsc;

use super::*;
use crate::runtime::fixture::{Fixture, assert_nothing_held, engine, model};
use crate::runtime::turn::{Happening, Nobody};
use crate::store::Durability::Durable;
use crate::store::TaskStatus::{Completed, Failed, Skipped};
use crate::store::{NewTask, Priority, TaskStatus};

/// Appends a line with the task's description to a log, and is done.
fn logs(task: &str, round: usize) -> String {
    match round {
        1 => format!("CALL append log: {task}"),
        _ => format!("TASK_COMPLETE {task} is logged"),
    }
}

fn numbered(count: usize) -> Vec<NewTask> {
    (0..count)
        .map(|number| NewTask::new(format!("t{number}"), format!("number {number}")))
        .collect()
}

fn workers(names: &[&str]) -> Vec<Worker> {
    names.iter().map(|name| Worker::new(*name, Manner::default())).collect()
}

fn flow(fixture: &Fixture, engine: &Engine, names: &[&str], options: FlowOptions) -> Flow {
    Flow::new(engine.clone(), Arc::clone(&fixture.store), workers(names), options).unwrap()
}

/// Lines of the log, sorted.
fn logged(fixture: &Fixture) -> Vec<String> {
    let log = fixture.document("log").unwrap_or_default();
    let mut lines: Vec<_> = log.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn expected(count: usize) -> Vec<String> {
    let mut lines: Vec<_> = (0..count).map(|number| format!("number {number}")).collect();
    lines.sort();
    lines
}

/// Case 29, and 32 with a limit below the number of agents.
#[test]
fn twenty_tasks_are_each_done_once_by_five_agents_of_which_three_run() {
    let fixture = Fixture::new(&numbered(20));
    let engine = engine(model(logs));
    let options = FlowOptions { limit: Some(3), ..FlowOptions::default() };
    let flow = flow(&fixture, &engine, &["a", "b", "c", "d", "e"], options);
    let report = flow.run(fixture.plan, &Cancel::new(), &Nobody).unwrap();
    assert_eq!((report.tasks.completed, report.is_over), (20, true), "{report:?}");
    assert_eq!((report.finished, report.stopped), (20, 0));
    assert!(report.longest_wait.is_some() && report.lease == Duration::from_secs(30), "{report:?}");
    assert_eq!(logged(&fixture), expected(20));
    assert!(fixture.tasks().iter().all(|task| task.attempt == 1));
    assert_eq!(fixture.store.changesets(fixture.plan).unwrap().len(), 20);
    assert_nothing_held(&engine, flow.spawner());
    assert_eq!(flow.agents().map(|agent| agent.turns()).sum::<u64>(), 20);
    // Nothing is left to be done.
    let again = flow.run(fixture.plan, &Cancel::new(), &Nobody).unwrap();
    assert_eq!((again.finished, again.is_over), (0, true));
}

#[test]
fn what_is_urgent_and_what_others_wait_for_comes_first() {
    let tasks = [
        NewTask::new("last", "number 4").priority(Priority::Low),
        NewTask::new("waits", "number 3").priority(Priority::Critical).after("high"),
        NewTask::new("normal", "number 5"),
        NewTask::new("high", "number 2").priority(Priority::High),
        NewTask::new("critical", "number 1").priority(Priority::Critical),
    ];
    let fixture = Fixture::new(&tasks);
    let flow = flow(&fixture, &engine(model(logs)), &["a"], FlowOptions::default());
    flow.run(fixture.plan, &Cancel::new(), &Nobody).unwrap();
    let log = fixture.document("log").unwrap();
    let order: Vec<_> = log.lines().collect();
    assert_eq!(order, ["number 1", "number 2", "number 3", "number 5", "number 4"]);
}

/// Cases 30 and 37: what fails is tried again and then given up, and what waits for it says why.
#[test]
fn a_task_that_fails_every_time_is_given_up_with_all_that_waits_for_it() {
    let fails = |task: &str, round| match task {
        "hopeless" => "CALL append log: half done".to_owned(),
        task => logs(task, round),
    };
    let tasks = [
        NewTask::new("first", "hopeless"),
        NewTask::new("second", "number 1").after("first"),
        NewTask::new("third", "number 2").after("second"),
        NewTask::new("free", "number 0"),
    ];
    let fixture = Fixture::new(&tasks);
    let engine = engine(model(fails));
    let flow = flow(&fixture, &engine, &["a", "b"], FlowOptions::default());
    let report = flow.run(fixture.plan, &Cancel::new(), &Nobody).unwrap();
    assert_eq!((report.stopped, report.is_over), (3, true), "three turns");
    assert_eq!(fixture.statuses(), [Failed, Skipped, Skipped, Completed]);
    let [first, _, third, _] = &fixture.tasks()[..] else { panic!("four tasks") };
    let why = |task: &crate::store::Task| task.outcome.clone().unwrap();
    assert!(why(first).starts_with("3 turns failed") && why(first).contains("8 rounds"));
    assert!(why(third).contains("\"first\", which it waits for, failed"));
    assert_eq!(logged(&fixture), ["number 0"], "nothing of what failed is there");
    assert_nothing_held(&engine, flow.spawner());
}

/// Panics once for each task.
struct Clumsy(Mutex<HashMap<String, u32>>);

impl Watch for Clumsy {
    fn see(&self, _agent: &Agent, happening: &Happening<'_>) {
        if let Happening::Claimed(claim) = happening {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = seen.entry(claim.key.clone()).or_default();
            *count += 1;
            let first = *count == 1;
            drop(seen);
            if first {
                panic::resume_unwind(Box::new("clumsy"));
            }
        }
    }
}

#[test]
fn a_panic_ends_one_turn_and_no_agent() {
    let fixture = Fixture::new(&numbered(6));
    let engine = engine(model(logs));
    let flow = flow(&fixture, &engine, &["a", "b"], FlowOptions::default());
    let report = flow.run(fixture.plan, &Cancel::new(), &Clumsy(Mutex::default())).unwrap();
    assert_eq!((report.finished, report.stopped), (6, 6));
    assert_eq!(logged(&fixture), expected(6));
    assert!(fixture.tasks().iter().all(|task| task.attempt == 2));
    assert_nothing_held(&engine, flow.spawner());
}

/// Ends the flow when so many turns have ended.
struct Ender<'a> {
    cancel: &'a Cancel,
    turns: u32,
    ended: Mutex<u32>,
}

impl Watch for Ender<'_> {
    fn see(&self, _agent: &Agent, happening: &Happening<'_>) {
        if matches!(happening, Happening::Finished(_)) {
            let mut ended = self.ended.lock().unwrap();
            *ended += 1;
            if *ended == self.turns {
                self.cancel.cancel(CancelReason::User);
            }
        }
    }
}

#[test]
fn a_flow_that_is_interrupted_goes_on_where_it_was() {
    let fixture = Fixture::new(&numbered(12));
    let engine = engine(model(logs));
    let flow = flow(&fixture, &engine, &["a", "b"], FlowOptions::default());
    let cancel = Cancel::new();
    let watch = Ender { cancel: &cancel, turns: 3, ended: Mutex::default() };
    let report = flow.run(fixture.plan, &cancel, &watch).unwrap();
    assert!((3..12).contains(&report.tasks.completed) && !report.is_over, "{report:?}");
    assert_eq!((report.tasks.assigned, report.tasks.in_progress), (0, 0), "all is given back");
    assert_nothing_held(&engine, flow.spawner());
    let report = flow.run(fixture.plan, &Cancel::new(), &Nobody).unwrap();
    assert!(report.is_over);
    assert_eq!(logged(&fixture), expected(12));
}

/// Case 30: a process is gone, and its lock with it: its claim comes back at once, and its result too late.
#[test]
fn case_30_what_a_gone_process_had_is_taken_back_at_once() {
    let fixture = Fixture::new(&numbered(3));
    let folder = fixture.folder.path().join("runs");
    std::fs::create_dir(&folder).unwrap();
    std::fs::File::create(folder.join("dead.run")).unwrap();
    let mut ghost = fixture.claim("a@dead");
    let mut living = fixture.claim("a@unknown");
    fixture.store.start(ghost.claim(), Durable).unwrap();
    let engine = engine(model(logs));
    let options = FlowOptions { presence: Some(folder), ..FlowOptions::default() };
    let flow = flow(&fixture, &engine, &["a"], options);
    let cancel = Cancel::new();
    let watch = Ender { cancel: &cancel, turns: 2, ended: Mutex::default() };
    let report = flow.run(fixture.plan, &cancel, &watch).unwrap();
    assert_eq!((report.taken_back, report.tasks.completed), (1, 2), "{report:?}");
    assert_eq!(fixture.tasks()[0].attempt, 2);
    let late = ghost.give_up("late").unwrap_err();
    assert!(matches!(late, StoreError::StaleClaim { attempt: 1, current: 2, .. }), "{late}");
    assert_eq!(fixture.statuses()[1], TaskStatus::Assigned, "nobody knows that it is gone");
    living.give_up("enough").unwrap();
}

/// Case 30: without a lock to see, the lease tells.
#[test]
fn case_30_a_lease_that_ends_gives_the_task_to_another() {
    let fixture = Fixture::new(&numbered(1));
    let short = Duration::from_millis(1);
    let ghost = fixture.store.claim_in(fixture.plan, "ghost", "any", short, Durable).unwrap();
    let flow = flow(&fixture, &engine(model(logs)), &["a"], FlowOptions::default());
    let report = flow.run(fixture.plan, &Cancel::new(), &Nobody).unwrap();
    assert_eq!((report.tasks.completed, fixture.tasks()[0].attempt), (1, 2));
    let late = fixture.store.complete(&ghost.unwrap(), "late", Durable).unwrap_err();
    assert!(matches!(late, StoreError::StaleClaim { .. }), "{late}");
    assert_eq!(logged(&fixture), expected(1));
}

/// The first agent hangs in its first turn. Its slot and its lease end, another one does the task, and what
/// the first does in the end is refused.
#[test]
fn an_agent_that_hangs_loses_its_task_and_its_late_result_is_refused() {
    /// The first to come to the end of a turn waits there until another one has ended its own.
    struct Hangs {
        wait: Mutex<Option<mpsc::Receiver<()>>>,
        wake: mpsc::Sender<()>,
    }
    impl Watch for Hangs {
        fn see(&self, _agent: &Agent, happening: &Happening<'_>) {
            match happening {
                Happening::Recorded(_) => {
                    let wait = self.wait.lock().unwrap().take();
                    if let Some(wait) = wait {
                        wait.recv().unwrap();
                    }
                }
                // Nobody listens to later ones.
                Happening::Finished(_) => drop(self.wake.send(())),
                _ => {}
            }
        }
    }
    let (wake, wait) = mpsc::channel();
    let watch = Hangs { wait: Mutex::new(Some(wait)), wake };
    let fixture = Fixture::new(&numbered(1));
    let engine = engine(model(logs));
    let short = Duration::from_millis(100);
    let options = FlowOptions { lease: short, patience: short, ..FlowOptions::default() };
    let flow = flow(&fixture, &engine, &["a", "b"], options);
    let report = flow.run(fixture.plan, &Cancel::new(), &watch).unwrap();
    assert_eq!((report.tasks.completed, report.finished), (1, 1), "{report:?}");
    assert!(report.stopped >= 1 && flow.spawner().stats().silent >= 1);
    assert_eq!(logged(&fixture), expected(1));
    assert_nothing_held(&engine, flow.spawner());
}

/// Two stores on one file, two engines: as two processes.
#[test]
fn two_flows_at_one_plan_do_every_task_once() {
    let fixture = Fixture::new(&numbered(30));
    let folder = fixture.folder.path().join("runs");
    let reports: Vec<_> = thread::scope(|scope| {
        let flows: Vec<_> = (0..2)
            .map(|_| {
                let store = fixture.open_again();
                let options =
                    FlowOptions { presence: Some(folder.clone()), ..FlowOptions::default() };
                let engine = engine(model(logs));
                let plan = fixture.plan;
                scope.spawn(move || {
                    let flow = Flow::new(engine, store, workers(&["a", "b"]), options).unwrap();
                    flow.run(plan, &Cancel::new(), &Nobody).unwrap()
                })
            })
            .collect();
        flows.into_iter().map(|flow| flow.join().unwrap()).collect()
    });
    assert!(reports.iter().all(|report| report.is_over && report.taken_back == 0));
    assert_eq!(reports.iter().map(|report| report.finished).sum::<u64>(), 30);
    assert_eq!(logged(&fixture), expected(30));
    assert!(fixture.tasks().iter().all(|task| task.attempt == 1));
}

#[test]
fn what_cannot_be_run_is_said_before_anything_is_done() {
    let fixture = Fixture::new(&[NewTask::new("t", "x").for_type("coder")]);
    let engine = engine(model(logs));
    let make = |names: &[&str], options| {
        Flow::new(engine.clone(), Arc::clone(&fixture.store), workers(names), options)
    };
    assert!(matches!(make(&[], FlowOptions::default()), Err(FlowError::NoAgents)));
    assert!(matches!(make(&["a", "a"], FlowOptions::default()), Err(FlowError::Duplicate { .. })));
    let hasty = FlowOptions { lease: Duration::from_millis(9), ..FlowOptions::default() };
    assert!(matches!(make(&["a"], hasty), Err(FlowError::Lease { .. })));
    let nowhere = FlowOptions { limit: Some(0), ..FlowOptions::default() };
    assert!(matches!(make(&["a"], nowhere), Err(FlowError::Limit(_))));
    let flow = make(&["a"], FlowOptions::default()).unwrap();
    let refused = flow.run(fixture.plan, &Cancel::new(), &Nobody).unwrap_err().to_string();
    assert!(refused.contains("\"coder\"") && refused.contains("add one"), "{refused}");
    let unknown = flow.run(PlanId(99), &Cancel::new(), &Nobody).unwrap_err();
    assert!(matches!(unknown, FlowError::UnknownPlan(PlanId(99))));
    assert_eq!(fixture.tasks()[0].attempt, 0);
}

#[test]
fn an_engine_that_is_shut_down_ends_the_flow_and_fails_no_task() {
    let fixture = Fixture::new(&numbered(3));
    let engine = engine(model(logs));
    engine.shutdown();
    let flow = flow(&fixture, &engine, &["a", "b"], FlowOptions::default());
    let ended = flow.run(fixture.plan, &Cancel::new(), &Nobody).unwrap_err();
    assert!(matches!(ended, FlowError::EngineClosed), "{ended}");
    assert_eq!(fixture.statuses(), [TaskStatus::Pending; 3]);
}

#[cfg(unix)]
#[test]
fn programs_and_models_work_at_one_plan() {
    let mut tasks = numbered(4);
    for task in &mut tasks[..2] {
        task.agent_type = "shell".into();
    }
    let fixture = Fixture::new(&tasks);
    let program = Program::new("sh").arg("-c").arg("read line; echo \"did $line\"");
    let workers =
        [Worker::program("sh", program).kind("shell"), Worker::new("a", Manner::default())];
    let store = Arc::clone(&fixture.store);
    let flow = Flow::new(engine(model(logs)), store, workers, FlowOptions::default()).unwrap();
    let report = flow.run(fixture.plan, &Cancel::new(), &Nobody).unwrap();
    assert_eq!(report.tasks.completed, 4, "{:?}", fixture.tasks());
    let tasks = fixture.tasks();
    let outcome = |place: usize| tasks[place].outcome.as_deref().unwrap();
    // What is for anybody is done by whoever comes first.
    assert_eq!((outcome(0), outcome(1)), ("did number 0", "did number 1"));
    assert_eq!(flow.agents().next().unwrap().kind(), "shell");
}
