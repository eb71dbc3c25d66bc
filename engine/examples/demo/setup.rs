//! From the options to an engine that has answered once.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use latchless::AgentId;
use latchless_engine::backend::llama::{
    ContextOptions, LlamaContext, LlamaModel, LoadError, ModelOptions,
};
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

/// What every agent is told with `--shared-prefix`: some 250 tokens.
const INSTRUCTIONS: &str = "\
You are one of several assistants that work side by side for the same team. Read the question with care \
before you answer it. Answer what was asked and nothing else; when a question has several parts, take \
them in the order in which they were put. Begin with the answer itself, and give the reason after it. \
Write plain sentences of moderate length, in the language of the question, without headings and without \
lists unless a list was asked for. Use the words of the field, and explain a word that a newcomer would \
not know where it appears first. Say what is certain and what is likely, and keep the two apart. When \
you do not know something, say so and name who or what would know it. Give numbers with their units, \
and round them to what is useful. Do not repeat the question, do not praise it, and do not apologise. \
Do not make up sources, names, dates or figures. When the question rests on a mistake, correct the \
mistake first, in one sentence, and then answer what was probably meant. When there are two answers \
of equal worth, give both and say what speaks for each. Stop when the answer is complete: a short \
answer that is right is better than a long one that is right as well.";

/// What every round of the demo starts from.
pub(crate) struct Setup {
    pub(crate) model: Arc<LlamaModel>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) manner: Manner,
    /// The agents' prompts as the model reads them, the chat template applied.
    pub(crate) texts: Vec<String>,
    /// Tokens of each.
    prompt_tokens: Vec<usize>,
    /// One for each lane.
    context: ContextOptions,
    lanes: u32,
}

/// An engine with a fresh context.
pub(crate) struct Started {
    pub(crate) engine: Engine,
    /// ggml's threads.
    pub(crate) threads: u32,
}

impl Setup {
    /// What people call the model.
    pub(crate) fn model_name(&self) -> String {
        file_stem(&self.model)
    }

    /// Reads the prompts and loads the model.
    pub(crate) fn new(args: &Args) -> Result<Self, DemoError> {
        let (count, lanes) = (args.agents() as usize, args.lanes());
        let agents = match &args.prompt_file {
            Some(path) => prompts::from_file(path, count)?,
            None => prompts::built_in(count),
        };
        let path = args.model.clone().or_else(fetched_model).ok_or(DemoError::NoModel)?;
        let model = LlamaModel::load(path, &ModelOptions::default())?;
        let chat = model.chat_prompt(&[ChatMessage::user("Hello.")]).is_ok();
        let instructions = args.shared_prefix.then_some(INSTRUCTIONS);
        let manner = Manner { max_tokens: args.max_tokens(), seed: args.seed, chat, instructions };
        let mut texts = Vec::with_capacity(count);
        let mut prompt_tokens = Vec::with_capacity(count);
        for agent in &agents {
            let unreadable = |problem| DemoError::Prompt { agent: agent.name.clone(), problem };
            let text = if chat {
                model.chat_prompt(&manner.messages(&agent.prompt)).map_err(unreadable)?
            } else {
                manner.text(&agent.prompt)
            };
            prompt_tokens.push(model.tokenize(&text, true).map_err(unreadable)?.len());
            texts.push(text);
        }
        let lengths =
            prompt_tokens.iter().map(|tokens| *tokens as u64 + u64::from(args.max_tokens()));
        let needed = |lengths: &mut dyn Iterator<Item = u64>| {
            cells_for(lengths, model.trained_context(), model.spec().block_tokens())
        };
        let longest = needed(&mut lengths.clone().max().into_iter());
        let all = args.context.unwrap_or_else(|| needed(&mut lengths.clone()));
        // As many cells in all, however many lanes; each lane holds the longest sequence at least.
        let cells = all.div_ceil(lanes).max(if lanes > 1 { longest } else { 0 });
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let context = ContextOptions {
            cells: Some(cells),
            sequences: args.agents().div_ceil(lanes),
            threads: match lanes {
                1 => args.threads,
                lanes => Some((args.threads.unwrap_or(cores) / lanes).max(1)),
            },
            ..ContextOptions::default()
        };
        Ok(Self { model, agents, manner, texts, prompt_tokens, context, lanes })
    }

    /// A new context for each lane and an engine on them, warmed up by one short answer.
    pub(crate) fn start(&self) -> Result<Started, DemoError> {
        let contexts = self.contexts(&self.model)?;
        let threads = contexts.iter().map(LlamaContext::threads).sum();
        // Nothing is kept from the warm-up or from one turn to the next: each computes the same.
        let config = EngineConfig::default().idle_tokens(0);
        let engine = Engine::start_lanes(contexts, config)?;
        self.check_lengths(engine.limits())?;
        self.warm_up(&engine)?;
        Ok(Started { engine, threads })
    }

    fn contexts(&self, model: &Arc<LlamaModel>) -> Result<Vec<LlamaContext>, LoadError> {
        (0..self.lanes).map(|_| model.context(&self.context)).collect()
    }

    /// The model's file once more, with contexts of its own.
    pub(crate) fn load_again(&self) -> Result<Vec<LlamaContext>, LoadError> {
        self.contexts(&LlamaModel::load(self.model.path(), &ModelOptions::default())?)
    }

    /// What all lanes together can hold, as one context.
    pub(crate) fn limits(&self, of_one: Limits) -> Limits {
        Limits {
            cells: of_one.cells.saturating_mul(self.lanes),
            sequences: of_one.sequences.saturating_mul(self.lanes),
            ..of_one
        }
    }

    /// A question with a short answer, in the first agent's words.
    pub(crate) fn short_question(&self) -> Request {
        let text = self.texts.first().map_or("Hello.", String::as_str);
        Request::text(text).max_tokens(WARM_UP_TOKENS)
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
        let stream = engine.submit(agent, self.short_question()).map_err(|error| failed(&error))?;
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

/// The model's file without its extension, which people know better than the name inside.
pub(crate) fn file_stem(model: &LlamaModel) -> String {
    let stem = model.path().file_stem();
    stem.map_or_else(|| model.name().to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// The model that was named in the environment, or else fetched.
pub(crate) fn fetched_model() -> Option<PathBuf> {
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
