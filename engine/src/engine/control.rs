//! What the host's threads and a lane share about all requests.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use latchless::RequestId;

use super::bell::Bell;
use super::gate::{Gate, Refused};
use super::generation::Generation;
use super::roster::Roster;
use super::snapshot::Refusals;
use super::totals::Totals;
use crate::process::Birthplace;

/// What all lanes of an engine have in common, of every generation.
#[derive(Debug)]
pub(crate) struct Front {
    /// All requests of the engine.
    pub(crate) gate: Gate,
    /// The generation that was replaced last, until its lanes are gone.
    pub(crate) retiring: ArcSwapOption<Generation>,
    pub(crate) refusals: Refusals,
    /// Where the lanes' threads are.
    pub(crate) birthplace: Birthplace,
}

impl Front {
    pub(crate) fn new(max_requests: u32) -> Self {
        Self {
            gate: Gate::new(max_requests),
            retiring: ArcSwapOption::empty(),
            refusals: Refusals::default(),
            birthplace: Birthplace::here(),
        }
    }
}

/// What the host's threads and one lane share. Its own allocation, so that a stream that is kept does not
/// keep the model and the pool.
#[derive(Debug)]
pub(crate) struct Control {
    front: Arc<Front>,
    /// The requests of this lane.
    pub(crate) gate: Gate,
    pub(crate) roster: Roster,
    pub(crate) bell: Bell,
    /// Of the model that it computes with.
    pub(crate) generation: u64,
    /// What the lane did.
    pub(crate) totals: Totals,
}

impl Control {
    /// The control of the lane with this number, for as many requests as the whole engine may have.
    pub(crate) fn new(front: Arc<Front>, max_requests: u32, lane: u32, generation: u64) -> Self {
        Self {
            front,
            gate: Gate::new(max_requests),
            roster: Roster::new(max_requests, lane),
            bell: Bell::default(),
            generation,
            totals: Totals::default(),
        }
    }

    /// Asks the lane to end a request; `false` when it has ended or never was.
    pub(crate) fn cancel(&self, id: RequestId) -> bool {
        let known = self.roster.cancel(id);
        if known {
            self.bell.ring();
        }
        known
    }

    /// The process that the lane belongs to.
    pub(crate) fn birthplace(&self) -> Birthplace {
        self.front.birthplace
    }

    /// Lets nobody in any more, and has the lane end when those inside are out.
    pub(crate) fn retire(&self) {
        self.gate.retire();
        self.bell.ring();
    }

    /// Comes in and gets an id; both go back when the seat is dropped.
    pub(crate) fn take_seat(self: &Arc<Self>) -> Result<Seat, NoSeat> {
        self.front.gate.enter().map_err(NoSeat::InEngine)?;
        if let Err(refused) = self.gate.enter() {
            self.front.gate.leave();
            return Err(NoSeat::InLane(refused));
        }
        Ok(Seat { id: self.roster.claim(), control: Arc::clone(self) })
    }
}

/// Who refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// The engine: there is nobody else to ask.
    InEngine(Refused),
    /// This lane only.
    InLane(Refused),
}

/// A request's place in the engine.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) id: RequestId,
    control: Arc<Control>,
}

impl Seat {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.control.roster.is_cancelled(self.id)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.control.generation
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.control.totals
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // The place first: the gate's count is what bounds the places in use.
        self.control.roster.release(self.id);
        if self.control.gate.leave() {
            // The lane may sleep, and nobody else will wake it.
            self.control.bell.ring();
        }
        self.control.front.gate.leave();
    }
}
