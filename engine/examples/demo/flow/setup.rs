//! From a plan file to agents that are ready to work.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use latchless_engine::backend::llama::{ContextOptions, LlamaModel, ModelOptions};
use latchless_engine::runtime::flow::{
    Flow, FlowOptions, Manners, PlanFile, PlanFileError, Worker,
};
use latchless_engine::runtime::tools::Toolbox;
use latchless_engine::runtime::turn::Manner;
use latchless_engine::store::{Claim, Durability, PlanId, SqliteStore, Store, StoreOptions};
use latchless_engine::{Engine, EngineConfig, Penalties, Sampling};

use super::state::State;
use crate::args::Args;
use crate::error::DemoError;
use crate::format::counted;
use crate::setup::{fetched_model, file_stem};

/// What is worked at unless another plan is named.
const DEFAULT_PLAN: &str = include_str!("../plan.toml");
/// Tokens that each agent's conversation may have.
const CONVERSATION: u32 = 1_536;

/// A plan, and where its state is.
pub(super) struct Prepared {
    plan_file: PlanFile,
    state: State,
    store: Arc<dyn Store>,
    plan: PlanId,
}

/// Everything that a run needs.
pub(super) struct FlowSetup {
    pub(super) plan_file: Arc<PlanFile>,
    pub(super) state: State,
    pub(super) store: Arc<dyn Store>,
    pub(super) plan: PlanId,
    pub(super) engine: Engine,
    pub(super) flow: Flow,
    pub(super) model_name: String,
    pub(super) threads: u32,
}

impl FlowSetup {
    pub(super) fn prepare(args: &Args) -> Result<Prepared, DemoError> {
        let refused = |error: PlanFileError| DemoError::Plan(refusal(args.plan.as_deref(), &error));
        let plan_file = match &args.plan {
            Some(path) => PlanFile::read(path),
            None => DEFAULT_PLAN.parse(),
        };
        let plan_file = plan_file.map_err(refused)?;
        plan_file.check(&Toolbox::documents()).map_err(refused)?;
        let text = match &args.plan {
            Some(path) => fs::read_to_string(path)?,
            None => DEFAULT_PLAN.to_owned(),
        };
        let state = State::open(args.state.as_deref(), &plan_file.name, &text, args.fresh)?;
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(state.database(), StoreOptions::default())?);
        // Two that begin at the same time work at the same plan.
        let plan = state.alone(|| plan_in(&*store, &plan_file))??;
        Ok(Prepared { plan_file, state, store, plan })
    }

    pub(super) fn headline(&self) -> String {
        let how = if self.state.goes_on { "goes on with" } else { "begins" };
        format!(
            "{}: {}, {}; {how} the plan {:?}: {}, {}. Ctrl-C or kill it, and start it again: it goes on.",
            self.model_name,
            counted(self.engine.limits().cells, "token"),
            counted(self.threads, "thread"),
            self.plan_file.name,
            counted(self.plan_file.agents.len() as u64, "agent"),
            counted(self.plan_file.tasks.len() as u64, "task"),
        )
    }
}

/// The plan in the store: that of before, or a new one.
fn plan_in(store: &dyn Store, file: &PlanFile) -> Result<PlanId, DemoError> {
    let known = store.plans()?.into_iter().find(|plan| plan.name == file.name);
    let Some(known) = known else {
        return Ok(store.create_plan(&file.name, &file.new_tasks(), Durability::Durable)?);
    };
    let keys: Vec<_> = store.tasks(known.id)?.into_iter().map(|task| task.key).collect();
    if keys.iter().ne(file.tasks.iter().map(|task| &task.task.key)) {
        let problem = "the state is of another plan with this name; begin anew with --fresh";
        return Err(DemoError::Plan(problem.to_owned()));
    }
    Ok(known.id)
}

impl Prepared {
    /// Loads the model and gathers the agents.
    pub(super) fn start(self, args: &Args) -> Result<FlowSetup, DemoError> {
        let Self { plan_file, state, store, plan } = self;
        let path = args.model.clone().or_else(fetched_model).ok_or(DemoError::NoModel)?;
        let model = LlamaModel::load(path, &ModelOptions::default())?;
        let agents = plan_file.agents.len() as u32;
        let context = model.context(&ContextOptions {
            cells: Some(CONVERSATION.min(model.trained_context()) * agents),
            sequences: agents,
            threads: args.threads,
            ..ContextOptions::default()
        })?;
        let threads = context.threads();
        let model_name = file_stem(&model);
        let engine = Engine::start(context, EngineConfig::default())?;
        let plan_file = Arc::new(plan_file);
        let manners: Manners = {
            let plan_file = Arc::clone(&plan_file);
            // A small model that is always given the likeliest token says it again and again.
            let penalties = Penalties { repeat: 1.2, ..Penalties::default() };
            let sampling = Sampling::greedy().penalties(penalties);
            let otherwise = Manner { sampling, ..Manner::default() };
            // Checked before: every task is in the plan, and its steps can be taken.
            Arc::new(move |claim: &Claim| {
                let manner = plan_file.manner(&claim.key, &otherwise).ok().flatten();
                manner.unwrap_or_else(|| otherwise.clone())
            })
        };
        let workers = plan_file.agents.iter().map(|agent| {
            Worker::choosing(agent.name.clone(), Arc::clone(&manners)).kind(agent.kind.clone())
        });
        let options = FlowOptions { presence: Some(state.runs()), ..FlowOptions::default() };
        let flow = Flow::new(engine.clone(), Arc::clone(&store), workers, options)?;
        Ok(FlowSetup { plan_file, state, store, plan, engine, flow, model_name, threads })
    }
}

/// What is wrong with the plan that was named, and its path once.
fn refusal(named: Option<&Path>, error: &PlanFileError) -> String {
    let says_path =
        matches!(error, PlanFileError::Unreadable { .. } | PlanFileError::TooLong { .. });
    match named {
        Some(path) if !says_path => format!("--plan {}: {error}", path.display()),
        Some(_) => format!("--plan {error}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_is_refused_is_named_once() {
        let nowhere = Path::new("nowhere.toml");
        let said = refusal(Some(nowhere), &PlanFile::read(nowhere).unwrap_err());
        assert_eq!(said.matches("nowhere.toml").count(), 1, "{said}");
        let said = refusal(Some(nowhere), &"no plan".parse::<PlanFile>().unwrap_err());
        assert!(said.starts_with("--plan nowhere.toml: "), "{said}");
    }
}
