//! A host with tokio: each agent is a task, and reads its answer as a stream.
//!
//! ```text
//! cargo run -p latchless-engine --no-default-features --example host_tokio
//! cargo run --release -p latchless-engine --example host_tokio -- --model model.gguf
//! ```
//!
//! A submit never waits for a decode, so it stands in a task as it is. A stream is a
//! [`futures_core::Stream`]: while it has nothing its task sleeps, and the lane's thread calls the waker that
//! tokio gave it, which schedules the task and returns. Whoever drops a stream cancels its request, so a
//! `tokio::time::timeout` around a read needs nothing else.

mod host;

use std::pin::Pin;
use std::time::Duration;

use clap::Parser;
use futures_core::Stream;
use latchless_engine::prelude::*;

/// The next event; `None` after the last. What `StreamExt::next` of the crate `futures` does.
async fn next(stream: &mut TokenStream) -> Option<Event> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

async fn ask(engine: &Engine, name: &str, request: Request) -> Result<String, host::Error> {
    let agent = engine.agent(name)?;
    let mut stream = engine.submit(agent, request)?;
    let mut text = String::new();
    while let Some(event) = next(&mut stream).await {
        text.push_str(event.text());
    }
    Ok(text)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), host::Error> {
    run(&host::Options::parse()).await
}

async fn run(options: &host::Options) -> Result<(), host::Error> {
    let engine = options.start(1)?;
    let asked = [("physicist", "Why is the sky blue?"), ("cook", "What goes into a soup?")];
    let tasks = asked.map(|(name, question)| {
        let (engine, request) = (engine.clone(), options.request(question));
        (name, tokio::spawn(async move { ask(&engine, name, request).await }))
    });
    for (name, task) in tasks {
        println!("{name}: {}", task.await??);
    }

    // A task that takes too long is dropped, its stream with it, and its request is cancelled.
    let hasty = ask(&engine, "hasty", options.request("What is the meaning of everything?"));
    match tokio::time::timeout(Duration::ZERO, hasty).await {
        Ok(answer) => println!("hasty: {}", answer?),
        Err(_) => println!("hasty: gave up"),
    }
    // A drain waits: not on a thread that runs other tasks.
    let drained = engine.clone();
    tokio::task::spawn_blocking(move || drained.drain(Duration::from_mins(1))).await??;
    host::show(&engine);
    Ok(())
}

#[tokio::test]
async fn it_runs_without_a_model() {
    run(&host::Options::scripted()).await.unwrap();
}
