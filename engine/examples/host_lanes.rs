//! A host with several lanes: contexts of one model side by side, each with its own thread and pool.
//!
//! ```text
//! cargo run -p latchless-engine --no-default-features --example host_lanes
//! cargo run --release -p latchless-engine --example host_lanes -- --model model.gguf
//! ```
//!
//! An agent stays where its first request went, because its sequence is kept there for its next turn. A new one
//! goes to the lane with the fewest requests and agents, or to the one where prompts began like its own. A host
//! says nothing of lanes when it submits. Two lanes compute two batches at the same time: they pay where there
//! are cores for both, and cost memory for two contexts.

mod host;

use std::thread;

use clap::Parser;
use latchless_engine::prelude::*;

const LANES: usize = 2;
const AGENTS: usize = 6;
const TURNS: usize = 3;

/// An agent's turns, one after the other; returns the tokens of its prompts that were kept from turn to turn.
fn talk(engine: &Engine, name: &str, options: &host::Options) -> Result<u32, host::Error> {
    let agent = engine.agent(name)?;
    let mut kept = 0;
    let mut said = format!("{name} asks: what comes next?");
    for _ in 0..TURNS {
        let request = Request::text(&said).max_tokens(options.max_tokens);
        let answer = engine.submit(agent, request)?.wait();
        kept += answer.completion.usage.cached_tokens;
        said = said + &answer.text + " And then?";
    }
    Ok(kept)
}

fn main() -> Result<(), host::Error> {
    run(&host::Options::parse())
}

fn run(options: &host::Options) -> Result<(), host::Error> {
    let engine = options.start(LANES)?;
    thread::scope(|scope| {
        let names = (0..AGENTS).map(|number| format!("agent {number}"));
        let agents: Vec<_> = names
            .map(|name| {
                let engine = &engine;
                scope.spawn(move || talk(engine, &name, options).map(|kept| (name, kept)))
            })
            .collect();
        for agent in agents {
            let (name, kept) = agent.join().map_err(|_| "an agent's thread panicked")??;
            println!("{name}: {kept} tokens were kept from turn to turn");
        }
        Ok::<_, host::Error>(())
    })?;
    host::show(&engine);
    Ok(())
}

#[test]
fn it_runs_without_a_model() {
    run(&host::Options::scripted()).unwrap();
}
