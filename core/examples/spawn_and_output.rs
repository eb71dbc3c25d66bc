//! A spawner with five slots starts twenty agents. Each keeps the last lines of its output; one of them
//! panics, and one falls silent.
//!
//! `cargo run -p latchless --example spawn_and_output`

use std::error::Error;
use std::sync::Arc;
use std::thread;

use latchless::{Outbox, SpawnSlots, Tick};

fn main() -> Result<(), Box<dyn Error>> {
    let slots = SpawnSlots::new(5)?;
    let silent = slots.reserve(Tick(0))?;
    println!("slot {} is reserved for an agent that will say nothing", silent.id());

    let mut threads = Vec::new();
    let mut now = 0;
    while threads.len() < 20 {
        now += 1;
        // Reserved before anything is started.
        let Ok(slot) = slots.reserve(Tick(now)) else {
            thread::yield_now();
            continue;
        };
        let agent = threads.len();
        let output = Arc::new(Outbox::new(3)?);
        let written = Arc::clone(&output);
        let thread = thread::spawn(move || {
            // Given back however the thread ends.
            let slot = slot;
            for line in 0..10 {
                written.push(format!("agent {agent} in slot {}: line {line}", slot.index()));
                if (agent, line) == (7, 5) {
                    std::panic::resume_unwind(Box::new("the seventh agent failed"));
                }
            }
        });
        threads.push((thread, output));
    }
    for dead in slots.clean_up_silent(Tick(now + 1_000), 1_000) {
        println!("slot {dead} gave no sign of life for 1000 ticks");
    }
    for (agent, (thread, output)) in threads.into_iter().enumerate() {
        let ended = if thread.join().is_ok() { "ended" } else { "panicked" };
        let dropped = output.dropped();
        let last: Vec<_> = std::iter::from_fn(|| output.pop()).collect();
        println!("agent {agent} {ended}; {dropped} lines dropped, the last is {:?}", last.last());
    }
    println!("{} of {} slots are in use", slots.running(), slots.limit());
    Ok(())
}
