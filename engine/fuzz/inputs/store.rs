//! What must be true of every task, name, output and document that is handed to a store: for the fuzz
//! target and for the test that replays its corpus.
//!
//! An input is stored and read back as it is, or it is refused for something that is true of it, and
//! nothing is written (case 34). Inputs are texts, with the bytes 1E and 1F between records and fields:
//!
//! - `D key 1F agent 1F content`: a document of an agent;
//! - `O agent 1F text`: an output;
//! - anything else: tasks `key 1F agent type 1F description 1F dependency …`, with 1E between them.

use latchless_engine::store::{
    Durability, Expect, KEY_CHARACTERS, NewTask, Scope, SqliteStore, Store, StoreError,
    StoreOptions,
};
use tempfile::TempDir;

const RECORD: char = '\x1e';
const FIELD: char = '\x1f';

/// A store, and how much has gone through it. Writes are durable: others are not there for a reader yet when
/// their call returns.
pub(crate) struct Inputs {
    store: SqliteStore,
    plans: usize,
    /// Dropped last: the store is in it.
    _folder: TempDir,
}

/// Plans after which a new store is made, so that all of them can be counted.
const MOST_PLANS: usize = 200;

impl Inputs {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("inputs.db");
        let store = SqliteStore::open(file, StoreOptions::default()).unwrap();
        Self { store, plans: 0, _folder: folder }
    }

    /// Hands an input in; an error is what it was refused with, rightly.
    pub(crate) fn check(&mut self, input: &[u8]) -> Result<(), StoreError> {
        let text = String::from_utf8_lossy(input);
        let result = if let Some(rest) = text.strip_prefix('D') {
            self.document(rest)
        } else if let Some(rest) = text.strip_prefix('O') {
            self.output(rest)
        } else {
            self.tasks(&text)
        };
        if let Err(error) = &result {
            assert!(error.to_string().contains([';', ',']), "it says what to do: {error}");
        }
        result
    }

    fn document(&self, input: &str) -> Result<(), StoreError> {
        let mut fields = input.splitn(3, FIELD);
        let mut next = || fields.next().unwrap_or_default();
        let (key, agent, content) = (next(), next(), next().as_bytes());
        let scope = Scope::Agent(agent.into());
        let put =
            self.store.put_document(&scope, key, content, Expect::Absent, Durability::Durable);
        let found = self.store.document(&scope, key).unwrap();
        let Err(error) = put else {
            assert!(is_name(key) && is_name(agent), "{key:?} of {agent:?} was stored");
            let found = found.expect("it was stored").content;
            assert_eq!(found, content, "read as something else: {key:?} of {agent:?}");
            assert_eq!(self.store.documents(&scope).unwrap().len(), 1);
            assert!(self.store.remove_document(&scope, key, Durability::Durable).unwrap());
            return Ok(());
        };
        assert!(found.is_none(), "refused and written: {error}");
        assert!(matches!(error, StoreError::Name { .. }), "{error}");
        assert!(!is_name(key) || !is_name(agent), "{error}");
        Err(error)
    }

    fn output(&self, input: &str) -> Result<(), StoreError> {
        let (agent, text) = input.split_once(FIELD).unwrap_or((input, ""));
        let before = self.store.outputs(agent, 1).unwrap().pop();
        let added = self.store.add_output(agent, None, text, Durability::Durable);
        let last = self.store.outputs(agent, 1).unwrap().pop();
        match &added {
            Ok(()) => {
                assert!(is_name(agent), "an output of {agent:?}");
                assert_eq!(last.unwrap().text, text, "read as something else");
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Name { .. }) && !is_name(agent), "{error}");
                assert_eq!(last, before, "refused and written");
            }
        }
        added
    }

    fn tasks(&mut self, input: &str) -> Result<(), StoreError> {
        let tasks: Vec<_> = input.split(RECORD).map(task).collect();
        let created = self.store.create_plan("inputs", &tasks, Durability::Durable);
        self.plans += usize::from(created.is_ok());
        assert_eq!(self.store.plans().unwrap().len(), self.plans, "refused and written");
        match &created {
            Ok(plan) => {
                assert!(tasks.iter().all(|task| is_name(&task.key) && is_name(&task.agent_type)));
                assert!(can_be_ordered(&tasks), "stored, and cannot be carried out: {tasks:?}");
                let stored = self.store.tasks(*plan).unwrap();
                let same = stored.iter().zip(&tasks).all(|(stored, task)| {
                    let stored = (&stored.key, &stored.agent_type, &stored.description);
                    stored == (&task.key, &task.agent_type, &task.description)
                });
                assert!(same && stored.len() == tasks.len(), "read as something else");
            }
            Err(error) => assert!(is_true(error, &tasks), "{error}: {tasks:?}"),
        }
        if self.plans == MOST_PLANS {
            *self = Self::new();
        }
        created.map(|_| ())
    }
}

fn task(record: &str) -> NewTask {
    let mut fields = record.split(FIELD);
    let mut next = || fields.next().unwrap_or_default();
    let (key, agent_type, description) = (next(), next(), next());
    let task = NewTask::new(key, description).for_type(agent_type);
    fields.fold(task, NewTask::after)
}

/// The rule of the behaviour, written out once more.
fn is_name(name: &str) -> bool {
    let hostile = |c: char| c.is_control() || c == '/' || c == '\\';
    let length = name.chars().take(KEY_CHARACTERS + 1).count();
    (1..=KEY_CHARACTERS).contains(&length)
        && name != "."
        && !name.contains("..")
        && !name.contains(hostile)
}

fn depends(tasks: &[NewTask], key: &str, on: &str) -> bool {
    tasks.iter().any(|task| task.key == key && task.depends_on.iter().any(|other| other == on))
}

/// Whether what a refusal says is so.
fn is_true(error: &StoreError, tasks: &[NewTask]) -> bool {
    let count = |key: &String| tasks.iter().filter(|task| task.key == *key).count();
    match error {
        StoreError::Name { .. } => {
            !tasks.iter().all(|task| is_name(&task.key) && is_name(&task.agent_type))
        }
        StoreError::DuplicateTask { key } => count(key) > 1,
        StoreError::UnknownDependency { task, dependency } => {
            count(dependency) == 0 && depends(tasks, task, dependency)
        }
        StoreError::Circular { cycle } => {
            cycle.len() > 1
                && cycle.first() == cycle.last()
                && cycle.windows(2).all(|pair| depends(tasks, &pair[0], &pair[1]))
        }
        _ => false,
    }
}

/// Every task has a name of its own and can begin after those that it depends on.
fn can_be_ordered(tasks: &[NewTask]) -> bool {
    let mut done: Vec<&str> = Vec::new();
    loop {
        let is_done = |key: &str| done.contains(&key);
        let ready = tasks.iter().find(|task| {
            !is_done(&task.key) && task.depends_on.iter().all(|dependency| is_done(dependency))
        });
        let Some(task) = ready else { return done.len() == tasks.len() };
        done.push(&task.key);
    }
}
