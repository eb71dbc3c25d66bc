//! What hosts, disks and other processes do to a store that nobody should.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::process::{Command, Stdio};

use super::*;

/// Tells a copy of this program which database to work on, and what as.
const ROLE: &str = "LATCHLESS_STORE_TEST";

/// The test `name` of this file in another process, with a role.
fn again(command: impl AsRef<OsStr>, arguments: &[&OsStr], name: &str, role: &Path) -> Command {
    let mut command = Command::new(command);
    command
        .args(arguments)
        .arg("--exact")
        .arg(format!("{}::{name}", module_path!().split_once("::").unwrap().1));
    command.arg("--nocapture").env(ROLE, role).stdin(Stdio::null());
    command
}

#[test]
fn what_cannot_be_a_database_is_told_apart() {
    let fixture = Fixture::new();
    let open = |path: &Path| SqliteStore::open(path, fixture.options()).unwrap_err();
    let folder = fixture.folder.path();
    for nowhere in [folder.to_owned(), folder.join("none").join("agents.db")] {
        let error = open(&nowhere);
        assert!(matches!(error, StoreError::CannotOpen { .. }), "{error}");
        assert!(error.to_string().contains("a folder that exists"), "{error}");
    }
    fs::write(fixture.path(), "hello").unwrap();
    assert!(matches!(open(&fixture.path()), StoreError::NotADatabase { .. }));
    assert_eq!(fs::read(fixture.path()).unwrap(), b"hello");
    let error = open(Path::new(":memory:"));
    assert!(error.to_string().contains("no write-ahead log"), "{error}");
}

/// Nothing is read from it or written to it.
#[cfg(unix)]
#[test]
fn a_pipe_is_no_database() {
    let fixture = Fixture::new();
    let made = Command::new("mkfifo").arg(fixture.path()).status().unwrap();
    assert!(made.success());
    let refused = SqliteStore::open(fixture.path(), fixture.options()).unwrap_err();
    assert!(
        matches!(refused, StoreError::Database { .. } | StoreError::CannotOpen { .. }),
        "{refused}"
    );
}

#[test]
fn a_database_that_was_cut_off_is_damaged() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.create_plan("p", &independent(500), Durable).unwrap();
    drop(store);
    let file = File::options().write(true).open(fixture.path()).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let damaged = SqliteStore::open(fixture.path(), fixture.options()).and_then(|store| {
        store.verify()?;
        store.plans().map(drop)
    });
    let damaged = damaged.unwrap_err();
    assert!(matches!(damaged, StoreError::Damaged { .. }), "{damaged}");
    assert!(damaged.to_string().contains("restore a copy"), "{damaged}");
}

/// No time is too long to be waited for.
#[test]
fn times_without_end_are_times() {
    let fixture = Fixture::new();
    let options = StoreOptions { patience: Duration::MAX, ..fixture.options() };
    let store = SqliteStore::open(fixture.path(), options).unwrap();
    let seen = store.work_seen().unwrap();
    store.create_plan("p", &independent(2), Durable).unwrap();
    assert!(store.wait_for_work(seen, Duration::MAX).unwrap());
    let claim = store.claim("a", "any", Duration::MAX, Durable).unwrap().unwrap();
    assert_eq!(claim.lease_until_ms, i64::MAX as u64);
    fixture.set_clock(u64::MAX);
    assert_eq!(store.renew(&claim, Duration::MAX, Durable).unwrap(), i64::MAX as u64);
    store.start(&claim, Durable).unwrap();
    store.complete(&claim, "x", Durable).unwrap();
}

/// Case 29 among processes, which unlike threads do not share SQLite's view of the file's locks: all tasks are
/// claimed, each once.
#[test]
fn two_processes_claim_every_task_once() {
    if let Some(path) = env::var_os(ROLE) {
        let store = SqliteStore::open(PathBuf::from(path), StoreOptions::default()).unwrap();
        let agent = std::process::id().to_string();
        // Both begin when both are there; or alone, should there be no other.
        store.add_output("started", None, &agent, Durable).unwrap();
        let both = |_: &usize| store.outputs("started", 9).unwrap().len() == 2;
        let _looks = (0..100_000).find(both);
        while let Some(claim) = claim(&store, &agent) {
            store.start(&claim, Relaxed).unwrap();
            store.complete(&claim, "x", Relaxed).unwrap();
        }
        return;
    }
    let fixture = Fixture::new();
    let store = SqliteStore::open(fixture.path(), StoreOptions::default()).unwrap();
    let plan = store.create_plan("p", &independent(200), Durable).unwrap();
    let exe = env::current_exe().unwrap();
    let start = || {
        let mut child = again(&exe, &[], "two_processes_claim_every_task_once", &fixture.path());
        child.stdout(Stdio::null()).spawn().unwrap()
    };
    let children = [start(), start()];
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let tasks = store.tasks(plan).unwrap();
    assert!(tasks.iter().all(|task| task.status == TaskStatus::Completed && task.attempt == 1));
    let agents: std::collections::HashSet<_> = tasks.iter().map(|task| &task.agent).collect();
    assert!((1..=2).contains(&agents.len()), "{agents:?}");
    store.verify().unwrap();
}

/// A disk of a megabyte, with a ballast that is taken away: what does not fit is refused, what was there is
/// there, and with room it goes on.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_really_full_loses_nothing() {
    const NAME: &str = "a_disk_that_is_really_full_loses_nothing";
    if let Some(folder) = env::var_os(ROLE) {
        return fill(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    // The disk is there for this child only, and goes with it. Without the right to have one there is no test.
    let script =
        "mount -t tmpfs -o size=1m none \"$LATCHLESS_STORE_TEST\" || exit 77; exec \"$0\" \"$@\"";
    let exe = env::current_exe().unwrap();
    let inside = ["--user", "--map-root-user", "--mount", "sh", "-c", script].map(OsStr::new);
    let arguments = [&inside[..], &[exe.as_os_str()]].concat();
    let mut child = again("unshare", &arguments, NAME, folder.path());
    let Ok(done) = child.output() else { return eprintln!("left out: no unshare") };
    let [heard, said] = [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text));
    if done.status.code() == Some(77) || said.starts_with("unshare:") {
        return eprintln!("left out: no disk of our own: {said}");
    }
    assert!(done.status.success() && heard.contains("1 passed"), "{heard}{said}");
}

#[cfg(target_os = "linux")]
fn fill(folder: &Path) {
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![1; 300_000]).unwrap();
    let store = SqliteStore::open(folder.join("agents.db"), StoreOptions::default()).unwrap();
    let plan = store.create_plan("p", &independent(5), Durable).unwrap();
    let put = |number: usize| {
        let (key, content) = (number.to_string(), vec![7; 20_000]);
        store.put_document(&Scope::Shared, &key, &content, Expect::Absent, Durable)
    };
    let mut stored = 0;
    let refused = loop {
        match put(stored) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert!((1..40).contains(&stored), "{stored} stored");
    let refused = put(stored).unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "again: {refused}");
    let all_there = |count: usize| {
        for number in 0..count {
            let found = store.document(&Scope::Shared, &number.to_string()).unwrap().unwrap();
            assert!(found.content == vec![7; 20_000], "{number}");
        }
        assert_eq!(store.documents(&Scope::Shared).unwrap().len(), count);
    };
    all_there(stored);
    assert_eq!(store.tasks(plan).unwrap().len(), 5);

    fs::remove_file(&ballast).unwrap();
    put(stored).unwrap();
    all_there(stored + 1);
    let first = claim(&store, "a").unwrap();
    store.start(&first, Durable).unwrap();
    store.complete(&first, "done", Durable).unwrap();
    drop(store);
    SqliteStore::open(folder.join("agents.db"), StoreOptions::default()).unwrap().verify().unwrap();
}
