//! What is asked, and what must be answered: the script's letters depend on every token before them, so a
//! lane that mixes up two requests, two turns or two models says something else.

use anyhow::Context;
use fastrand::Rng;
use latchless_engine::backend::scripted::{Script, ScriptedBackend, ScriptedBuilder};
use latchless_engine::{Engine, EngineConfig, Request};

use crate::phase::Phase;

/// Tokens of a whole answer.
pub(super) const TOKENS: u32 = 24;
/// What most prompts begin with.
const INSTRUCTIONS: &str =
    "You are one of many agents that share this engine. Answer what is asked. ";
const QUESTIONS: usize = 24;
/// Every so many questions one comes without the instructions.
const BARE: usize = 4;
/// The last ones are long.
const LONG: usize = 4;

/// A backend that knows the answers.
pub(super) fn backend() -> ScriptedBuilder {
    ScriptedBackend::builder(Script::Babble { tokens: TOKENS })
}

/// All questions of a run, and their answers.
pub(super) struct Talk {
    asked: Vec<(String, Option<String>)>,
}

impl Talk {
    /// Asks each question once, where nobody else is.
    pub(super) fn new() -> anyhow::Result<Self> {
        let asked = (0..QUESTIONS).map(|question| {
            let prompt = prompt(question);
            let engine = Engine::start(backend().build(), EngineConfig::default())?;
            let stream = engine.submit(engine.agent("alone")?, Request::text(prompt.as_str()))?;
            let answer = stream.wait();
            answer.completion.reason.is_success().then_some(()).context("no answer")?;
            Ok((prompt, Some(answer.text)))
        });
        Ok(Self { asked: asked.collect::<anyhow::Result<_>>()? })
    }

    /// For a model whose answers nobody knows.
    #[cfg(feature = "llama")]
    pub(super) fn unanswered() -> Self {
        Self { asked: (0..QUESTIONS).map(|question| (prompt(question), None)).collect() }
    }

    /// A question of a kind that suits the phase.
    pub(super) fn question(phase: Phase, rng: &mut Rng) -> usize {
        match phase {
            Phase::BigAndSmall if rng.bool() => rng.usize(QUESTIONS - LONG..QUESTIONS),
            Phase::BigAndSmall => BARE * rng.usize(0..(QUESTIONS - LONG) / BARE),
            Phase::SharedPrefixes => BARE * rng.usize(0..QUESTIONS / BARE) + rng.usize(1..BARE),
            _ => rng.usize(0..QUESTIONS),
        }
    }

    pub(super) fn prompt(&self, question: usize) -> &str {
        &self.asked[question % QUESTIONS].0
    }

    pub(super) fn answer(&self, question: usize) -> Option<&str> {
        self.asked[question % QUESTIONS].1.as_deref()
    }
}

fn prompt(question: usize) -> String {
    let instructions = if question.is_multiple_of(BARE) { "" } else { INSTRUCTIONS };
    let more = if question < QUESTIONS - LONG { question % 7 } else { 30 };
    format!("{instructions}Question {question}, {}?", "and on ".repeat(more))
}
