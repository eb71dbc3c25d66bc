//! The context of one plan: its changesets, in the order in which they were started.

use std::fmt;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use thiserror::Error;

use super::log::{Items, Log};
use super::segment::Segments;
use super::table::{MAX_ENTRIES, Table};
use crate::contention::Tally;
use crate::mutant::{mutant, weaker};
use crate::sync::{AtomicU64, Ordering};

/// A changeset of one plan: the first one is 0, and each has the number after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangesetId(pub u64);

impl fmt::Display for ChangesetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The changesets of a plan, which agents start, record changes into and seal, all at the same time.
///
/// - A record that begins after [`start`](Self::start) returned goes to that changeset or a newer one.
/// - Each record lands in one changeset, once.
/// - [`seal`](Self::seal) closes a changeset: it returns every record that is in it or will ever be. Who
///   comes later goes to the newest one.
///
/// Recording is lock-free, and a thread that is frozen anywhere delays nobody. It allocates only when more
/// records are in the context at once than ever before: room for 32 of them, which is used again after their
/// seal. Records leave the context with the seal. What stays until the context is dropped is that room, and 8
/// bytes for each changeset that was started; no memory waits for an epoch.
///
/// ```
/// use latchless::{ChangesetId, PlanContext, RecordError};
///
/// let plan = PlanContext::new();
/// assert_eq!(plan.record("too early"), Err(RecordError::NotStarted("too early")));
///
/// let first = plan.start()?;
/// assert_eq!(plan.record("write main.rs"), Ok(first));
/// let second = plan.start()?;
/// assert_eq!(plan.record("write lib.rs"), Ok(second));
///
/// assert_eq!(plan.seal(first)?.collect::<Vec<_>>(), ["write main.rs"]);
/// assert_eq!(plan.seal(second)?.len(), 1);
/// assert_eq!(plan.record("nowhere to go"), Err(RecordError::Sealed("nowhere to go", second)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PlanContext<T> {
    /// Changesets that were started: the one publication point.
    started: CachePadded<AtomicU64>,
    changesets: Table<Log>,
    segments: Arc<Segments<T>>,
    met: Tally<EVENTS>,
}

/// What is counted.
enum Event {
    StartRetry,
    RecordRetry,
    Late,
}

const EVENTS: usize = Event::Late as usize + 1;

/// How often threads came into each other's way in a plan, since it was made: see
/// [`PlanContext::contention`].
///
/// ```
/// use latchless::{PlanContext, PlanContention};
///
/// let plan = PlanContext::new();
/// plan.start()?;
/// plan.record("moved a paragraph")?;
/// let PlanContention { record_retries, segments, .. } = plan.contention();
/// assert_eq!((record_retries, segments), (0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PlanContention {
    /// Starts that another one came before, and that were tried again.
    pub start_retries: u64,
    /// Places and segments that another recorder took first.
    pub record_retries: u64,
    /// Records that came too late for the newest changeset they knew, and went to a newer one or were
    /// refused.
    pub late: u64,
    /// Room for records that was made: for 32 each. Constant in the steady state.
    pub segments: u64,
}

/// A change was not recorded; it is given back here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError<T> {
    /// There is no changeset yet.
    #[error("no changeset was started; start one, then record")]
    NotStarted(T),
    /// All changesets are sealed.
    #[error("changeset {1}, the newest, is sealed; start another one, then record")]
    Sealed(T, ChangesetId),
}

impl<T> RecordError<T> {
    /// The change.
    pub fn into_change(self) -> T {
        match self {
            Self::NotStarted(change) | Self::Sealed(change, _) => change,
        }
    }
}

/// A changeset was not sealed.
///
/// ```
/// use latchless::{PlanContext, SealError};
///
/// let plan = PlanContext::new();
/// let changeset = plan.start()?;
/// plan.record("moved a paragraph")?;
/// plan.seal(changeset)?;
/// assert_eq!(plan.seal(changeset).unwrap_err(), SealError::Sealed { changeset });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// It was not started.
    #[error("changeset {changeset} was not started; {started} were, from 0 on")]
    Unknown {
        /// The changeset.
        changeset: ChangesetId,
        /// Changesets that were.
        started: u64,
    },
    /// Somebody sealed it before, and has its records.
    #[error("changeset {changeset} is sealed; whoever sealed it has its records")]
    Sealed {
        /// The changeset.
        changeset: ChangesetId,
    },
}

/// A plan has as many changesets as it can have.
///
/// ```
/// use latchless::TooManyChangesets;
/// let refused = TooManyChangesets { started: 9 };
/// assert!(refused.to_string().contains("go on in another plan"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the plan has {started} changesets, and cannot have more; go on in another plan")]
pub struct TooManyChangesets {
    /// Changesets that were started.
    pub started: u64,
}

impl<T> Default for PlanContext<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> PlanContext<T> {
    /// A plan without a changeset.
    pub fn new() -> Self {
        Self {
            started: CachePadded::new(AtomicU64::new(0)),
            changesets: Table::new(),
            segments: Arc::new(Segments::new()),
            met: Tally::new(),
        }
    }

    /// Starts a changeset, which is the newest from now on. Earlier ones stay open until they are sealed.
    ///
    /// # Errors
    /// [`TooManyChangesets`] after 2^29 of them, about.
    pub fn start(&self) -> Result<ChangesetId, TooManyChangesets> {
        let mut started = self.started();
        loop {
            // Made before it is published: whoever sees the number finds the changeset.
            let make = || self.changesets.get_or_make(started, Log::new).is_some();
            let made = mutant("plan.published-unmade") || make();
            if !made {
                return Err(TooManyChangesets { started: MAX_ENTRIES });
            }
            // AcqRel: what was done before this start is seen by whoever records after it.
            match self.started.compare_exchange(
                started,
                started + 1,
                weaker("plan.start-relaxed", Ordering::AcqRel),
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    let _made = !mutant("plan.published-unmade") || make();
                    return Ok(ChangesetId(started));
                }
                Err(now) => {
                    self.met.count(Event::StartRetry as usize);
                    started = now;
                }
            }
        }
    }

    /// Records a change in the newest changeset, and says in which.
    ///
    /// # Errors
    /// [`RecordError`] with the change, when no changeset was started or the newest one is sealed.
    ///
    /// # Panics
    /// When about 2^34 records are in the context at once.
    pub fn record(&self, change: T) -> Result<ChangesetId, RecordError<T>> {
        let mut change = change;
        let mut started = self.started();
        loop {
            let newest = started.checked_sub(1).map(ChangesetId);
            let Some((newest, changeset)) = newest.zip(newest.and_then(|id| self.changeset(id)))
            else {
                return Err(RecordError::NotStarted(change));
            };
            let lost = || self.met.count(Event::RecordRetry as usize);
            match changeset.record(&self.segments, change, lost) {
                Ok(()) => return Ok(newest),
                Err(back) => change = back,
            }
            self.met.count(Event::Late as usize);
            // Sealed. A newer one may have been started since; if not, there was an instant at which the
            // newest was sealed: after the push that failed and before this load.
            let now = self.started();
            if now == started || mutant("plan.newest-looked-at-once") {
                return Err(RecordError::Sealed(change, newest));
            }
            started = now;
        }
    }

    /// Seals a changeset and takes its records, in the order in which they were recorded. Of several who
    /// seal one, one gets them. Wait-free: a step for every 32 records.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, changeset: ChangesetId) -> Result<SealedChangeset<T>, SealError> {
        let started = self.started();
        let unknown = SealError::Unknown { changeset, started };
        if changeset.0 >= started {
            return Err(unknown);
        }
        let log = self.changeset(changeset).ok_or(unknown)?;
        let items = log.seal(&self.segments).ok_or(SealError::Sealed { changeset })?;
        Ok(SealedChangeset { id: changeset, items })
    }

    /// How often threads came into each other's way. Wait-free: counters that are read one after another.
    pub fn contention(&self) -> PlanContention {
        let met = |event: Event| self.met.sum(event as usize);
        PlanContention {
            start_retries: met(Event::StartRetry),
            record_retries: met(Event::RecordRetry),
            late: met(Event::Late),
            segments: self.segments.made(),
        }
    }

    /// The newest changeset; `None` before the first.
    pub fn newest(&self) -> Option<ChangesetId> {
        self.started().checked_sub(1).map(ChangesetId)
    }

    /// Whether a changeset is sealed; `None` when it was not started.
    pub fn is_sealed(&self, changeset: ChangesetId) -> Option<bool> {
        let log = (changeset.0 < self.started()).then(|| self.changeset(changeset)).flatten()?;
        Some(log.is_sealed())
    }

    #[inline]
    fn started(&self) -> u64 {
        // Acquire: pairs with the start.
        self.started.load(weaker("plan.newest-relaxed", Ordering::Acquire))
    }

    #[inline]
    fn changeset(&self, id: ChangesetId) -> Option<&Log> {
        self.changesets.get(id.0)
    }
}

impl<T> Drop for PlanContext<T> {
    fn drop(&mut self) {
        for id in 0..self.started() {
            // What nobody sealed. The room for it goes with the last list of records.
            drop(self.changeset(ChangesetId(id)).and_then(|log| log.seal(&self.segments)));
        }
    }
}

impl<T> fmt::Debug for PlanContext<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanContext").field("started", &self.started()).finish_non_exhaustive()
    }
}

/// A sealed changeset's records, oldest first. Those that are not asked for are dropped with it.
///
/// ```
/// use latchless::{PlanContext, SealedChangeset};
///
/// let plan = PlanContext::new();
/// let changeset = plan.start()?;
/// plan.record("first")?;
/// plan.record("second")?;
/// let sealed: SealedChangeset<_> = plan.seal(changeset)?;
/// assert_eq!(sealed.collect::<Vec<_>>(), ["first", "second"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SealedChangeset<T> {
    id: ChangesetId,
    items: Items<T>,
}

impl<T> SealedChangeset<T> {
    /// The changeset.
    pub fn id(&self) -> ChangesetId {
        self.id
    }
}

impl<T> Iterator for SealedChangeset<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.items.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl<T> ExactSizeIterator for SealedChangeset<T> {}

impl<T> fmt::Debug for SealedChangeset<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedChangeset")
            .field("id", &self.id)
            .field("records", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU64 as Count;
    use std::thread;

    use super::*;

    #[test]
    fn case_35_a_record_before_any_start_is_refused() {
        let plan = PlanContext::new();
        assert_eq!(plan.record(5), Err(RecordError::NotStarted(5)));
        assert_eq!((plan.newest(), plan.is_sealed(ChangesetId(0))), (None, None));
        let unknown = SealError::Unknown { changeset: ChangesetId(0), started: 0 };
        assert_eq!(plan.seal(ChangesetId(0)).unwrap_err(), unknown);
    }

    #[test]
    fn case_35_a_changeset_may_be_empty() {
        let plan = PlanContext::<u32>::new();
        let id = plan.start().unwrap();
        assert_eq!(
            (id, plan.newest(), plan.is_sealed(id)),
            (ChangesetId(0), Some(id), Some(false))
        );
        let sealed = plan.seal(id).unwrap();
        assert_eq!((sealed.id(), sealed.len()), (id, 0));
        assert_eq!(plan.is_sealed(id), Some(true));
        assert_eq!(plan.seal(id).unwrap_err(), SealError::Sealed { changeset: id });
    }

    #[test]
    fn records_go_to_the_newest_and_never_back() {
        let plan = PlanContext::new();
        let [first, second] = [(); 2].map(|()| plan.start().unwrap());
        assert_eq!(plan.record(1), Ok(second));
        drop(plan.seal(second).unwrap());
        let error = plan.record(2).unwrap_err();
        assert_eq!(error, RecordError::Sealed(2, second), "the first is open, and older");
        assert_eq!(error.into_change(), 2);
        let third = plan.start().unwrap();
        assert_eq!(plan.record(2), Ok(third));
        assert_eq!(plan.seal(first).unwrap().len(), 0);
        assert_eq!(plan.seal(third).unwrap().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn who_comes_too_late_is_counted() {
        let plan = PlanContext::new();
        let id = plan.start().unwrap();
        plan.record(1).unwrap();
        drop(plan.seal(id).unwrap());
        for late in 1..=3 {
            assert!(plan.record(2).is_err());
            let expected = PlanContention { late, segments: 1, ..PlanContention::default() };
            assert_eq!(plan.contention(), expected);
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        let early = RecordError::NotStarted(()).to_string();
        assert_eq!(early, "no changeset was started; start one, then record");
        let sealed = RecordError::Sealed((), ChangesetId(3)).to_string();
        assert_eq!(sealed, "changeset 3, the newest, is sealed; start another one, then record");
    }

    #[test]
    fn a_plan_and_a_sealed_changeset_show_counts_and_not_records() {
        let plan = PlanContext::default();
        let id = plan.start().unwrap();
        for secret in ["first", "second"] {
            plan.record(secret).unwrap();
        }
        assert_eq!(format!("{plan:?}"), "PlanContext { started: 1, .. }");
        let sealed = format!("{:?}", plan.seal(id).unwrap());
        assert_eq!(sealed, "SealedChangeset { id: ChangesetId(0), records: 2, .. }");
    }

    /// The scenario of the seed: two threads, of which one starts changesets while the other records. A
    /// record that began after a start returned is in that changeset or a newer one.
    #[test]
    fn row_6_no_record_goes_to_a_stale_changeset() {
        const ROUNDS: u64 = 20_000;
        let plan = PlanContext::new();
        let told = Count::new(0);
        let (plan, told) = (&plan, &told);
        let recorded = thread::scope(|scope| {
            let recorder = scope.spawn(move || {
                let mut recorded = Vec::new();
                while told.load(Ordering::Acquire) < ROUNDS {
                    let newest = told.load(Ordering::Acquire);
                    match plan.record(recorded.len()) {
                        Ok(id) => {
                            assert!(id.0 + 1 >= newest, "{id} after {newest} were started");
                            recorded.push(id);
                        }
                        Err(RecordError::NotStarted(_)) => assert_eq!(newest, 0),
                        Err(error) => panic!("{error}"),
                    }
                }
                recorded
            });
            for _ in 0..ROUNDS {
                let id = plan.start().unwrap();
                told.store(id.0 + 1, Ordering::Release);
            }
            recorder.join().unwrap()
        });
        let landed: Vec<_> = (0..ROUNDS)
            .flat_map(|id| plan.seal(ChangesetId(id)).unwrap().map(move |i| (i, ChangesetId(id))))
            .collect();
        let told: Vec<_> = recorded.into_iter().enumerate().collect();
        assert_eq!(landed, told, "each where it was said to be, once, in order");
    }

    /// Four record while two seal and start: every record is in one sealed changeset, the one it was
    /// told.
    #[test]
    fn each_record_lands_once_while_others_seal() {
        const RECORDS: u64 = 5_000;
        for _ in 0..10 {
            let plan = PlanContext::new();
            plan.start().unwrap();
            let (plan, barrier) = (&plan, &Barrier::new(6));
            let (told, mut landed) = thread::scope(|scope| {
                let recorders: Vec<_> = (0..4)
                    .map(|thread| {
                        scope.spawn(move || {
                            barrier.wait();
                            let mut told = Vec::new();
                            for i in 0..RECORDS {
                                let mut change = thread * RECORDS + i;
                                loop {
                                    match plan.record(change) {
                                        Ok(id) => break told.push((id, thread * RECORDS + i)),
                                        Err(error) => change = error.into_change(),
                                    }
                                    thread::yield_now();
                                }
                            }
                            told
                        })
                    })
                    .collect();
                let sealers: Vec<_> = (0..2)
                    .map(|_| {
                        scope.spawn(move || {
                            barrier.wait();
                            let mut landed = Vec::new();
                            for _ in 0..500 {
                                let id = plan.start().unwrap();
                                if let Ok(sealed) = plan.seal(ChangesetId(id.0 - 1)) {
                                    landed.extend(
                                        sealed.map(|change| (ChangesetId(id.0 - 1), change)),
                                    );
                                }
                            }
                            landed
                        })
                    })
                    .collect();
                let join = |thread: thread::ScopedJoinHandle<'_, Vec<_>>| thread.join().unwrap();
                let told: Vec<_> = recorders.into_iter().flat_map(join).collect();
                (told, sealers.into_iter().flat_map(join).collect::<Vec<_>>())
            });
            for id in 0..=plan.newest().unwrap().0 {
                if let Ok(sealed) = plan.seal(ChangesetId(id)) {
                    landed.extend(sealed.map(|change| (ChangesetId(id), change)));
                }
            }
            let mut told = told;
            told.sort_unstable();
            landed.sort_unstable();
            assert_eq!(landed, told);
        }
    }
}
