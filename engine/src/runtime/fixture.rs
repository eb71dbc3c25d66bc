//! What the tests of turns and flows share: a store in a folder of its own, and a model that answers by task
//! and round.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::cancel::Cancel;
use super::spawner::{AgentSlot, Spawner};
use super::tools::Toolbox;
use super::turn::{Claimed, Manner};
use crate::backend::Token;
use crate::backend::scripted::{Script, ScriptedBackend, ScriptedBuilder};
use crate::engine::{Engine, EngineConfig};
use crate::store::Durability::Durable;
use crate::store::{
    Expect, NewTask, PlanId, Scope, SqliteStore, Store, StoreOptions, Task, TaskStatus,
};

pub(crate) const LEASE: Duration = Duration::from_mins(5);
pub(crate) const LONG: Duration = Duration::from_mins(10);

/// A model that says to each task, in each round from 1, what `says` says.
pub(crate) fn model(
    says: impl Fn(&str, usize) -> String + Send + Sync + 'static,
) -> ScriptedBuilder {
    let script = move |prompt: &[Token], drawn: usize| {
        let bytes = prompt.iter().filter_map(|token| u8::try_from(token.0).ok());
        let prompt = String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned();
        let task = prompt.split_once("Your task: ").map_or("", |(_, rest)| rest);
        let task = task.lines().next().unwrap_or_default();
        let round = prompt.matches("assistant: ").count();
        says(task, round).as_bytes().get(drawn).map(|byte| Token(i32::from(*byte)))
    };
    ScriptedBackend::builder(Script::Custom(Arc::new(script)))
        .cells(65_536)
        .tokens_per_sequence(8_192)
        .batch_rows(1_024)
}

pub(crate) fn engine(model: ScriptedBuilder) -> Engine {
    Engine::start(model.build(), EngineConfig::default()).unwrap()
}

pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) plan: PlanId,
}

impl Fixture {
    pub(crate) fn new(tasks: &[NewTask]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agents.db");
        let store = SqliteStore::open(&path, StoreOptions::default()).unwrap();
        let plan = store.create_plan("p", tasks, Durable).unwrap();
        Self { folder, store: Arc::new(store), plan }
    }

    /// As another process would.
    pub(crate) fn open_again(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(self.path(), StoreOptions::default()).unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("agents.db")
    }

    pub(crate) fn claim(&self, agent: &str) -> Claimed {
        let claim = self.store.claim_in(self.plan, agent, "any", LEASE, Durable).unwrap();
        Claimed::new(Arc::clone(&self.store), claim.expect("a task"))
    }

    pub(crate) fn tasks(&self) -> Vec<Task> {
        // What is relaxed, such as a claim's return, is there once something durable is that came after it.
        let scope = Scope::Agent("test".into());
        self.store.put_document(&scope, "end", b"", Expect::Anything, Durable).unwrap();
        self.store.tasks(self.plan).unwrap()
    }

    pub(crate) fn statuses(&self) -> Vec<TaskStatus> {
        self.tasks().into_iter().map(|task| task.status).collect()
    }

    /// A document of the plan.
    pub(crate) fn document(&self, key: &str) -> Option<String> {
        let found = self.store.document(&Scope::Plan(self.plan), key).unwrap();
        found.map(|found| String::from_utf8(found.content).unwrap())
    }
}

pub(crate) fn slot(spawner: &Spawner) -> Arc<AgentSlot> {
    Arc::new(spawner.reserve("ada", &Cancel::new()).unwrap())
}

pub(crate) fn with(tools: Toolbox) -> Manner {
    Manner { tools, ..Manner::default() }
}

/// Nothing is held for anybody.
#[track_caller]
pub(crate) fn assert_nothing_held(engine: &Engine, spawner: &Spawner) {
    engine.drain(LONG).unwrap();
    let census = engine.pool().census();
    assert_eq!(engine.pool().usage().used, 0, "{census:?}");
    assert_eq!((spawner.running(), spawner.names().len()), (0, 0));
}
