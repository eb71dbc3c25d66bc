//! What the examples of hosts share: the choice between a script and a model, and a look at the end.

// Each example uses some of it.
#![allow(dead_code)]

use std::path::PathBuf;

use clap::Parser;
use latchless_engine::backend::scripted::{Script, ScriptedBackend};
use latchless_engine::prelude::*;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs with a script instead of a model, unless one is named: then it needs nothing, and always says the same.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// A GGUF file; `cargo xtask model` prints where the test model is
    #[arg(long)]
    model: Option<PathBuf>,

    /// Tokens that one answer may have
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=900))]
    pub(crate) max_tokens: u32,
}

/// One step of a lane of whatever backend.
pub(crate) type Step = Box<dyn FnMut() -> StepReport + Send>;

impl Options {
    /// What no argument says.
    pub(crate) fn scripted() -> Self {
        Self::parse_from(["host"])
    }

    /// An engine with so many lanes, each with a thread of its own.
    pub(crate) fn start(&self, lanes: usize) -> Result<Engine, Error> {
        let config = EngineConfig::default();
        if let Some(contexts) = self.contexts(lanes)? {
            return Ok(Engine::start_lanes(contexts, config)?);
        }
        Ok(Engine::start_lanes((0..lanes).map(|_| scripted()), config)?)
    }

    /// An engine whose one lane the host steps.
    pub(crate) fn stepped(&self) -> Result<(Engine, Step), Error> {
        let config = EngineConfig::default();
        if let Some(contexts) = self.contexts(1)? {
            let (engine, mut lanes) = Engine::with_lanes(contexts, config)?;
            let mut lane = lanes.remove(0);
            return Ok((engine, Box::new(move || lane.step())));
        }
        let (engine, mut lane) = Engine::new(scripted(), config)?;
        Ok((engine, Box::new(move || lane.step())))
    }

    /// A request for what this host asks.
    pub(crate) fn request(&self, question: &str) -> Request {
        Request::chat([ChatMessage::user(question)]).max_tokens(self.max_tokens)
    }

    /// Contexts of the model, if one is named.
    #[cfg(feature = "llama")]
    fn contexts(
        &self,
        lanes: usize,
    ) -> Result<Option<Vec<latchless_engine::backend::llama::LlamaContext>>, Error> {
        use latchless_engine::backend::llama::{ContextOptions, LlamaModel, ModelOptions};

        let Some(path) = &self.model else { return Ok(None) };
        let model = LlamaModel::load(path, &ModelOptions::default())?;
        let context = |_| model.context(&ContextOptions::default());
        Ok(Some((0..lanes).map(context).collect::<Result<_, _>>()?))
    }

    #[cfg(not(feature = "llama"))]
    fn contexts(&self, _lanes: usize) -> Result<Option<Vec<ScriptedBackend>>, Error> {
        match &self.model {
            None => Ok(None),
            Some(path) => {
                let path = path.display();
                Err(format!("no llama.cpp in this build for {path}; build it with `llama`").into())
            }
        }
    }
}

fn scripted() -> ScriptedBackend {
    ScriptedBackend::builder(Script::Text("It is a script that says this.".into())).build()
}

/// What the engine did, from its snapshot.
pub(crate) fn show(engine: &Engine) {
    let snapshot = engine.snapshot();
    for (lane, pool) in snapshot.lanes.iter().zip(&snapshot.pools) {
        println!(
            "lane {}: {} requests, {} tokens, first token after {:?} (median), {} of {} blocks used",
            lane.lane,
            lane.ended.all(),
            lane.generated_tokens,
            lane.first_token.p50(),
            pool.usage.used,
            pool.usage.total,
        );
    }
}
