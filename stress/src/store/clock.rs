//! A clock that is set ahead and back while leases run.

use std::sync::atomic::{AtomicI64, Ordering};

use fastrand::Rng;
use latchless_engine::store::{Clock, SystemClock};

/// How far it jumps at most, in milliseconds: leases end, and begin before they began.
const JUMP_MS: i64 = 2 * 3_600_000;

/// The system's clock, and how much it is off.
#[derive(Debug, Default)]
pub(super) struct Unsteady {
    system: SystemClock,
    off_ms: AtomicI64,
}

impl Unsteady {
    pub(super) fn jump(&self, rng: &mut Rng) {
        // Relaxed: a number, which says nothing of any other memory.
        self.off_ms.store(rng.i64(-JUMP_MS..=JUMP_MS), Ordering::Relaxed);
    }
}

impl Clock for Unsteady {
    fn now_ms(&self) -> u64 {
        self.system.now_ms().saturating_add_signed(self.off_ms.load(Ordering::Relaxed))
    }
}
