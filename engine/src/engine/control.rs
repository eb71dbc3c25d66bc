//! What the host's threads and the lane share about all requests.

use std::sync::Arc;

use latchless::RequestId;

use super::bell::Bell;
use super::gate::{Gate, Refused};
use super::roster::Roster;

/// Its own allocation, so that a stream that is kept does not keep the model and the pool.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) gate: Gate,
    pub(crate) roster: Roster,
    pub(crate) bell: Bell,
}

impl Control {
    pub(crate) fn new(max_requests: u32) -> Self {
        Self {
            gate: Gate::new(max_requests),
            roster: Roster::new(max_requests),
            bell: Bell::default(),
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

    /// Comes in and gets an id; both go back when the seat is dropped.
    pub(crate) fn take_seat(self: &Arc<Self>) -> Result<Seat, Refused> {
        self.gate.enter()?;
        Ok(Seat { id: self.roster.claim(), control: Arc::clone(self) })
    }
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
}

impl Drop for Seat {
    fn drop(&mut self) {
        // The place first: the gate's count is what bounds the places in use.
        self.control.roster.release(self.id);
        self.control.gate.leave();
    }
}
