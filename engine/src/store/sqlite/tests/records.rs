//! Changesets, outputs, documents, and their limits.

use super::super::super::{DocumentEdit, Edit};
use super::*;

fn change(target: &str) -> Change {
    Change { kind: "edit".into(), target: target.into(), body: "x".into() }
}

/// Case 35.
#[test]
fn recording_needs_a_changeset_and_an_empty_one_survives() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let plan = store.create_plan("p", &[], Durable).unwrap();
    let call = ToolCall { tool: "read".into(), arguments: "{}".into(), result: Err("no".into()) };
    for early in [
        store.record_changes(plan, &[change("a")], Durable),
        store.record_tool_call(plan, &call, Durable),
        store.seal_changeset(plan, Durable),
    ] {
        assert!(matches!(early, Err(StoreError::NoChangeset(_))), "{early:?}");
    }
    let unknown = store.start_changeset(PlanId(77), "x", Durable);
    assert!(matches!(unknown, Err(StoreError::UnknownPlan(PlanId(77)))));
    let first = store.start_changeset(plan, "first", Relaxed).unwrap();
    assert_eq!(store.record_changes(plan, &[change("a"), change("b")], Relaxed).unwrap(), first);
    let second = store.start_changeset(plan, "second", Relaxed).unwrap();
    assert_eq!(store.record_tool_call(plan, &call, Relaxed).unwrap(), second);
    store.seal_changeset(plan, Durable).unwrap();
    let sealed = store.record_changes(plan, &[change("late")], Durable);
    assert!(matches!(sealed, Err(StoreError::NoChangeset(_))));
    store.start_changeset(plan, "empty", Durable).unwrap();
    drop(store);

    let found = fixture.open().changesets(plan).unwrap();
    let shown: Vec<_> = found
        .iter()
        .map(|set| (set.title.as_str(), set.sealed, set.changes.len(), set.tool_calls.len()))
        .collect();
    assert_eq!(shown, [("first", false, 2, 0), ("second", true, 0, 1), ("empty", false, 0, 0)]);
    assert_eq!(found[0].changes[1], change("b"));
    assert_eq!(found[1].tool_calls[0], call);
}

/// Row 9: what an agent puts out is bounded.
#[test]
fn the_oldest_outputs_go() {
    let fixture = Fixture::new();
    let options = StoreOptions { outputs_per_agent: 3, ..fixture.options() };
    let store = SqliteStore::open(fixture.path(), options).unwrap();
    for number in 0..5 {
        store.add_output("a", Some(TaskId(number)), &number.to_string(), Relaxed).unwrap();
    }
    store.add_output("b", None, "other", Durable).unwrap();
    let texts = |agent, newest| -> Vec<String> {
        store.outputs(agent, newest).unwrap().into_iter().map(|output| output.text).collect()
    };
    assert_eq!(texts("a", 9), ["2", "3", "4"]);
    assert_eq!(texts("a", 2), ["3", "4"]);
    assert_eq!(texts("b", usize::MAX), ["other"]);
    assert_eq!(store.outputs("a", 1).unwrap()[0].task, Some(TaskId(4)));
    assert_eq!(store.stats().outputs_dropped, 2);
}

#[test]
fn documents_are_versioned_and_apart_by_scope() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let scopes = [Scope::Shared, Scope::Task(TaskId(1)), Scope::Agent("task:1".into())];
    for scope in &scopes {
        let put = |content: &[u8], expect| store.put_document(scope, "k", content, expect, Durable);
        assert_eq!(put(b"one", Expect::Absent).unwrap(), 1);
        assert_eq!(put(b"two", Expect::Version(1)).unwrap(), 2);
        for stale in [Expect::Version(1), Expect::Absent, Expect::Version(3)] {
            let refused = put(b"three", stale).unwrap_err();
            assert!(matches!(refused, StoreError::Version { found: 2, .. }), "{refused}");
        }
        assert_eq!(put(b"", Expect::Anything).unwrap(), 3);
        let found = store.document(scope, "k").unwrap().unwrap();
        assert_eq!((found.version, found.content), (3, vec![]));
        assert!(store.remove_document(scope, "k", Durable).unwrap());
        assert!(!store.remove_document(scope, "k", Durable).unwrap());
        assert_eq!(store.document(scope, "k").unwrap(), None);
        assert_eq!(put(b"again", Expect::Absent).unwrap(), 4, "no version comes twice");
        assert_eq!(store.documents(scope).unwrap(), [("k".to_owned(), 4)]);
    }
    assert_eq!(store.documents(&Scope::Agent("b".into())).unwrap(), []);
}

/// Case 34: nothing is written.
#[test]
fn what_is_too_large_or_hostile_is_refused() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let plan = store.create_plan("p", &[], Durable).unwrap();
    store.start_changeset(plan, "x", Durable).unwrap();
    let huge = "x".repeat(limits::OUTPUT_CHARACTERS + 1);
    let large = vec![0; limits::DOCUMENT_BYTES + 1];
    let too_large = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError::TooLarge { .. })), "{outcome:?}");
    };
    too_large(store.add_output("a", None, &huge, Durable));
    too_large(store.put_document(&Scope::Shared, "k", &large, Expect::Anything, Durable).map(drop));
    let big = Change { body: huge.clone(), ..change("a") };
    too_large(store.record_changes(plan, &[change("b"), big], Durable).map(drop));
    too_large(store.create_plan("p", &[NewTask::new("a", huge)], Durable).map(drop));
    for name in ["", "..", "a/b", "a\\b", "a\0b", &"x".repeat(101)] {
        let agent = Scope::Agent(name.into());
        for outcome in [
            store.put_document(&Scope::Shared, name, b"", Expect::Anything, Durable).map(drop),
            store.put_document(&agent, "k", b"", Expect::Anything, Durable).map(drop),
            store.add_output(name, None, "x", Durable),
            store.claim(name, "any", LEASE, Durable).map(drop),
            store.claim("a", name, LEASE, Durable).map(drop),
            store.create_plan(name, &[], Durable).map(drop),
            store.create_plan("p", &[NewTask::new(name, "x")], Durable).map(drop),
        ] {
            assert!(matches!(outcome, Err(StoreError::Name { .. })), "{name:?}: {outcome:?}");
        }
    }
    assert_eq!((store.plans().unwrap().len(), store.stats().writes), (1, 2));
    assert_eq!(store.documents(&Scope::Shared).unwrap(), []);
    assert_eq!(store.changesets(plan).unwrap()[0].changes, []);
}

fn append(key: &str, text: &str) -> DocumentEdit {
    DocumentEdit { scope: Scope::Shared, key: key.into(), edit: Edit::Append(text.into()) }
}

/// A turn's effects are there whole and once, or not at all.
#[test]
fn a_turn_ends_with_all_that_it_leaves_behind_or_with_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let plan = store.create_plan("p", &independent(3), Durable).unwrap();
    let finish = Finish {
        title: "a turn".into(),
        changes: vec![Change { kind: "edit".into(), target: "log".into(), body: "+".into() }],
        tool_calls: vec![ToolCall {
            tool: "append".into(),
            arguments: "log".into(),
            result: Err("once it failed".into()),
        }],
        documents: vec![append("log", "one "), append("log", "two ")],
        output: Some("done".into()),
        ..Finish::new(Ok("well".into()))
    };

    let late = claim(&store, "late").unwrap();
    store.start(&late, Durable).unwrap();
    store.take_back(Some("late"), Durable).unwrap();
    let refused = store.finish(&late, &finish, Durable).unwrap_err();
    assert!(matches!(refused, StoreError::StaleClaim { .. }), "{refused}");

    let first = claim(&store, "a").unwrap();
    let early = store.finish(&first, &finish, Durable).unwrap_err();
    assert!(matches!(early, StoreError::Status { .. }), "{early}");
    store.start(&first, Durable).unwrap();
    let expects = DocumentEdit {
        scope: Scope::Plan(plan),
        key: "log".into(),
        edit: Edit::Put { content: b"x".into(), expect: Expect::Version(7) },
    };
    let conflict = Finish { documents: vec![append("log", "torn "), expects], ..finish.clone() };
    let refused = store.finish(&first, &conflict, Durable).unwrap_err();
    assert!(matches!(refused, StoreError::Version { found: 0, .. }), "{refused}");
    let hostile = Finish { documents: vec![append("../log", "x")], ..finish.clone() };
    assert!(matches!(store.finish(&first, &hostile, Durable), Err(StoreError::Name { .. })));
    assert_eq!(store.changesets(plan).unwrap(), [], "nothing of what was refused is there");
    assert_eq!(store.document(&Scope::Shared, "log").unwrap(), None);

    let changeset = store.finish(&first, &finish, Durable).unwrap();
    assert!(store.finish(&first, &finish, Durable).is_err(), "once");
    let [found] = &store.changesets(plan).unwrap()[..] else { panic!("one changeset") };
    assert_eq!((found.id, found.sealed, &found.changes), (changeset, true, &finish.changes));
    assert_eq!(found.tool_calls, finish.tool_calls);
    let log = store.document(&Scope::Shared, "log").unwrap().unwrap();
    assert_eq!((log.version, &*log.content), (2, &b"one two "[..]));
    assert_eq!(store.outputs("a", 9).unwrap().len(), 1);

    let second = claim(&store, "a").unwrap();
    store.start(&second, Durable).unwrap();
    let failed = Finish { output: None, ..Finish::new(Err("no".into())) };
    store.finish(&second, &failed, Durable).unwrap();
    let counts = store.task_counts(Some(plan)).unwrap();
    assert_eq!((counts.completed, counts.failed, counts.pending), (1, 1, 1));
}

/// What has no room for one more byte is not cut off.
#[test]
fn case_34_a_document_that_would_grow_too_large_is_not_touched() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.create_plan("p", &independent(1), Durable).unwrap();
    let most = vec![b'x'; crate::store::DOCUMENT_BYTES];
    store.put_document(&Scope::Shared, "log", &most, Expect::Absent, Durable).unwrap();
    let claim = claim(&store, "a").unwrap();
    store.start(&claim, Durable).unwrap();
    let finish = Finish { documents: vec![append("log", "x")], ..Finish::new(Ok(String::new())) };
    let refused = store.finish(&claim, &finish, Durable).unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    assert_eq!(store.document(&Scope::Shared, "log").unwrap().unwrap().version, 1);
}
