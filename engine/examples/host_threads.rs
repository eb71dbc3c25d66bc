//! A host with plain threads: one steps the lane itself, the others submit and read.
//!
//! ```text
//! cargo run -p latchless-engine --no-default-features --example host_threads
//! cargo run --release -p latchless-engine --example host_threads -- --model model.gguf
//! ```
//!
//! Who steps the lane is the host's choice. A lane that the host steps runs on a thread of the priority, the
//! core and the stack that the host gave it, and the host can do something else there between two steps. One
//! that is spawned instead sleeps on a futex while there is nothing to do.

mod host;

use std::thread;
use std::time::Duration;

use clap::Parser;
use latchless_engine::prelude::*;

/// What this host does besides on the thread of the lane, when that has nothing to do.
const OTHER_WORK: Duration = Duration::from_micros(200);

/// Steps the lane until its engine is closed; returns how many steps that took.
fn drive(mut step: host::Step) -> u64 {
    let mut steps = 0;
    loop {
        let report = step();
        steps += 1;
        if report.closed {
            return steps;
        }
        if !report.progressed() {
            thread::sleep(OTHER_WORK);
        }
    }
}

/// Token by token; `stream.wait()` gives the whole answer.
fn ask(engine: &Engine, name: &str, request: Request) -> Result<String, host::Error> {
    let agent = engine.agent(name)?;
    let mut stream = engine.submit(agent, request)?;
    Ok(stream.events().map(|event| event.text().to_owned()).collect())
}

fn main() -> Result<(), host::Error> {
    run(&host::Options::parse())
}

fn run(options: &host::Options) -> Result<(), host::Error> {
    let (engine, step) = options.stepped()?;
    let lane = thread::spawn(move || drive(step));
    let asked = [("physicist", "Why is the sky blue?"), ("cook", "What goes into a soup?")];
    let agents = asked.map(|(name, question)| {
        let (engine, request) = (engine.clone(), options.request(question));
        (name, thread::spawn(move || ask(&engine, name, request)))
    });
    for (name, agent) in agents {
        println!("{name}: {}", agent.join().map_err(|_| "an agent's thread panicked")??);
    }
    host::show(&engine);
    // The next step says that the engine is closed, and the thread ends.
    engine.shutdown();
    let steps = lane.join().map_err(|_| "the lane's thread panicked")?;
    println!("{steps} steps");
    Ok(())
}

#[test]
fn it_runs_without_a_model() {
    run(&host::Options::scripted()).unwrap();
}
