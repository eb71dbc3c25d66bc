//! Tokens a second beside a plain loop with the same batches, and three agents beside one after another.

use std::error::Error;
use std::time::{Duration, Instant};

use latchless_engine::backend::Model;
use latchless_engine::backend::llama::LlamaContext;
use latchless_engine::{ChatMessage, Engine, EngineConfig, Lane, Request, Token};

use crate::Bench;
use crate::plain::{Answers, Plain};
use crate::report::{Report, median};

const GROUP: &str = "throughput";
const CELLS: u32 = 4096;
const ANSWER: u32 = 64;
/// With five the median jumps by 5 % from run to run.
const ROUNDS: usize = 9;

const THINGS: [&str; 16] = [
    "a lighthouse",
    "a river",
    "a clock",
    "a train",
    "a violin",
    "a desert",
    "a library",
    "a storm",
    "a bridge",
    "a garden",
    "a mirror",
    "a harbour",
    "a kite",
    "a mountain",
    "a market",
    "a whale",
];

fn prompts(bench: &Bench, count: usize) -> Result<Vec<Vec<Token>>, Box<dyn Error>> {
    let story = |thing: &&str| {
        let asked = ChatMessage::user(format!("Tell me a long story about {thing}."));
        Ok(bench.model.tokenize(&bench.model.chat_prompt(&[asked])?, true)?)
    };
    THINGS.iter().take(count).map(story).collect()
}

/// Answers all prompts; the requests are there before the first step.
fn answer(
    engine: &Engine,
    lane: &mut Lane<LlamaContext>,
    prompts: &[Vec<Token>],
) -> Result<Answers, Box<dyn Error>> {
    let mut streams = Vec::with_capacity(prompts.len());
    let started = Instant::now();
    for (index, prompt) in prompts.iter().enumerate() {
        let agent = engine.agent(&format!("agent {index}"))?;
        let asked = Request::tokens(prompt.iter().copied()).max_tokens(ANSWER);
        streams.push(engine.submit(agent, asked)?);
    }
    while lane.run_until_idle(usize::MAX).unfinished > 0 {}
    let took = started.elapsed();
    Ok((streams.into_iter().map(|stream| stream.wait().tokens).collect(), took))
}

/// The middle round, and how far the others lie from it.
fn ratio(report: &mut Report, figure: &str, rounds: &mut [f64], wanted: Option<&'static str>) {
    report.add(GROUP, figure, median(rounds), "", wanted);
    // `median` has sorted them.
    for (name, round) in [("lowest", rounds.first()), ("highest", rounds.last())] {
        let figure = format!("{figure}, {name} round");
        report.add(GROUP, figure, round.copied().unwrap_or(f64::NAN), "", None);
    }
}

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let context = bench.context(CELLS, 16)?;
    let threads = context.threads();
    report.add(GROUP, "threads of ggml", threads.into(), "", None);
    let plain = Plain::load(&bench.path, CELLS, 16, threads)?;
    let mut plain_context = plain.context()?;
    // Nothing is kept and nothing is shared: the same rows in both.
    let config = EngineConfig::default().idle_tokens(0);
    let (engine, mut lane) = Engine::new(context, config)?;
    for count in [1, 3, 8, 16] {
        let prompts = prompts(bench, count)?;
        let mut ratios = Vec::new();
        let mut ours = Vec::new();
        let mut same = 0;
        for round in 0..=bench.rounds(ROUNDS, 1) {
            let (their_tokens, their_time) =
                plain.answer(&mut plain_context, &prompts, ANSWER as usize)?;
            let (our_tokens, our_time) = answer(&engine, &mut lane, &prompts)?;
            let count = |tokens: &[Vec<Token>]| tokens.iter().map(Vec::len).sum::<usize>() as f64;
            let our_rate = count(&our_tokens) / our_time.as_secs_f64();
            // The first warms up.
            if round > 0 {
                ratios.push(our_rate / (count(&their_tokens) / their_time.as_secs_f64()));
                ours.push(our_rate);
            }
            same = our_tokens.iter().zip(&their_tokens).filter(|(a, b)| a == b).count();
        }
        let figure = format!("tokens a second, {count} sequences");
        report.add(GROUP, figure, median(&mut ours), "1/s", None);
        let figure = format!("ours ÷ a plain loop, {count} sequences");
        ratio(report, &figure, &mut ratios, Some("at least 0.98"));
        let figure = format!("answers that are the plain loop's, of {count}");
        report.add(GROUP, figure, same as f64, "", None);
    }
    drop((engine, lane));
    three_agents(bench, report)
}

/// Three requests at once beside the same three one after another, each computed from nothing.
fn three_agents(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let rules =
        "You are an assistant that answers questions about things in the world. ".repeat(18);
    let rules = bench.model.tokenize(&rules, false)?;
    for (instructions, wanted, name) in [
        (&rules[..256.min(rules.len())], Some("more than 2"), "with 256 tokens in common"),
        (&[][..], None, "with nothing in common"),
    ] {
        let questions = prompts(bench, 3)?;
        let prompts: Vec<Vec<Token>> =
            questions.iter().map(|asked| [instructions, asked].concat()).collect();
        let mut ratios = Vec::new();
        for round in 0..=bench.rounds(ROUNDS, 1) {
            let one = EngineConfig::default().idle_tokens(0);
            let (engine, mut lane) = Engine::new(bench.context(CELLS, 3)?, one)?;
            // A context is slow at first.
            answer(&engine, &mut lane, &questions[..1])?;
            let mut serial = Duration::ZERO;
            for prompt in &prompts {
                serial += answer(&engine, &mut lane, std::slice::from_ref(prompt))?.1;
            }
            let (_, together) = answer(&engine, &mut lane, &prompts)?;
            if round > 0 {
                ratios.push(serial.as_secs_f64() / together.as_secs_f64());
            }
        }
        let figure = format!("3 agents ÷ one after another, {name}");
        ratio(report, &figure, &mut ratios, wanted);
    }
    Ok(())
}
