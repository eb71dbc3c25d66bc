//! The child: it owns the store and the cache, works under load and tells what was acknowledged, until it ends or is
//! killed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use latchless_engine::store::{Clock, Durability, SqliteStore, Store, StoreOptions};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::clock::Unsteady;
use super::disk::{Disk, want_of};
use super::life::Life;
use super::phases::deck;
use super::told::{Teller, Told};
use super::warm::{self, KEEPERS, Keeper, Room};
use super::worker::{Post, Worker};
use crate::crew::Ground;
use crate::crew::freezer::{Freezes, freeze};
use crate::crew::roll::{Entry, Watchdog};
use crate::failure::Failure;
use crate::part::Kind;
use crate::seed::generator;
use crate::stop::Broken;
use crate::violation::Violation;

/// Outputs that are kept of each agent: all of them.
const OUTPUTS: u32 = 1_000_000;
/// Lives of a round that have decisions of their own.
const LIVES: u64 = 64;
/// Time between two visits of the watchdog.
const VISIT_EVERY: Duration = Duration::from_millis(100);

/// What the process does that is told `life`.
///
/// # Errors
/// The store or the system refused what a child needs.
pub(crate) fn live(life: &str) -> anyhow::Result<()> {
    let life = serde_json::from_str(life).context("this is no life of a store")?;
    // A parent that is gone takes it with it.
    set_pdeathsig(Signal::SIGKILL)?;
    // What ends a whole group of processes is the parent's to answer: it ends this one when it has heard enough.
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::default())?;
    }
    let teller = Teller::new()?;
    work(&life, &teller).or_else(|error| match want_of(life.folder()) {
        Some(want) => {
            let failure = Failure::of_the_store(want, format!("{error:#}"));
            teller.tell(&Told::Lacks(failure.to_string()));
            Ok(())
        }
        None => Err(error).context("a child that owns the store"),
    })
}

fn work(life: &Life, teller: &Teller) -> anyhow::Result<()> {
    let disk = Disk::new()?;
    let clock = Arc::new(Unsteady::default());
    let options = StoreOptions {
        max_bytes: life.most_bytes,
        outputs_per_agent: OUTPUTS,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..StoreOptions::default()
    };
    let store = SqliteStore::open(&life.file, options)?;
    // Whoever had a claim was killed, or has ended.
    for thread in 0..life.threads {
        store.take_back(Some(&Life::agent(thread)), Durability::Relaxed)?;
    }
    let (room, warm_deck) = (Room::open(life)?, warm::deck());
    let plans = store.plans()?.iter().map(|plan| plan.id).collect();
    let ground = Ground::default();
    let (froze, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let deck = deck(&life.rates);
    let post = Post {
        life,
        deck: &deck,
        store: &store,
        clock: &clock,
        disk: &disk,
        teller,
        stop: &ground.stop,
        froze: &froze,
        plans: Mutex::new(plans),
    };
    teller.tell(&Told::Ready);
    thread::scope(|scope| {
        ground.spawn(scope, || watch(&ground, life.stall_after, teller, &over));
        if let Some((per_second, time)) = life.freezes {
            let freezes = Freezes { per_second, time };
            let (ground, froze, seed) = (&ground, &froze, life.seed ^ life.number);
            let struck = move |_: &Entry, _, _| {
                froze.fetch_add(1, Ordering::Relaxed);
            };
            ground.spawn(scope, move || freeze(ground, freezes, seed, struck));
        }
        ground.round(Kind::Store, life.round, life.threads + KEEPERS, |thread, present| {
            let decisions = life.round * LIVES + life.number;
            let mut rng = generator(life.seed, Kind::Store, decisions, thread);
            match thread.checked_sub(life.threads) {
                None => Worker::new(&post, present).run(&mut rng),
                Some(keeper) => {
                    Keeper::new(&post, (&room, &warm_deck), present, keeper).run(&mut rng)
                }
            }
        });
        ground.stop.stop();
        over.store(true, Ordering::Release);
    });
    if let Some(broken) = ground.stop.what_broke() {
        teller.tell(&Told::Broken(broken.violation.to_string()));
    } else if let Some(failure) = ground.stop.what_failed() {
        teller.tell(&Told::Lacks(failure.to_string()));
    }
    Ok(())
}

/// A thread of it that does not get on is nobody else's to see: the others may keep the parent busy.
fn watch(ground: &Ground, stall_after: Duration, teller: &Teller, over: &AtomicBool) {
    let mut dog = Watchdog::default();
    while !over.load(Ordering::Acquire) {
        if let Some(entry) = dog.stalled(&ground.roll, Instant::now(), stall_after) {
            let violation = Violation::Stalled(stall_after);
            // Now: the thread may never end.
            teller.tell(&Told::Broken(format!("thread {}: {violation}", entry.thread)));
            let (part, round, thread) = (Some(entry.part), entry.round, entry.worker());
            ground.stop.broken(Broken { violation, part, round, thread });
            return;
        }
        thread::park_timeout(VISIT_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::super::lives::LIFE;

    /// What the tests of a part start in place of the program.
    #[test]
    fn child() {
        if let Ok(life) = std::env::var(LIFE) {
            super::live(&life).unwrap();
        }
    }
}
