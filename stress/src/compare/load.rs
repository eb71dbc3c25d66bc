//! What the pool part decides, for a pool that knows agents and blocks and nothing else: taking, giving back,
//! and agents that come and leave. What a mutex port does not know, such as splits and transfers, neither
//! does here.

use std::time::Instant;

use fastrand::Rng;
use latchless_benches::Churn;
use latchless_freezing::times_frozen;

use super::delays::SlowOperation;
use crate::phase::Phase;
use crate::pool::phases::{Action, Decision, Deck, Scale, decide, target};
use crate::stop::Stop;
use crate::tally::{Columns, Counts};
use crate::violation::Violation;

/// What a thread holds at most: requests that go on at a time.
pub(super) const HANDS: usize = 16;

/// Decisions between two looks whether it is over.
const AT_A_TIME: u32 = 64;

/// What comes of taking.
#[derive(Debug, Clone, Copy)]
enum Came {
    Granted,
    Refused,
    /// Operations in which their own thread was frozen: they are not timed.
    Frozen,
}

/// What is done, and timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Take,
    GiveBack,
    /// An agent comes and leaves, with blocks, and a new geometry is tried.
    Churn,
}

pub(super) static COLUMNS: Columns = Columns {
    actions: &["take", "give back", "churn"],
    outcomes: &["granted", "refused", "frozen within"],
    needed: Came::Granted as usize,
    timed: &["take", "give back", "churn"],
};

/// What a decision comes to.
fn steps(action: Action) -> &'static [Step] {
    match action {
        Action::Pair => &[Step::Take, Step::GiveBack],
        Action::Allocate
        | Action::AllocateHandles
        | Action::AllocateSequence
        | Action::AllocateCommon => &[Step::Take],
        Action::Free | Action::Unwind | Action::FreeAgent | Action::FreeCommon => &[Step::GiveBack],
        Action::Reregister | Action::UnregisterCommon | Action::Reconfigure => &[Step::Churn],
        _ => &[],
    }
}

/// One thread of a turn.
pub(super) struct Worker<'pool, C: Churn> {
    pool: &'pool C,
    /// Those that hold something first.
    hands: Vec<(C::Hand<'pool>, u32)>,
    full: usize,
    in_hand: u32,
    pub(super) counts: Counts,
    pub(super) slow: Vec<SlowOperation>,
}

impl<'pool, C: Churn> Worker<'pool, C> {
    pub(super) fn new(pool: &'pool C) -> Self {
        Self {
            pool,
            hands: (0..HANDS).map(|_| (pool.hand(), 0)).collect(),
            full: 0,
            in_hand: 0,
            counts: Counts::new(&COLUMNS),
            slow: Vec::new(),
        }
    }

    /// Decides and does until it is over, and gives everything back.
    pub(super) fn run(
        &mut self,
        deck: &Deck,
        rng: &mut Rng,
        phase: Phase,
        scale: Scale,
        stop: &Stop,
    ) -> Result<(), Violation> {
        let target = target(phase, scale);
        loop {
            for _ in 0..AT_A_TIME {
                let Decision { action, blocks, pick, .. } = decide(deck, phase, rng, scale);
                for step in steps(action) {
                    self.step(*step, blocks, pick, target)?;
                }
            }
            if stop.is_stopped() {
                break;
            }
        }
        while self.full > 0 {
            self.step(Step::GiveBack, 0, 0, 0)?;
        }
        Ok(())
    }

    fn step(&mut self, step: Step, blocks: u32, pick: usize, target: u32) -> Result<(), Violation> {
        // Whoever has his share, or both hands full, gives back instead of taking more.
        let fits = self.full < HANDS && self.in_hand + blocks <= target;
        match step {
            Step::Take if fits => {
                let (pool, at) = (self.pool, self.full);
                let (hand, held) = &mut self.hands[at];
                let granted =
                    timed(step, &mut self.counts, &mut self.slow, || pool.take(hand, blocks));
                if granted.is_ok() {
                    *held = blocks;
                    self.in_hand += blocks;
                    self.full += 1;
                    self.counts.outcomes[Came::Granted as usize] += 1;
                } else {
                    self.counts.outcomes[Came::Refused as usize] += 1;
                }
            }
            Step::Take | Step::GiveBack => {
                let Some(at) = pick.checked_rem(self.full) else { return Ok(()) };
                let pool = self.pool;
                let (hand, held) = &mut self.hands[at];
                let given = timed(Step::GiveBack, &mut self.counts, &mut self.slow, || {
                    pool.give_back(hand)
                });
                given.map_err(|error| Violation::answer("blocks that are held", error))?;
                self.in_hand -= std::mem::take(held);
                self.full -= 1;
                self.hands.swap(at, self.full);
            }
            Step::Churn => {
                let pool = self.pool;
                timed(step, &mut self.counts, &mut self.slow, || pool.churn(blocks));
            }
        }
        Ok(())
    }
}

/// Carries out an operation, and records how long it took; not when its thread was frozen meanwhile, which
/// says nothing of the operation.
fn timed<R>(
    step: Step,
    counts: &mut Counts,
    slow: &mut Vec<SlowOperation>,
    operation: impl FnOnce() -> R,
) -> R {
    let frozen = times_frozen();
    let begun = Instant::now();
    let result = operation();
    let ended = Instant::now();
    counts.actions[step as usize] += 1;
    if times_frozen() == frozen {
        counts.record(step as usize, Some(ended - begun));
        SlowOperation::note(slow, begun, ended);
    } else {
        counts.outcomes[Came::Frozen as usize] += 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use latchless_benches::baseline::MutexOwner;
    use latchless_benches::latchless_pool::Leases;

    use super::*;
    use crate::fault::Rates;
    use crate::pool::phases::deck;

    /// What one thread takes and is refused is the decisions' alone: the same for both.
    fn alone<C: Churn>(phase: Phase) -> (Vec<u64>, Vec<u64>) {
        let scale = Scale { blocks: 300, threads: 1 };
        let pool = C::new(scale.blocks);
        let mut worker = Worker::new(&pool);
        let (deck, mut rng) = (deck(&Rates::default()), Rng::with_seed(7));
        for _ in 0..20_000 {
            let Decision { action, blocks, pick, .. } = decide(&deck, phase, &mut rng, scale);
            for step in steps(action) {
                worker.step(*step, blocks, pick, target(phase, scale)).unwrap();
            }
            assert_eq!(pool.free(), scale.blocks - worker.in_hand);
        }
        (worker.counts.actions.to_vec(), worker.counts.outcomes.to_vec())
    }

    #[test]
    fn both_get_the_same_load() {
        for phase in Phase::ALL {
            let (actions, outcomes) = alone::<Leases>(phase);
            assert!(actions[0] > 1_000 && actions[1] > 1_000, "{phase:?}: {actions:?}");
            assert_eq!((actions, outcomes), alone::<MutexOwner>(phase));
        }
    }
}
