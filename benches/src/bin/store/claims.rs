//! Threads that claim until nothing is left, and that every task was claimed once.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use crate::Failed;
use crate::tails::Latencies;

/// What one thread did, and when.
struct Worked {
    begun: Instant,
    ended: Instant,
    claims: Vec<i64>,
    latencies: Latencies,
}

/// Lets `threads` threads claim until nothing is left, and returns claims a second, from the first one's start
/// to the last one's end, and how long each took. `claimer` makes what one thread claims with.
pub(crate) fn claimed<C: FnMut(&str) -> Result<Option<i64>, Failed>>(
    tasks: u32,
    threads: u8,
    claimer: impl Fn() -> Result<C, Failed> + Sync,
) -> Result<(f64, Latencies), Failed> {
    let begin = Barrier::new(threads.into());
    let worked: Result<Vec<Worked>, Failed> = thread::scope(|scope| {
        let agents: Vec<_> = (0..threads)
            .map(|number| {
                let (begin, claimer) = (&begin, &claimer);
                scope.spawn(move || -> Result<Worked, Failed> {
                    let agent = format!("agent {number}");
                    let claimer = claimer();
                    let (mut claims, mut latencies) = (Vec::new(), Latencies::default());
                    // Behind the fallible part, so that nobody waits for a thread that has given up.
                    begin.wait();
                    let mut claim = claimer?;
                    let begun = Instant::now();
                    loop {
                        let asked = Instant::now();
                        let Some(task) = claim(&agent)? else {
                            return Ok(Worked { begun, ended: Instant::now(), claims, latencies });
                        };
                        latencies.record(asked.elapsed());
                        claims.push(task);
                    }
                })
            })
            .collect();
        let agents = agents.into_iter();
        agents
            .map(|agent| agent.join().unwrap_or_else(|_| Err("an agent panicked".into())))
            .collect()
    });
    let worked = worked?;
    all_once(worked.iter().flat_map(|worked| worked.claims.iter().copied()).collect(), tasks)?;
    let begun = worked.iter().map(|worked| worked.begun).min();
    let ended = worked.iter().map(|worked| worked.ended).max();
    let elapsed = begun.zip(ended).map(|(begun, ended)| ended - begun).unwrap_or_default();
    let mut latencies = Latencies::default();
    for worked in &worked {
        latencies.add(&worked.latencies);
    }
    Ok((f64::from(tasks) / elapsed.as_secs_f64(), latencies))
}

/// That these are the claims of so many tasks, none twice.
fn all_once(mut claims: Vec<i64>, tasks: u32) -> Result<(), Failed> {
    let all = claims.len();
    claims.sort_unstable();
    claims.dedup();
    if claims.len() != all {
        return Err(
            format!("{all} claims took {} tasks: some were claimed twice", claims.len()).into()
        );
    }
    if all != tasks as usize {
        return Err(format!("{all} of {tasks} tasks were claimed").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[test]
    fn a_task_that_is_claimed_twice_or_never_shows() {
        all_once(vec![3, 1, 2], 3).unwrap();
        let twice = all_once(vec![1, 2, 1], 2).unwrap_err().to_string();
        assert!(twice.contains("twice"), "{twice}");
        // As many claims as tasks, but one task has two and one has none.
        assert!(all_once(vec![1, 1], 2).is_err());
        assert!(all_once(vec![1], 2).is_err());
    }

    #[test]
    fn threads_that_give_the_same_task_out_are_caught() {
        let next = AtomicI64::new(0);
        let claimer = |halved: i64| {
            let next = &next;
            move || {
                Ok(move |_: &str| {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    Ok((number < 8).then_some(number / halved))
                })
            }
        };
        let (rate, latencies) = claimed(8, 2, claimer(1)).unwrap();
        assert!(rate > 0.0);
        assert_eq!(latencies.tail().claims, 8);
        next.store(0, Ordering::Relaxed);
        assert!(claimed(4, 2, claimer(2)).is_err());
    }
}
