//! From the options to an engine that has answered once.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use latchless::AgentId;
use latchless_engine::backend::llama::{ContextOptions, LlamaModel, ModelOptions};
use latchless_engine::backend::{Limits, Model};
use latchless_engine::{ChatMessage, Engine, EngineConfig, Request};

use crate::agents::Manner;
use crate::args::Args;
use crate::error::DemoError;
use crate::prompts::{self, Agent};

/// The file that `cargo xtask demo` fetches, in the folder of that name in the user's cache.
const FETCHED: [&str; 2] = ["latchless", "SmolLM2-135M-Instruct.Q4_1.gguf"];

/// Tokens of the answer that warms a context up.
pub(crate) const WARM_UP_TOKENS: u32 = 4;

/// What every round of the demo starts from.
pub(crate) struct Setup {
    pub(crate) model: Arc<LlamaModel>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) manner: Manner,
    /// The agents' prompts as the model reads them, the chat template applied.
    pub(crate) texts: Vec<String>,
    /// Tokens of each.
    prompt_tokens: Vec<usize>,
    context: ContextOptions,
}

/// An engine with a fresh context.
pub(crate) struct Started {
    pub(crate) engine: Engine,
    /// ggml's threads.
    pub(crate) threads: u32,
}

impl Setup {
    /// The model's file without its extension, which people know better than the name inside.
    pub(crate) fn model_name(&self) -> String {
        let stem = self.model.path().file_stem();
        stem.map_or_else(
            || self.model.name().to_owned(),
            |stem| stem.to_string_lossy().into_owned(),
        )
    }

    /// Reads the prompts and loads the model.
    pub(crate) fn new(args: &Args) -> Result<Self, DemoError> {
        let count = args.agents as usize;
        let agents = match &args.prompt_file {
            Some(path) => prompts::from_file(path, count)?,
            None => prompts::built_in(count),
        };
        let path = args.model.clone().or_else(fetched_model).ok_or(DemoError::NoModel)?;
        let model = LlamaModel::load(path, &ModelOptions::default())?;
        let chat = model.chat_prompt(&[ChatMessage::user("Hello.")]).is_ok();
        let manner = Manner { max_tokens: args.max_tokens, seed: args.seed, chat };
        let mut texts = Vec::with_capacity(count);
        let mut prompt_tokens = Vec::with_capacity(count);
        for agent in &agents {
            let unreadable = |problem| DemoError::Prompt { agent: agent.name.clone(), problem };
            let text = if chat {
                model.chat_prompt(&[ChatMessage::user(&agent.prompt)]).map_err(unreadable)?
            } else {
                agent.prompt.clone()
            };
            prompt_tokens.push(model.tokenize(&text, true).map_err(unreadable)?.len());
            texts.push(text);
        }
        let needed = cells_for(
            prompt_tokens.iter().map(|tokens| *tokens as u64 + u64::from(args.max_tokens)),
            model.trained_context(),
            model.spec().block_tokens(),
        );
        let context = ContextOptions {
            cells: Some(args.context.unwrap_or(needed)),
            sequences: args.agents,
            threads: args.threads,
            ..ContextOptions::default()
        };
        Ok(Self { model, agents, manner, texts, prompt_tokens, context })
    }

    /// A new context and an engine on it, warmed up by one short answer.
    pub(crate) fn start(&self) -> Result<Started, DemoError> {
        let context = self.model.context(&self.context)?;
        let threads = context.threads();
        let engine = Engine::start(context, EngineConfig::default())?;
        self.check_lengths(engine.limits())?;
        self.warm_up(&engine)?;
        Ok(Started { engine, threads })
    }

    fn check_lengths(&self, limits: Limits) -> Result<(), DemoError> {
        let sequence_tokens = limits.tokens_per_sequence;
        for (agent, prompt_tokens) in self.agents.iter().zip(&self.prompt_tokens) {
            if *prompt_tokens >= sequence_tokens as usize {
                return Err(DemoError::PromptTooLong {
                    agent: agent.name.clone(),
                    prompt_tokens: *prompt_tokens,
                    sequence_tokens,
                    can_grow: sequence_tokens < self.model.trained_context(),
                });
            }
        }
        Ok(())
    }

    fn warm_up(&self, engine: &Engine) -> Result<(), DemoError> {
        let failed = |problem: &dyn std::fmt::Display| DemoError::WarmUp(problem.to_string());
        let name = AgentId::new("warm-up").map_err(|error| failed(&error))?;
        let agent = engine.agent(name.as_str()).map_err(|error| failed(&error))?;
        let text = self.texts.first().map_or("Hello.", String::as_str);
        let request = Request::text(text).max_tokens(WARM_UP_TOKENS);
        let stream = engine.submit(agent, request).map_err(|error| failed(&error))?;
        let reason = stream.wait().completion.reason;
        engine.directory().unregister(&name);
        if reason.is_success() { Ok(()) } else { Err(failed(&reason)) }
    }
}

/// Tokens of a context in which sequences of these lengths, in whole blocks and none longer than the
/// model allows, live together.
fn cells_for(lengths: impl Iterator<Item = u64>, trained: u32, block_tokens: u32) -> u32 {
    let blocks = u64::from(block_tokens.max(1));
    let whole = lengths.map(|tokens| tokens.min(trained.into()).next_multiple_of(blocks));
    u32::try_from(whole.sum::<u64>()).unwrap_or(u32::MAX)
}

fn fetched_model() -> Option<PathBuf> {
    let cached = || {
        let xdg = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
        let cache = xdg.filter(|path| path.is_absolute()).or_else(home)?;
        Some(FETCHED.iter().fold(cache, |path, part| path.join(part))).filter(|path| path.is_file())
    };
    env::var_os("LATCHLESS_MODEL").map(PathBuf::from).or_else(cached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_holds_everybody_in_whole_blocks() {
        assert_eq!(cells_for([100, 33, 32].into_iter(), 8192, 32), 128 + 64 + 32);
        assert_eq!(cells_for([5_000_000_000].into_iter(), 8192, 32), 8192);
        assert_eq!(cells_for([7].into_iter(), 8192, 0), 7);
        assert_eq!(cells_for(vec![u64::from(u32::MAX); 3].into_iter(), u32::MAX, 32), u32::MAX);
    }
}
