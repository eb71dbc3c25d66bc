//! The durable store and the engine's cache under load: a child process owns them, works with several threads, and
//! is killed at random instants, while its disk fails and its clock jumps. After each of its lives the database and
//! the cache's folder are held against what was acknowledged: every task, change, note, output and state is there,
//! whole and once.
//!
//! A killed process loses nothing that the system has: this does not show what a loss of power does.

mod child;
mod clock;
mod disk;
mod found;
mod life;
mod lives;
pub(crate) mod phases;
mod shadow;
mod told;
mod turn;
mod warm;
mod worker;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;

pub(crate) use self::child::live;
use self::disk::want_of;
use self::found::Found;
use self::life::{Death, Life, threads};
use self::lives::{End, Living};
use self::phases::Action;
use self::shadow::Shadow;
use self::told::{Incident, Told};
use self::warm::{KEEPERS, Kept};
use crate::crew::Ground;
use crate::crew::roll::Present;
use crate::failure::Failure;
use crate::part::{Fill, Kind, Part};
use crate::plan::Plan;
use crate::scratch::Scratch;
use crate::seed::generator;
use crate::stop::Stop;
use crate::tally::{Columns, Counts, Tally};
use crate::violation::Violation;

/// Lives of a round: one of each kind.
const LIVES: u64 = 4;

/// What comes of a decision.
#[derive(Debug, Clone, Copy)]
enum Came {
    Plans,
    Claimed,
    Finished,
    Failed,
    Recorded,
    Noted,
    PutOut,
    /// Results that came after their task was taken back.
    Stale,
    /// Children that were killed.
    Killed,
    /// Children that ended by themselves.
    Ended,
    Full,
    Io,
    Jumps,
    Panics,
    /// States that the cache acknowledged, gave, and let go for others.
    Saved,
    Loaded,
    Evicted,
    /// Saves, loads and removals that the system refused.
    Unkept,
    /// Files that a killed child left half-written.
    HalfWritten,
}

/// What is timed.
#[derive(Debug, Clone, Copy)]
enum Timed {
    Claim,
    Finish,
    Record,
    Save,
}

/// What both kinds of a child's threads decide to do, those of the store first.
const ACTIONS: [&str; Action::COUNT + warm::Action::COUNT] = {
    let mut names = [""; Action::COUNT + warm::Action::COUNT];
    let mut at = 0;
    while at < names.len() {
        let of_the_cache = at >= Action::COUNT;
        names[at] =
            if of_the_cache { warm::Action::NAMES[at - Action::COUNT] } else { Action::NAMES[at] };
        at += 1;
    }
    names
};

static COLUMNS: Columns = Columns {
    actions: &ACTIONS,
    outcomes: &[
        "plans",
        "claimed",
        "finished",
        "given up",
        "records",
        "notes",
        "outputs",
        "stale results",
        "kills",
        "orderly ends",
        "full disks",
        "I/O errors",
        "clock jumps",
        "panics",
        "cache saves",
        "cache loads",
        "cache evictions",
        "cache refusals",
        "half-written files",
    ],
    needed: Came::Finished as usize,
    timed: &["durable claim", "durable finish", "durable record", "cache save"],
};

/// The part.
pub(crate) struct Store {
    plan: Plan,
    tally: Tally,
    /// Tasks that were stored in this round, and of them those that have ended.
    tasks: AtomicU64,
    ended: AtomicU64,
    /// Threads of children that were frozen, in the whole run.
    frozen: AtomicU64,
}

impl Store {
    pub(crate) fn new(plan: &Plan) -> Self {
        let [tasks, ended, frozen] = [(); 3].map(|()| AtomicU64::new(0));
        Self { plan: plan.clone(), tally: Tally::new(&COLUMNS), tasks, ended, frozen }
    }

    /// Life after life on one database.
    fn lives(&self, round: u64, present: &Present<'_>, stop: &Stop) -> Result<(), Violation> {
        let folder = match Scratch::new() {
            Ok(folder) => folder,
            Err(error) => {
                stop.failed(Failure::folder(error));
                return Ok(());
            }
        };
        let mut counts = Counts::new(&COLUMNS);
        let lived = self.lives_in(folder.path(), round, &mut counts, (present, stop));
        self.tally.collect(&mut counts);
        lived
    }

    fn lives_in(
        &self,
        folder: &Path,
        round: u64,
        counts: &mut Counts,
        (present, stop): (&Present<'_>, &Stop),
    ) -> Result<(), Violation> {
        let file = folder.join("agents.db");
        let mut rng = generator(self.plan.seed, Kind::Store, round, u16::MAX);
        let mut shadow = Shadow::default();
        for number in 0..LIVES {
            if stop.is_stopped() {
                break;
            }
            let (life, killed) =
                self.life(&file, [round, number], &mut rng, &mut shadow, counts, (present, stop))?;
            let found = match Found::read(&file, threads(&self.plan)) {
                Ok(found) => found,
                Err(error) => {
                    let seen = Violation::answer("the store is readable", error);
                    return match want_of(folder) {
                        None => Err(seen),
                        Some(error) => {
                            stop.failed(Failure::of_the_store(error, seen.to_string()));
                            Ok(())
                        }
                    };
                }
            };
            let broken = |what| Violation::Store { lives: number + 1, what };
            shadow.check(&found).map_err(broken)?;
            let half = shadow.warm.check(&life.cache(), life.phase(), killed).map_err(broken)?;
            counts.outcomes[Came::HalfWritten as usize] += half;
            self.tally.offer(counts);
            present.beat();
        }
        Ok(())
    }

    fn life(
        &self,
        file: &Path,
        [round, number]: [u64; 2],
        rng: &mut Rng,
        shadow: &mut Shadow,
        counts: &mut Counts,
        (present, stop): (&Present<'_>, &Stop),
    ) -> Result<(Life, bool), Violation> {
        let bytes = fs::metadata(file).map_or(0, |file| file.len());
        let (life, death) = Life::draw(rng, &self.plan, round, number, file.to_owned(), bytes);
        shadow.begin(&life);
        let living = match Living::start(&life) {
            Ok(living) => living,
            Err(error) => {
                stop.failed(Failure::process(error));
                return Ok((life, true));
            }
        };
        let hear = |told: Told| {
            if let Told::Lacks(what) = &told {
                stop.failed(Failure::InChild(what.clone()));
            }
            self.note(&told, counts);
            shadow.take(&told).map_err(|what| Violation::Store { lives: number + 1, what })
        };
        let end = living.listen(death, present, stop, hear)?;
        // Whoever is killed because the run is over has not met its death.
        match (death, &end) {
            (Death::Itself, End::Itself) => counts.outcomes[Came::Ended as usize] += 1,
            (Death::Killed { .. }, End::Killed) => counts.outcomes[Came::Killed as usize] += 1,
            (_, End::Failed(what)) => stop.failed(Failure::InChild(what.clone())),
            _ => {}
        }
        Ok((life, end != End::Itself))
    }

    fn note(&self, told: &Told, counts: &mut Counts) {
        let mut came = |came: Came| counts.outcomes[came as usize] += 1;
        let mut timed = None;
        match told {
            Told::Ready
            | Told::Broken(_)
            | Told::Lacks(_)
            | Told::Kept(Kept::Forgetting(_) | Kept::Forgot(_)) => {}
            Told::Froze(count) => {
                self.frozen.fetch_add(*count, Ordering::Relaxed);
            }
            Told::Did(action) => {
                if let Some(count) = counts.actions.get_mut(*action) {
                    *count += 1;
                }
            }
            Told::Plan { tasks, .. } => {
                came(Came::Plans);
                self.tasks.fetch_add(*tasks as u64, Ordering::Relaxed);
            }
            Told::Claimed { ns, .. } => {
                came(Came::Claimed);
                timed = ns.map(|ns| (Timed::Claim, ns));
            }
            Told::Finished { ns, .. } => {
                came(Came::Finished);
                self.ended.fetch_add(1, Ordering::Relaxed);
                timed = ns.map(|ns| (Timed::Finish, ns));
            }
            Told::Failed { .. } => {
                came(Came::Failed);
                self.ended.fetch_add(1, Ordering::Relaxed);
            }
            Told::Recorded { ns, .. } => {
                came(Came::Recorded);
                timed = ns.map(|ns| (Timed::Record, ns));
            }
            Told::Kept(Kept::Did(action)) => {
                if let Some(count) = counts.actions.get_mut(Action::COUNT + action) {
                    *count += 1;
                }
            }
            Told::Kept(Kept::Saved { ns, .. }) => {
                came(Came::Saved);
                timed = ns.map(|ns| (Timed::Save, ns));
            }
            Told::Kept(Kept::Loaded) => came(Came::Loaded),
            Told::Kept(Kept::Evicted) => came(Came::Evicted),
            Told::Kept(Kept::Refused) => came(Came::Unkept),
            Told::Noted { .. } => came(Came::Noted),
            Told::PutOut { .. } => came(Came::PutOut),
            Told::Came(incident) => came(match incident {
                Incident::Stale => Came::Stale,
                Incident::Full => Came::Full,
                Incident::Io => Came::Io,
                Incident::Jump => Came::Jumps,
                Incident::Panic => Came::Panics,
            }),
        }
        if let Some((timed, ns)) = timed {
            counts.record(timed as usize, Some(Duration::from_nanos(ns)));
        }
    }
}

impl Part for Store {
    fn kind(&self) -> Kind {
        Kind::Store
    }

    fn threads(&self) -> u16 {
        threads(&self.plan) + KEEPERS
    }

    fn round(&self, ground: &Ground, round: u64) {
        self.tasks.store(0, Ordering::Relaxed);
        self.ended.store(0, Ordering::Relaxed);
        // One thread here: the others are the child's.
        ground.round(Kind::Store, round, 1, |_, present| self.lives(round, present, &ground.stop));
    }

    fn check(&self, _: &Present<'_>) -> Result<(), Violation> {
        // After each life it was.
        Ok(())
    }

    fn end(&self, _: &Present<'_>) -> Result<(), Violation> {
        Ok(())
    }

    fn look(&self) -> Result<Fill, Violation> {
        let total = self.tasks.load(Ordering::Relaxed);
        let ended = self.ended.load(Ordering::Relaxed);
        Ok(Fill { used: total.saturating_sub(ended), total, in_flight: 0 })
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        vec![("frozen in the child", self.frozen.load(Ordering::Relaxed))]
    }
}
