//! Case 36, call by call. What is to happen at the same time meets at a barrier; what is not to happen is
//! seen in a log.

use std::sync::{Barrier, Mutex};

use super::super::scripted::Scripted;
use super::*;
use crate::store::Durability::Durable;
use crate::store::{NewTask, SqliteStore, Store, StoreOptions};

struct Fixture {
    documents: Documents,
    cancel: Cancel,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agents.db");
        let store = SqliteStore::open(path, StoreOptions::default()).unwrap();
        store.create_plan("p", &[NewTask::new("t", "x")], Durable).unwrap();
        let claim = store.claim("a", "any", Duration::from_mins(1), Durable).unwrap().unwrap();
        let documents = Documents::new(Arc::new(store), &claim, "a");
        Self { documents, cancel: Cancel::new(), _folder: folder }
    }

    /// Results as text, failures with an exclamation mark.
    fn run(&mut self, tools: &Toolbox, calls: &[(&str, &str)]) -> Vec<String> {
        let asked = |(tool, argument): &(&str, &str)| Asked {
            tool: (*tool).to_owned(),
            argument: (*argument).to_owned(),
        };
        let running = Running { tools, cancel: &self.cancel, alive: &|| {} };
        let ended = run(calls.iter().map(asked).collect(), &running, &mut self.documents);
        let names: Vec<_> = ended.iter().map(|it| &*it.asked.tool).collect();
        assert_eq!(names, calls.iter().map(|(tool, _)| *tool).collect::<Vec<_>>());
        let shown = |it: Ended| it.result.unwrap_or_else(|error| format!("! {error}"));
        ended.into_iter().map(shown).collect()
    }
}

#[test]
fn case_36_reading_calls_run_at_the_same_time_and_a_writing_one_alone() {
    let barrier = Arc::new(Barrier::new(3));
    let log = Arc::new(Mutex::new(Vec::new()));
    let note = {
        let log = Arc::clone(&log);
        move |what: String| log.lock().unwrap().push(what)
    };
    let (meet, noted) = (Arc::clone(&barrier), note.clone());
    let look = move |call: &mut Call| {
        // Nobody passes before three are here: they run at the same time, or never.
        meet.wait();
        noted(format!("looked {}", call.argument()));
        let log = call.read("log")?;
        Ok(format!("{}: {log:?}", call.argument()))
    };
    let add = move |call: &mut Call| {
        note(format!("added {}", call.argument()));
        let more = call.argument().as_bytes().to_vec();
        call.documents()?.append("log", more)?;
        Ok("added".to_owned())
    };
    let tools = Toolbox::new().with(Scripted::reading("look", look)).unwrap();
    let tools = tools.with(Scripted::writing("add", add)).unwrap();
    let calls = [("look", "1"), ("look", "2"), ("look", "3"), ("add", "a"), ("add", "b")];
    let calls = [&calls[..], &[("look", "4"), ("look", "5"), ("look", "6")]].concat();
    let mut fixture = Fixture::new();
    let results = fixture.run(&tools, &calls);
    assert_eq!(
        results,
        [
            "1: None",
            "2: None",
            "3: None",
            "added",
            "added",
            "4: Some(\"ab\")",
            "5: Some(\"ab\")",
            "6: Some(\"ab\")"
        ]
    );
    let log = log.lock().unwrap();
    assert!(log[..3].iter().all(|it| it.starts_with("looked")), "{log:?}");
    assert_eq!(log[3..5], ["added a", "added b"]);
}

#[test]
fn case_36_a_failure_is_a_value_and_writes_nothing() {
    let broken = |call: &mut Call| {
        call.documents()?.write("half", b"written".into())?;
        match call.argument() {
            "panic" => panic!("out of ideas"),
            _ => Err(ToolError::Failed("no".into())),
        }
    };
    let sly = |call: &mut Call| Ok(format!("{:?}", call.documents().is_ok()));
    let wordy = |_: &mut Call| Ok("x".repeat(ANSWER_CHARACTERS + 1));
    let tools = Toolbox::documents()
        .with(Scripted::writing("broken", broken))
        .and_then(|tools| tools.with(Scripted::reading("sly", sly)))
        .and_then(|tools| tools.with(Scripted::reading("wordy", wordy)))
        .unwrap();
    let calls = [
        ("broken", "panic"),
        ("broken", "fail"),
        ("shell", "rm"),
        ("write", "no colon"),
        ("write", "../x: y"),
        ("sly", ""),
        ("wordy", ""),
        ("write", "a: b"),
        ("list", ""),
        ("read", "half"),
    ];
    let results = Fixture::new().run(&tools, &calls);
    assert_eq!(results[0], "! the tool panicked: out of ideas");
    assert_eq!(results[1], "! no");
    assert!(results[2].starts_with("! there is no tool \"shell\"; there are list, read,"));
    assert!(results[3].contains("a colon is missing") && results[3].contains("CALL write NAME"));
    assert!(results[4].starts_with("! document"), "{}", results[4]);
    assert_eq!(results[5], "false", "a tool that only reads cannot write");
    assert!(results[6].contains("100000 characters"));
    assert_eq!(results[7..], ["a is written", "a", "! there is no document \"half\""]);
}

#[test]
fn case_36_only_the_user_ends_it_and_then_no_call_begins() {
    let ask = |_: &mut Call| Err(ToolError::Aborted("not that".into()));
    let tools = Toolbox::documents().with(Scripted::writing("ask", ask)).unwrap();
    let mut fixture = Fixture::new();
    let results = fixture.run(&tools, &[("write", "a: b"), ("ask", ""), ("write", "c: d")]);
    assert_eq!(results[..2], ["a is written", "! the user ended it: not that"]);
    assert!(results[2].starts_with("! it was given up"));
    assert_eq!(fixture.documents.list().unwrap(), ["a"]);
}

/// The call comes back long after it was given up: what it wrote by then is not there.
#[test]
fn a_call_that_takes_too_long_is_left_alone_with_what_it_writes() {
    let slow = |call: &mut Call| {
        let (sender, receiver) = mpsc::channel();
        let _told = call.cancel().on_cancel(move |reason| sender.send(reason).unwrap());
        assert_eq!(receiver.recv().unwrap(), CancelReason::Over);
        call.documents()?.write("late", b"x".into())?;
        Ok("done".to_owned())
    };
    let slow = Scripted::writing("slow", slow).within(Duration::from_millis(1));
    let tools = Toolbox::documents().with(slow).unwrap();
    let mut fixture = Fixture::new();
    let results = fixture.run(&tools, &[("slow", ""), ("list", "")]);
    assert!(results[0].starts_with("! it took longer than 1 ms"), "{results:?}");
    assert_eq!(results[1], "no documents");
}

#[test]
fn a_turn_that_is_cancelled_waits_for_no_tool() {
    let (sender, begun) = mpsc::channel();
    let endless = move |call: &mut Call| {
        sender.send(()).unwrap();
        let (sender, told) = mpsc::channel();
        let _told = call.cancel().on_cancel(move |reason| sender.send(reason).unwrap());
        Err(ToolError::Cancelled(told.recv().unwrap()))
    };
    let tools = Toolbox::documents().with(Scripted::reading("endless", endless)).unwrap();
    let mut fixture = Fixture::new();
    let cancel = fixture.cancel.clone();
    let user = thread::spawn(move || {
        begun.recv().unwrap();
        cancel.cancel(CancelReason::LeaseLost);
    });
    let results = fixture.run(&tools, &[("endless", ""), ("write", "a: b")]);
    user.join().unwrap();
    assert_eq!(results, ["! it was given up: its claim was taken back"; 2]);
    assert_eq!(fixture.documents.edits(), []);
}

/// A tool's limit follows its calls, whichever agent's toolbox they come through, and doubles when it was too
/// short.
#[test]
fn limits_follow_what_calls_take() {
    let it = |call: &mut Call| {
        if call.argument() == "at once" {
            return Ok("done".to_owned());
        }
        let (sender, told) = mpsc::channel();
        let _told = call.cancel().on_cancel(move |reason| sender.send(reason).unwrap());
        Err(ToolError::Cancelled(told.recv().unwrap()))
    };
    let (least, longest) = (Duration::from_millis(1), Duration::from_hours(1));
    let it = Scripted::reading("it", it).within(longest).least(least);
    let tools = Toolbox::documents().with(it).unwrap();
    let other = tools.only(["it"]).unwrap();
    assert_eq!(other.time_limit("it"), Some(longest), "nothing is known");
    let mut fixture = Fixture::new();
    assert_eq!(fixture.run(&tools, &[("it", "at once")]), ["done"]);
    for _ in 0..20 {
        // A machine that is busy may give some of them up: their limit is short.
        fixture.run(&tools, &[("it", "at once")]);
    }
    let followed = other.time_limit("it").unwrap();
    assert!(followed >= least && followed < longest, "{followed:?}");
    let results = fixture.run(&other, &[("it", "never")]);
    assert!(results[0].starts_with("! it took longer than"), "{results:?}");
    assert_eq!(tools.time_limit("it"), Some(followed * 2));
    assert_eq!(tools.time_limit("nobody"), None);
}
