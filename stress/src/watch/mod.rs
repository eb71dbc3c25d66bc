//! The watcher: looks at every part while the threads work, sees whether each thread gets on, samples what
//! the report is drawn from, prints status lines, and stops the run in time.

mod growth;
pub(crate) mod resources;
pub(crate) mod series;
pub(crate) mod slope;

use std::array;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use latchless_heap::give_back_free_memory;

pub(crate) use self::growth::Growth;
use self::growth::Tracks;
use self::resources::Resources;
use self::series::{Faults, PartSample, Sample, Series};
use crate::crew::Ground;
use crate::crew::roll::Watchdog;
use crate::part::{Fill, Kind};
use crate::phase::Phase;
use crate::report::status::{PartStatus, Stand, Status};
use crate::run::Running;
use crate::stop::Broken;
use crate::tally::Counts;
use crate::view::View;
use crate::violation::Violation;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Time between two looks at what the process takes of the machine.
const WEIGH_EVERY: Duration = Duration::from_millis(100);
/// Time between two visits of the watchdog.
const VISIT_EVERY: Duration = Duration::from_millis(100);

/// What the watcher watches, and what it obeys.
pub(crate) struct Watcher<'a> {
    pub(crate) parts: &'a [Running],
    pub(crate) ground: &'a Ground,
    pub(crate) frozen: &'a AtomicU64,
    pub(crate) over: &'a AtomicBool,
    pub(crate) interrupted: &'a AtomicBool,
    pub(crate) deadline: Option<Instant>,
    pub(crate) view: &'a dyn View,
    /// Time without an operation after which a thread has stalled.
    pub(crate) stall_after: Duration,
    /// Time from which on growth is judged.
    pub(crate) judge_after: Duration,
}

/// What was seen.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Looks at each part.
    pub(crate) looks: u64,
    /// The fullest and the busiest that each part was.
    pub(crate) most: Vec<Fill>,
    pub(crate) series: Series,
    pub(crate) most_resources: Resources,
    pub(crate) growth: Growth,
}

impl Seen {
    /// Nothing yet, of so many parts.
    pub(crate) fn of(parts: usize) -> Self {
        Self { most: vec![Fill::default(); parts], ..Self::default() }
    }
}

/// Counts at some time, of which the next ones are the continuation.
struct Since {
    at: Instant,
    counts: Vec<Counts>,
    frozen: u64,
}

impl Watcher<'_> {
    /// Watches until the run is over. When a thread has stalled, it cannot be waited for: `give_up` is
    /// called, and should not return.
    pub(crate) fn watch(&self, seen: &mut Seen, give_up: impl Fn(&Seen)) {
        let begun = Instant::now();
        let mut dog = Watchdog::default();
        let mut tracks = Tracks::new(self.judge_after);
        let [mut visited, mut weighed, mut trimmed] = [begun; 3];
        let [mut told, mut sampled] = [self.since(begun), self.since(begun)];
        loop {
            let fills = self.look(seen);
            let now = Instant::now();
            if now.duration_since(told.at) >= self.view.every() {
                let next = self.since(now);
                self.view.show(self.status(begun, &told, &next, &fills, tracks.bytes()));
                told = next;
            }
            if now.duration_since(sampled.at) >= seen.series.every() {
                sampled = self.sample(begun, &sampled, &fills, seen);
            }
            if self.interrupted.load(Ordering::Acquire) {
                self.ground.stop.interrupt();
            }
            if self.deadline.is_some_and(|deadline| now >= deadline) {
                self.ground.stop.stop();
            }
            if now.duration_since(weighed) >= WEIGH_EVERY {
                weighed = now;
                if now.duration_since(trimmed) >= tracks.trim_every() {
                    trimmed = now;
                    give_back_free_memory();
                }
                let now = Resources::now();
                seen.most_resources.rise_to(&now);
                tracks.see(begun.elapsed(), &now);
            }
            if self.over.load(Ordering::Acquire) {
                self.sample(begun, &sampled, &fills, seen);
                seen.growth = tracks.growth();
                if let Err(violation) = seen.growth.judge() {
                    let (part, round, thread) = (None, 0, None);
                    self.ground.stop.broken(Broken { violation, part, round, thread });
                }
                return;
            }
            if now.duration_since(visited) >= VISIT_EVERY {
                visited = now;
                if let Some(entry) = dog.stalled(&self.ground.roll, now, self.stall_after) {
                    self.ground.stop.broken(Broken {
                        violation: Violation::Stalled(self.stall_after),
                        part: Some(entry.part),
                        round: entry.round,
                        thread: entry.worker(),
                    });
                    give_up(seen);
                    return;
                }
            }
            thread::park_timeout(LOOK_EVERY);
        }
    }

    /// A look at every part, in which what must always hold does.
    fn look(&self, seen: &mut Seen) -> Vec<Fill> {
        seen.looks += 1;
        let one = |(running, most): (&Running, &mut Fill)| match running.part.look() {
            Ok(fill) => {
                most.used = most.used.max(fill.used);
                most.in_flight = most.in_flight.max(fill.in_flight);
                most.total = most.total.max(fill.total);
                fill
            }
            Err(violation) => {
                let round = running.round();
                self.ground.check_failed(running.part.kind(), round, violation);
                Fill::default()
            }
        };
        self.parts.iter().zip(&mut seen.most).map(one).collect()
    }

    fn since(&self, at: Instant) -> Since {
        Since {
            at,
            counts: self.parts.iter().map(|running| running.part.tally().snapshot()).collect(),
            frozen: self.frozen.load(Ordering::Relaxed),
        }
    }

    fn differences(&self, before: &Since, now: &Since) -> Difference {
        let counts = now.counts.iter().zip(&before.counts).map(|(now, before)| now.since(before));
        Difference {
            time: now.at.duration_since(before.at),
            parts: self.parts.iter().map(|running| running.part.kind()).zip(counts).collect(),
            frozen: now.frozen - before.frozen,
        }
    }

    fn status(
        &self,
        begun: Instant,
        told: &Since,
        now: &Since,
        fills: &[Fill],
        growth: Option<f64>,
    ) -> Status {
        let Difference { time, parts, frozen } = self.differences(told, now);
        let parts = self.parts.iter().zip(parts).zip(&now.counts).zip(fills);
        let parts = parts.map(|(((running, (kind, since)), in_all), fill)| {
            let (part, round) = (&running.part, running.round());
            let stand = Stand {
                phase: Phase::of_round(round).name(),
                round,
                fill: *fill,
                gauges: part.gauges(),
                map: part.map(self.view.cells()),
            };
            PartStatus::new(kind, &since, in_all, time, stand)
        });
        Status::new(begun, parts.collect(), [frozen, now.frozen], growth)
    }

    fn sample(&self, begun: Instant, last: &Since, fills: &[Fill], seen: &mut Seen) -> Since {
        let next = self.since(Instant::now());
        let Difference { time, parts, frozen } = self.differences(last, &next);
        let resources = Resources::now();
        seen.most_resources.rise_to(&resources);
        let mut all = parts.iter().zip(fills);
        let all = array::from_fn(|_| {
            let ((kind, counts), fill) = all.next()?;
            Some(PartSample::new(*kind, counts, *fill))
        });
        seen.series.push(&Sample {
            at: next.at.duration_since(begun).as_secs_f64(),
            seconds: time.as_secs_f64(),
            parts: all,
            resources,
            freezes: frozen,
            faults: Faults::of(&parts.iter().map(|(_, counts)| counts)),
        });
        next
    }
}

/// What came between two moments.
pub(crate) struct Difference {
    pub(crate) time: Duration,
    pub(crate) parts: Vec<(Kind, Counts)>,
    pub(crate) frozen: u64,
}
