//! Turns on a scripted model.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::backend::scripted::{DecodeFault, DecodeTrigger};
use crate::runtime::fixture::{Fixture, LONG, assert_nothing_held, engine, model, slot, with};
use crate::runtime::spawner::Spawner;
use crate::runtime::tools::Toolbox;
use crate::runtime::tools::scripted::Scripted;
use crate::store::Durability::Durable;
use crate::store::{NewTask, TaskStatus};

fn ada() -> Agent {
    Agent::new("ada", "any").unwrap()
}

/// Writes a note, and is done.
fn writes_a_note(_task: &str, round: usize) -> String {
    match round {
        1 => "CALL write note: blue\nCALL list\nCALL shell rm".into(),
        _ => "TASK_COMPLETE The note is there.".into(),
    }
}

#[test]
fn a_turn_leaves_its_work_its_record_and_nothing_else() {
    let fixture = Fixture::new(&[NewTask::new("sky", "Why is it blue?")]);
    let (engine, spawner, agent) =
        (engine(model(writes_a_note)), Spawner::new(1, LONG).unwrap(), ada());
    let slot = slot(&spawner);
    let turn = Turn { agent: &agent, slot: &slot, store: &fixture.store, watch: &Nobody };
    let mut claimed = fixture.claim("ada");
    let done = turn.ask(&engine, &mut claimed, &Manner::default()).unwrap();
    assert_eq!((done.rounds, &*done.result), (2, "The note is there."));
    assert!(agent.state().is_completed() && claimed.is_over());
    assert_eq!((agent.turns(), agent.task()), (1, None));
    drop(claimed);
    drop(slot);
    assert_nothing_held(&engine, &spawner);

    let [task] = &fixture.tasks()[..] else { panic!("one task") };
    assert_eq!(task.status, TaskStatus::Completed);
    assert_eq!(task.outcome.as_deref(), Some("The note is there."));
    assert_eq!(fixture.document("note").as_deref(), Some("blue"));
    let [changeset] = &fixture.store.changesets(fixture.plan).unwrap()[..] else { panic!("one") };
    assert_eq!((changeset.id, changeset.sealed), (done.changeset, true));
    assert_eq!(changeset.changes[0].target, "note");
    let results: Vec<_> = changeset.tool_calls.iter().map(|call| call.result.clone()).collect();
    assert_eq!(results[..2], [Ok("note is written".into()), Ok("note".into())]);
    assert!(results[2].as_ref().unwrap_err().contains("no tool \"shell\""));
    assert_eq!(fixture.store.outputs("ada", 9).unwrap()[0].text, "The note is there.");
}

#[test]
fn case_36_a_mark_beside_a_call_ends_nothing() {
    let hasty = |_: &str, round| match round {
        1 => "TASK_COMPLETE too early\nCALL write note: x".into(),
        2 => "I think about it.".into(),
        _ => "TASK_COMPLETE now".to_owned(),
    };
    let fixture = Fixture::new(&[NewTask::new("t", "x")]);
    let (engine, spawner, agent) = (engine(model(hasty)), Spawner::new(1, LONG).unwrap(), ada());
    let slot = slot(&spawner);
    let turn = Turn { agent: &agent, slot: &slot, store: &fixture.store, watch: &Nobody };
    let done = turn.ask(&engine, &mut fixture.claim("ada"), &Manner::default()).unwrap();
    assert_eq!((done.rounds, &*done.result), (3, "now"));
}

/// Panics at the happening of a number.
struct Bomb {
    at: usize,
    seen: AtomicUsize,
}

impl Watch for Bomb {
    fn see(&self, _agent: &Agent, _happening: &Happening<'_>) {
        if self.seen.fetch_add(1, Ordering::Relaxed) == self.at {
            // A panic that prints nothing.
            resume_unwind(Box::new("a bomb"));
        }
    }
}

/// Census, slots, claims and the agent's state are as before, and of all attempts one leaves its work, once.
#[test]
fn a_panic_at_any_step_gives_everything_back() {
    let engine = engine(model(writes_a_note));
    let (spawner, agent) = (Spawner::new(1, LONG).unwrap(), ada());
    let mut completed_by = None;
    for at in 0.. {
        let fixture = Fixture::new(&[NewTask::new("sky", "x")]);
        let bomb = Bomb { at, seen: AtomicUsize::new(0) };
        let exploded = catch_unwind(AssertUnwindSafe(|| {
            let slot = slot(&spawner);
            let turn = Turn { agent: &agent, slot: &slot, store: &fixture.store, watch: &bomb };
            turn.ask(&engine, &mut fixture.claim("ada"), &Manner::default()).unwrap();
        }))
        .is_err();
        assert_nothing_held(&engine, &spawner);
        assert_eq!(agent.task(), None);
        let work = (
            fixture.store.changesets(fixture.plan).unwrap().len(),
            fixture.document("note").is_some(),
            fixture.store.outputs("ada", 9).unwrap().len(),
        );
        match fixture.statuses()[0] {
            TaskStatus::Completed => assert_eq!(work, (1, true, 1), "{at}"),
            status => {
                assert_eq!((status, work), (TaskStatus::Pending, (0, false, 0)), "{at}");
                // The next attempt begins where the agent's state allows it, and does it.
                let slot = slot(&spawner);
                let turn =
                    Turn { agent: &agent, slot: &slot, store: &fixture.store, watch: &Nobody };
                let mut claimed = fixture.claim("ada");
                assert_eq!(claimed.claim().attempt, 2);
                turn.ask(&engine, &mut claimed, &Manner::default()).unwrap();
                assert_eq!(fixture.statuses(), [TaskStatus::Completed]);
            }
        }
        if !exploded {
            completed_by = Some(at);
            break;
        }
    }
    // Claimed, begun, a token at a time, calls, responses, the record, the end.
    assert!(completed_by.unwrap() > 50, "{completed_by:?}");
}

/// What a turn does after its claim was taken back is refused whole.
#[test]
fn case_30_a_turn_whose_claim_is_lost_leaves_nothing() {
    struct Thief<'a>(&'a Fixture);
    impl Watch for Thief<'_> {
        fn see(&self, _agent: &Agent, happening: &Happening<'_>) {
            if matches!(happening, Happening::Recorded(_)) {
                self.0.store.take_back(Some("ada"), Durable).unwrap();
            }
        }
    }
    let fixture = Fixture::new(&[NewTask::new("sky", "x")]);
    let (engine, spawner, agent) =
        (engine(model(writes_a_note)), Spawner::new(1, LONG).unwrap(), ada());
    let slot = slot(&spawner);
    let thief = Thief(&fixture);
    let turn = Turn { agent: &agent, slot: &slot, store: &fixture.store, watch: &thief };
    let mut late = fixture.claim("ada");
    let refused = turn.ask(&engine, &mut late, &Manner::default()).unwrap_err();
    assert!(
        matches!(refused, TurnError::Store(StoreError::StaleClaim { attempt: 1, .. })),
        "{refused}"
    );
    assert!(late.is_over());
    assert_eq!((fixture.document("note"), fixture.statuses()), (None, vec![TaskStatus::Pending]));
    let turn = Turn { watch: &Nobody, ..turn };
    let mut next = fixture.claim("ben");
    assert_eq!(next.claim().attempt, 2);
    turn.ask(&engine, &mut next, &Manner::default()).unwrap();
    assert_eq!(fixture.store.changesets(fixture.plan).unwrap().len(), 1);
}

#[test]
fn case_36_an_abort_by_the_user_ends_the_turn_and_the_task() {
    let ask = |_: &mut _| Err(ToolError::Aborted("not on my disk".into()));
    let tools = Toolbox::documents().with(Scripted::writing("ask", ask)).unwrap();
    let asks = |_: &str, _| "CALL write note: x\nCALL ask now\nCALL write more: y".to_owned();
    let fixture = Fixture::new(&[NewTask::new("a", "x"), NewTask::new("b", "x").after("a")]);
    let (engine, spawner, agent) = (engine(model(asks)), Spawner::new(1, LONG).unwrap(), ada());
    let slot = slot(&spawner);
    let turn = Turn { agent: &agent, slot: &slot, store: &fixture.store, watch: &Nobody };
    let ended = turn.ask(&engine, &mut fixture.claim("ada"), &with(tools)).unwrap_err();
    assert_eq!(ended.to_string(), "the user ended it: not on my disk");
    assert_eq!(fixture.statuses(), [TaskStatus::Failed, TaskStatus::Skipped]);
    assert_eq!(fixture.document("note"), None);
    let [changeset] = &fixture.store.changesets(fixture.plan).unwrap()[..] else { panic!("one") };
    assert_eq!((changeset.tool_calls.len(), changeset.changes.len()), (3, 0), "what led to it");
}

/// Takes the claim away at the first word.
struct Impatient<'a>(&'a AgentSlot);

impl Watch for Impatient<'_> {
    fn see(&self, _agent: &Agent, happening: &Happening<'_>) {
        if matches!(happening, Happening::Said(_)) {
            self.0.cancel().cancel(CancelReason::LeaseLost);
        }
    }
}

#[test]
fn what_ends_a_turn_early_leaves_the_task_to_the_next() {
    let endless = |_: &str, _| "on and on ".repeat(1_000);
    let silent = |_: &str, _| "Hm.".to_owned();
    let broken = model(silent).fail_decode(DecodeTrigger::RowsAbove(0), DecodeFault::Failed);
    let many = Manner { max_tokens: 5_000, ..Manner::default() };
    let few = Manner { rounds: 2, ..Manner::default() };
    let no_time = Manner { time_limit: Duration::ZERO, ..many.clone() };
    for (engine, manner, impatient, words) in [
        (engine(model(endless)), many, true, "its claim was taken back"),
        (engine(model(endless)), no_time, false, "its time is over"),
        (engine(model(silent)), few, false, "after 2 rounds"),
        (engine(broken), Manner::default(), false, "the request failed"),
    ] {
        let fixture = Fixture::new(&[NewTask::new("t", "x")]);
        let (spawner, agent) = (Spawner::new(1, LONG).unwrap(), ada());
        let slot = slot(&spawner);
        let watch: &dyn Watch = if impatient { &Impatient(&slot) } else { &Nobody };
        let turn = Turn { agent: &agent, slot: &slot, store: &fixture.store, watch };
        let ended = turn.ask(&engine, &mut fixture.claim("ada"), &manner).unwrap_err();
        assert!(ended.to_string().contains(words), "{ended}");
        assert!(!ended.is_final());
        assert_eq!(fixture.statuses(), [TaskStatus::Pending], "{words}");
        drop(slot);
        assert_nothing_held(&engine, &spawner);
    }
}

#[test]
fn a_prompt_that_can_never_fit_ends_the_task_at_once() {
    let fixture = Fixture::new(&[NewTask::new("t", "long ".repeat(5_000))]);
    let (engine, spawner, agent) =
        (engine(model(writes_a_note)), Spawner::new(1, LONG).unwrap(), ada());
    let slot = slot(&spawner);
    let turn = Turn { agent: &agent, slot: &slot, store: &fixture.store, watch: &Nobody };
    let refused = turn.ask(&engine, &mut fixture.claim("ada"), &Manner::default()).unwrap_err();
    assert!(refused.is_final(), "{refused}");
    assert_eq!(fixture.statuses(), [TaskStatus::Failed]);
    assert!(fixture.tasks()[0].outcome.as_ref().unwrap().contains("shorten the prompt"));
}

#[test]
fn a_step_that_cannot_be_taken_ends_the_task_at_once() {
    let fixture = Fixture::new(&[NewTask::new("t", "x")]);
    let (engine, spawner, agent) =
        (engine(model(writes_a_note)), Spawner::new(1, LONG).unwrap(), ada());
    let slot = slot(&spawner);
    let turn = Turn { agent: &agent, slot: &slot, store: &fixture.store, watch: &Nobody };
    let guide = Guide::Steps(vec![vec!["fly to the moon".to_owned()]]);
    let manner = Manner { guide, ..Manner::default() };
    let refused = turn.ask(&engine, &mut fixture.claim("ada"), &manner).unwrap_err();
    assert!(matches!(refused, TurnError::Step(StepError::Tool { step: 1, .. })), "{refused}");
    assert_eq!(fixture.statuses(), [TaskStatus::Failed]);
    drop(slot);
    assert_nothing_held(&engine, &spawner);
}

/// Blocks for one request: the second turn waits for the first, and both end.
#[test]
fn a_turn_waits_for_blocks_that_others_have() {
    let says = |_: &str, _| "TASK_COMPLETE ok".to_owned();
    let blocks = {
        let engine = engine(model(says));
        engine.model().spec().blocks_for(2_000) as u32
    };
    let config = crate::engine::EngineConfig::default().blocks(blocks);
    let engine = Engine::start(model(says).build(), config).unwrap();
    let fixture = Fixture::new(&[NewTask::new("a", "x"), NewTask::new("b", "x")]);
    let spawner = Spawner::new(2, LONG).unwrap();
    let manner = Manner { max_tokens: 800, ..Manner::default() };
    std::thread::scope(|scope| {
        for name in ["ada", "ben"] {
            let (engine, fixture, spawner, manner) = (&engine, &fixture, &spawner, &manner);
            scope.spawn(move || {
                let agent = Agent::new(name, "any").unwrap();
                let slot = slot(spawner);
                let turn =
                    Turn { agent: &agent, slot: &slot, store: &fixture.store, watch: &Nobody };
                turn.ask(engine, &mut fixture.claim(name), manner).unwrap();
            });
        }
    });
    assert_eq!(fixture.statuses(), [TaskStatus::Completed; 2]);
    assert_nothing_held(&engine, &spawner);
}

#[cfg(unix)]
mod programs {
    use super::*;

    fn run(script: &str, limit: Duration) -> (Fixture, Result<Done, TurnError>) {
        let fixture = Fixture::new(&[NewTask::new("t", "the task itself")]);
        let (spawner, agent) = (Spawner::new(1, LONG).unwrap(), ada());
        let slot = slot(&spawner);
        let turn = Turn { agent: &agent, slot: &slot, store: &fixture.store, watch: &Nobody };
        let mut program = Program::new("sh").arg("-c").arg(script);
        program.time_limit = limit;
        let done = turn.run(&mut fixture.claim("ada"), &program);
        drop(slot);
        assert_eq!(spawner.running(), 0);
        (fixture, done)
    }

    #[test]
    fn a_program_does_a_task() {
        let (fixture, done) = run("echo \"$LATCHLESS_TASK $LATCHLESS_ATTEMPT\"; cat", LONG);
        assert_eq!(done.unwrap().result, "t 1\nthe task itself");
        assert_eq!(fixture.statuses(), [TaskStatus::Completed]);
    }

    #[test]
    fn a_program_that_fails_says_why_and_one_that_hangs_is_killed() {
        let (fixture, failed) = run("echo half; echo 'no disk' >&2; exit 4", LONG);
        let said = failed.unwrap_err().to_string();
        assert!(said.contains('4') && said.ends_with("no disk"), "{said}");
        assert_eq!(fixture.statuses(), [TaskStatus::Pending]);
        let (fixture, hung) = run("sleep 1000", Duration::from_millis(1));
        let hung = hung.unwrap_err();
        assert!(hung.to_string().contains("its time is over") && !hung.is_interruption());
        assert_eq!(fixture.statuses(), [TaskStatus::Pending]);
    }
}
