//! The file: whose it is, which schema it has, and what happens when it cannot be written.

use std::fs;

use rusqlite::OpenFlags;

use super::*;

/// A database that took only the first steps.
fn older(path: &Path, steps: usize) {
    let connection = Connection::open(path).unwrap();
    for step in &schema::STEPS[..steps] {
        connection.execute_batch(step).unwrap();
    }
    connection.pragma_update(None, "application_id", 0x4C54_4348).unwrap();
    connection.pragma_update(None, "user_version", steps as u32).unwrap();
}

#[test]
fn older_schemas_are_brought_up_to_date() {
    for steps in 1..schema::STEPS.len() {
        let fixture = Fixture::new();
        older(&fixture.path(), steps);
        Connection::open(fixture.path())
            .unwrap()
            .execute_batch(
                "INSERT INTO plans (name) VALUES ('old');
                 INSERT INTO tasks (plan, key, description, agent_type, priority, waiting)
                 VALUES (1, 'k', 'd', 'any', 1, 0)",
            )
            .unwrap();
        let store = fixture.open();
        assert_eq!(store.plans().unwrap()[0].name, "old");
        assert_eq!(claim(&store, "a").unwrap().key, "k");
        store.put_document(&Scope::Shared, "k", b"x", Expect::Absent, Durable).unwrap();
        store.start_changeset(PlanId(1), "x", Durable).unwrap();
        store.verify().unwrap();
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let fixture = Fixture::new();
    older(&fixture.path(), 1);
    let newer = schema::STEPS.len() as u32 + 1;
    let connection = Connection::open(fixture.path()).unwrap();
    connection.pragma_update(None, "user_version", newer).unwrap();
    drop(connection);
    let before = fs::read(fixture.path()).unwrap();
    let refused = SqliteStore::open(fixture.path(), fixture.options()).unwrap_err();
    let StoreError::NewerSchema { found, known, .. } = refused else { panic!("{refused}") };
    assert_eq!((found, known), (newer, newer - 1));
    assert_eq!(fs::read(fixture.path()).unwrap(), before);
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let fixture = Fixture::new();
    let open = || SqliteStore::open(fixture.path(), fixture.options()).unwrap_err();
    fs::write(fixture.path(), "no database, but long enough to be one".repeat(200)).unwrap();
    let before = fs::read(fixture.path()).unwrap();
    assert!(matches!(open(), StoreError::NotADatabase { .. }));
    assert_eq!(fs::read(fixture.path()).unwrap(), before);

    fs::remove_file(fixture.path()).unwrap();
    Connection::open(fixture.path()).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let before = fs::read(fixture.path()).unwrap();
    assert!(matches!(open(), StoreError::Foreign { .. }));
    assert_eq!(fs::read(fixture.path()).unwrap(), before);

    let nowhere = fixture.folder.path().join("none").join("agents.db");
    assert!(SqliteStore::open(nowhere, fixture.options()).is_err());
    fs::write(fixture.path(), b"").unwrap();
    SqliteStore::open(fixture.path(), fixture.options()).unwrap();
}

#[test]
fn a_read_only_database_is_told() {
    let fixture = Fixture::new();
    drop(fixture.open());
    let reader =
        Connection::open_with_flags(fixture.path(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let error = reader.execute("DELETE FROM plans", []).unwrap_err();
    let error = Failures::new(&fixture.path()).of(&error);
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains("writable"), "{error}");
}

/// Nothing that was stored is lost, what does not fit is refused, and room makes it go on.
#[test]
fn a_full_disk_refuses_and_recovers() {
    let fixture = Fixture::new();
    let options = StoreOptions { max_bytes: Some(300_000), ..fixture.options() };
    let store = SqliteStore::open(fixture.path(), options).unwrap();
    let put = |key: &str| {
        store.put_document(&Scope::Shared, key, &vec![7; 50_000], Expect::Absent, Durable)
    };
    let mut stored = 0;
    let refused = loop {
        match put(&stored.to_string()) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert!((2..6).contains(&stored), "{stored} stored");
    assert_eq!(store.documents(&Scope::Shared).unwrap().len(), stored);
    store.remove_document(&Scope::Shared, "0", Durable).unwrap();
    put("again").unwrap();
    store.verify().unwrap();
    assert_eq!(store.stats().rolled_back, 1);
}

/// A process that keeps the database: writers are told after their patience, readers go on.
#[test]
fn a_database_that_is_kept_busy_is_told() {
    let fixture = Fixture::new();
    let patience = Duration::from_millis(20);
    let options = StoreOptions { patience, ..fixture.options() };
    let store = SqliteStore::open(fixture.path(), options).unwrap();
    let mut other = Connection::open(fixture.path()).unwrap();
    let kept = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let refused = store.create_plan("p", &[], Durable).unwrap_err();
    assert!(matches!(refused, StoreError::Busy { waited_ms: 20, .. }), "{refused}");
    assert_eq!(store.plans().unwrap(), []);
    let stats = store.stats();
    assert_eq!((stats.busy.waits, stats.busy.expired, stats.rolled_back), (1, 1, 1));
    assert!(stats.busy.looks > 0 && stats.busy.longest >= patience, "{stats:?}");
    assert_eq!((stats.busy.waited, stats.busy.limit), (stats.busy.longest, patience));
    drop(kept);
    store.create_plan("p", &[], Durable).unwrap();
    let after = store.stats();
    assert_eq!((after.busy, after.rolled_back), (stats.busy, 1), "nobody was in the way");
    assert!(after.write_longest >= patience && after.write_waited > after.write_longest);
}

/// Another process keeps the database until this one waits for it, and then lets it go: the wait ends well, and
/// the limit follows it.
#[test]
fn a_wait_for_another_process_is_measured() {
    let fixture = Fixture::new();
    let patience = Duration::from_mins(1);
    let options = StoreOptions { patience, ..fixture.options() };
    let store = &SqliteStore::open(fixture.path(), options).unwrap();
    let mut other = Connection::open(fixture.path()).unwrap();
    let kept = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.create_plan("p", &[], Durable));
        while store.stats().busy.looks == 0 {
            std::thread::yield_now();
        }
        drop(kept);
        waiting.join().unwrap().unwrap();
    });
    let busy = store.stats().busy;
    assert_eq!((busy.waits, busy.expired, busy.waited), (1, 0, busy.longest));
    assert!(busy.waited > Duration::ZERO && busy.limit < patience, "{busy:?}");
}

#[test]
fn readers_are_bounded() {
    let fixture = Fixture::new();
    let patience = Duration::from_millis(20);
    let options = StoreOptions { readers: 2, patience, ..fixture.options() };
    let store = SqliteStore::open(fixture.path(), options).unwrap();
    let refused = store.readers.read(|_| {
        let inner = store.readers.read(|_| Ok(store.plans().unwrap_err()));
        Ok(inner.unwrap())
    });
    let refused = refused.unwrap();
    assert!(matches!(refused, StoreError::Readers { readers: 2, .. }), "{refused}");
    store.plans().unwrap();
    let stats = store.stats();
    assert_eq!((stats.readers, stats.reader_waits, stats.reads), (2, 1, 4));
    assert_eq!((stats.reader.waits, stats.reader.expired, stats.reader.limit), (1, 1, patience));
    assert_eq!(stats.reader.waited, stats.reader.longest);
}

/// What was relaxed is there when the store is opened again, because closing commits everything.
#[test]
fn closing_commits() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for number in 0..100 {
        store.create_plan(&number.to_string(), &[], Relaxed).unwrap();
    }
    drop(store);
    assert_eq!(fixture.open().plans().unwrap().len(), 100);
}
