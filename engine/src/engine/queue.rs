//! Requests that wait for a sequence: the most urgent first, and nobody for ever.
//!
//! Strict priority starves whoever is low under a steady flow of what is high. So a request that was
//! passed over [`PATIENCE`] times by later ones counts as one level higher, and so on: ageing as in the
//! old multi-level schedulers (Corbató et al., 1962), counted in admissions and not in time, so that it
//! does the same at every speed.

use std::collections::VecDeque;
use std::time::Instant;

use super::running::Arrival;

/// Later requests that may go first before one counts as a level higher.
const PATIENCE: u32 = 4;

/// How urgent a request is among those that wait, and who gives way when cells run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// After the others, but not never: each time that enough later requests went first it counts as
    /// one level higher.
    Low,
    /// What nobody asks for anything else.
    #[default]
    Normal,
    /// Before the others.
    High,
}

#[derive(Debug)]
struct Waiting {
    arrival: Arrival,
    /// Later requests that went first.
    passed: u32,
}

impl Waiting {
    fn level(&self) -> u32 {
        self.arrival.priority as u32 + self.passed / PATIENCE
    }
}

/// In the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Queue(VecDeque<Waiting>);

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, arrival: Arrival) {
        self.0.push_back(Waiting { arrival, passed: 0 });
    }

    /// Takes the one whose turn it is. Who came before it has been passed over once more.
    pub(crate) fn take(&mut self) -> Option<Arrival> {
        let turn = self.turn()?;
        for earlier in self.0.range_mut(..turn) {
            earlier.passed += 1;
        }
        self.0.remove(turn).map(|waiting| waiting.arrival)
    }

    /// Puts one back to where it was among the others.
    pub(crate) fn put_back(&mut self, arrival: Arrival) {
        let id = arrival.ticket.id();
        let place = self.0.partition_point(|waiting| waiting.arrival.ticket.id() < id);
        self.0.insert(place, Waiting { arrival, passed: 0 });
    }

    /// Of the highest level the one that came first.
    fn turn(&self) -> Option<usize> {
        let mut levels = self.0.iter().map(Waiting::level).enumerate();
        let first = levels.next()?;
        let highest = levels.fold(first, |best, other| if other.1 > best.1 { other } else { best });
        Some(highest.0)
    }

    /// The first deadline of any that waits.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|waiting| waiting.arrival.deadline).min()
    }

    /// Takes out what `over` names and hands it to `end`; the others keep their order.
    pub(crate) fn take_out(
        &mut self,
        over: impl Fn(&Arrival) -> bool,
        mut end: impl FnMut(Arrival),
    ) {
        let mut index = 0;
        while index < self.0.len() {
            if !over(&self.0[index].arrival) {
                index += 1;
            } else if let Some(waiting) = self.0.remove(index) {
                end(waiting.arrival);
            }
        }
    }

    /// Hands everything to `end`, in the order of arrival.
    pub(crate) fn take_out_all(&mut self, mut end: impl FnMut(Arrival)) {
        self.0.drain(..).for_each(|waiting| end(waiting.arrival));
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
