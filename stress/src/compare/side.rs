//! One of the two that are compared: its pool, its turns, and what came of them.

use std::process;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use latchless_benches::Churn;

use super::delays::{Delays, Freeze, SlowOperation};
use super::load::{COLUMNS, Worker};
use super::outcome::SideReport;
use super::turns::{Turn, Turns};
use super::{Contest, Halt};
use crate::args::STALL_AFTER;
use crate::crew::Ground;
use crate::crew::freezer::freeze;
use crate::exit::Exit;
use crate::fault::Rates;
use crate::part::Kind;
use crate::phase::Phase;
use crate::pool::phases::{Deck, Scale, deck};
use crate::seed::generator;
use crate::session::complain;
use crate::stop::Broken;
use crate::tally::Tally;
use crate::violation::Violation;
use crate::watch::series::Percentiles;

/// Time between two looks whether somebody has interrupted it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A pool under the load.
pub(super) struct Side<C> {
    pool: C,
    deck: Deck,
    contest: Contest,
    tally: Tally,
    delays: Delays,
    freezes: u64,
    seconds: f64,
    turns: Turns,
}

impl<C: Churn> Side<C> {
    pub(super) fn new(contest: &Contest) -> Self {
        Self {
            pool: C::new(contest.blocks),
            deck: deck(&Rates::default()),
            contest: contest.clone(),
            tally: Tally::new(&COLUMNS),
            delays: Delays::default(),
            freezes: 0,
            seconds: 0.0,
            turns: Turns::default(),
        }
    }

    /// Threads use the pool for `time`, or until it is over, and give everything back.
    pub(super) fn turn(
        &mut self,
        round: u64,
        time: Duration,
        over: &dyn Fn() -> bool,
    ) -> Result<(), Halt> {
        let Contest { seed, threads, blocks, freezes, .. } = self.contest;
        let ground = Ground::default();
        let (struck, slow) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let before = self.tally.snapshot();
        let begun = Instant::now();
        let seconds = thread::scope(|scope| {
            let (pool, deck, tally) = (&self.pool, &self.deck, &self.tally);
            let (ground, slow, struck) = (&ground, &slow, &struck);
            let phase = Phase::of_round(round);
            let working = ground.spawn(scope, move || {
                ground.round(Kind::Pool, round, threads, |thread, _| {
                    let mut worker = Worker::new(pool);
                    let mut rng = generator(seed, Kind::Pool, round, thread);
                    let scale = Scale { blocks, threads };
                    let ended = worker.run(deck, &mut rng, phase, scale, &ground.stop);
                    tally.collect(&mut worker.counts);
                    push(slow, (thread, worker.slow));
                    ended
                });
                ground.stop.stop();
            });
            if let Some(freezes) = freezes {
                let seed = seed.wrapping_add(round);
                ground.spawn(scope, move || {
                    freeze(ground, freezes, seed, |entry, begun, time| {
                        push(struck, Freeze { thread: entry.thread, begun, time });
                    });
                });
            }
            while begun.elapsed() < time && !over() && !ground.stop.is_stopped() {
                thread::park_timeout(LOOK_EVERY.min(time));
            }
            // Not until all have ended: who is frozen by then ends later, and the freezer may still sleep.
            let seconds = begun.elapsed().as_secs_f64();
            ground.stop.stop();
            if let Some(working) = working {
                come_back::<C>(&working);
                // What a thread panics with is what broke; nothing else panics there.
                let _ = working.join();
            }
            seconds
        });
        let struck: Vec<Freeze> = struck.into_inner().unwrap_or_else(PoisonError::into_inner);
        let slow: Vec<(u16, Vec<SlowOperation>)> =
            slow.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (thread, slow) in &slow {
            self.delays.add(*thread, slow, &struck);
        }
        self.freezes += struck.len() as u64;
        self.seconds += seconds;
        let came = self.tally.snapshot().since(&before);
        let worst = came.times.iter().map(hdrhistogram::Histogram::max).max().unwrap_or_default();
        let operations = came.operations();
        self.turns.push(Turn { at: self.seconds, seconds, operations, longest_ns: worst });
        if let Some(broken) = ground.stop.what_broke() {
            return Err(Halt::Broken(broken));
        }
        let free = self.pool.free();
        let given = Violation::count("free blocks when all is given back", blocks, free);
        given.map_err(|violation| {
            Halt::Broken(Broken { violation, part: Some(Kind::Pool), round, thread: None })
        })?;
        ground.stop.what_failed().map_or(Ok(()), |failure| Err(Halt::Failed(failure)))
    }

    /// What came of all turns.
    pub(super) fn told(self) -> SideReport {
        let counts = self.tally.snapshot();
        let mut all = counts.times[0].clone();
        for times in &counts.times[1..] {
            all.add(times).expect("the bounds are the same");
        }
        SideReport {
            name: C::NAME,
            seconds: self.seconds,
            operations: counts.operations(),
            operations_per_second: counts.operations() as f64 / self.seconds.max(1e-9),
            outcomes: COLUMNS
                .outcomes
                .iter()
                .copied()
                .zip(counts.outcomes.iter().copied())
                .collect(),
            all: Percentiles::of(&all),
            times: COLUMNS
                .timed
                .iter()
                .copied()
                .zip(counts.times.iter().map(Percentiles::of))
                .collect(),
            freezes: self.freezes,
            longest_beside_a_freeze_ns: self.delays.longest.as_nanos() as u64,
            long_beside_a_freeze: self.delays.long,
            turns: self.turns.into_vec(),
        }
    }
}

/// Waits for the threads of a turn. A pool that keeps one of them for ever is not compared any further, and nobody can
/// end the thread in an orderly way.
fn come_back<C: Churn>(working: &ScopedJoinHandle<'_, ()>) {
    let until = Instant::now() + STALL_AFTER;
    while !working.is_finished() {
        if Instant::now() >= until {
            let patience = humantime::format_duration(STALL_AFTER);
            complain(&anyhow!(
                "BROKEN: {patience} after a turn of {} a thread of it has not come back; no report was written",
                C::NAME,
            ));
            process::exit(Exit::Broken.code().into());
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

fn push<T>(list: &Mutex<Vec<T>>, item: T) {
    list.lock().unwrap_or_else(PoisonError::into_inner).push(item);
}
