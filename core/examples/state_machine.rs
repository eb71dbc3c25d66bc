//! Ten threads move one agent's state machine, and most of what they try is refused: the machine stays on
//! its five edges, and every change is counted once.
//!
//! `cargo run -p latchless --example state_machine`

use std::thread;

use latchless::{AgentState, StateMachine};

fn main() {
    let agent = StateMachine::new();
    let made: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..10)
            .map(|first| {
                let agent = &agent;
                scope.spawn(move || {
                    let states = AgentState::ALL.iter().cycle().skip(first % 4);
                    let results = states.take(100).map(|to| agent.transition(*to));
                    results.flatten().count() as u64
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no transition panics")).sum()
    });
    let end = agent.snapshot();
    println!("{made} of 1000 transitions were edges; the agent is in {}", end.state());
    assert_eq!(end.version(), made);

    // One agent's turn, with tools.
    let agent = StateMachine::new();
    for to in [AgentState::Assistant, AgentState::ToolExecution, AgentState::Response] {
        let now = agent.transition(to).expect("an edge");
        println!("version {}: {}", now.version(), now.state());
    }
    println!("completed: {}", agent.set_completion(true).is_completed());
    match agent.transition(AgentState::UserInput) {
        Ok(_) => unreachable!("no state is followed by USER_INPUT"),
        Err(refused) => println!("refused: {refused}"),
    }
}
