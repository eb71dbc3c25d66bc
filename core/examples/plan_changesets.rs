//! Agents record what they change while somebody starts changesets and seals them: each change is in one
//! of them, once.
//!
//! `cargo run -p latchless --example plan_changesets`

use std::error::Error;
use std::thread;

use latchless::{ChangesetId, PlanContext, RecordError};

const AGENTS: usize = 3;
const CHANGES: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let plan = PlanContext::new();
    match plan.record(String::from("too early")) {
        Err(error @ RecordError::NotStarted(_)) => println!("refused: {error}"),
        other => return Err(format!("{other:?}").into()),
    }
    plan.start()?;

    let sealed = thread::scope(|scope| -> Result<Vec<_>, Box<dyn Error>> {
        let agents: Vec<_> = (0..AGENTS)
            .map(|agent| {
                let plan = &plan;
                scope.spawn(move || {
                    for i in 0..CHANGES {
                        // The newest changeset is open all the time: each is sealed after the next began.
                        plan.record(format!("agent {agent} edits file {i}")).expect("one is open");
                    }
                })
            })
            .collect();
        let mut sealed = Vec::new();
        while !agents.iter().all(thread::ScopedJoinHandle::is_finished) {
            let newest = plan.start()?;
            let before = plan.seal(ChangesetId(newest.0 - 1))?;
            sealed.push((before.id(), before.collect::<Vec<_>>()));
            thread::yield_now();
        }
        Ok(sealed)
    })?;
    let newest = plan.newest().ok_or("some were started")?;
    let last: Vec<_> = plan.seal(newest)?.collect();
    let changes = sealed.iter().map(|(_, changes)| changes.len()).sum::<usize>() + last.len();
    println!("{} changesets with {changes} changes", sealed.len() + 1);
    if let Some((id, changes)) = sealed.iter().max_by_key(|(_, changes)| changes.len()) {
        println!("the largest, {id}, begins with {:?} and has {}", changes.first(), changes.len());
    }
    assert_eq!(changes, AGENTS * CHANGES);
    Ok(())
}
