//! Requests that wait for a sequence: the most urgent first, and nobody for ever.
//!
//! Strict priority starves whoever is low under a steady flow of what is high. So a request that was
//! passed over [`PATIENCE`] times by later ones counts as one level higher, and so on: ageing as in the
//! old multi-level schedulers (Corbató et al., 1962), counted in admissions and not in time, so that it
//! does the same at every speed.

use std::collections::VecDeque;
use std::time::Instant;

use latchless::RequestId;

use super::running::Arrival;
use super::warm::Stored;

/// Later requests that may go first before one counts as a level higher.
const PATIENCE: u32 = 4;

/// How urgent a request is among those that wait, and who gives way when cells run out.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, Priority, Request};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let urgent = Request::text("Fire?").priority(Priority::High);
/// assert_eq!(engine.submit(agent, urgent)?.wait().text, "Because.");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    fn is_ready(&self) -> bool {
        !matches!(self.arrival.stored, Stored::Asked | Stored::Later)
    }

    fn level(&self) -> u32 {
        self.arrival.priority as u32 + self.passed / PATIENCE
    }
}

/// In the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    /// How many of them have a deadline: most steps need not look for one.
    deadlines: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn push(&mut self, arrival: Arrival) {
        self.insert(self.waiting.len(), arrival);
    }

    /// Takes the one whose turn it is. Who came before it has been passed over once more.
    pub(crate) fn take(&mut self) -> Option<Arrival> {
        self.take_at(self.turn()?)
    }

    /// Takes the request at `turn`. Those before it have been passed over once more.
    pub(crate) fn take_at(&mut self, turn: usize) -> Option<Arrival> {
        for earlier in self.waiting.range_mut(..turn) {
            earlier.passed += 1;
        }
        self.remove(turn)
    }

    /// Puts one back to where it was among the others.
    pub(crate) fn put_back(&mut self, arrival: Arrival) {
        let id = arrival.ticket.id();
        let place = self.waiting.partition_point(|waiting| waiting.arrival.ticket.id() < id);
        self.insert(place, arrival);
    }

    /// Of the highest level the one that came first. Who waits for the disk is passed over.
    pub(crate) fn turn(&self) -> Option<usize> {
        let ready = self.waiting.iter().enumerate().filter(|(_, waiting)| waiting.is_ready());
        let mut levels = ready.map(|(index, waiting)| (index, waiting.level()));
        let first = levels.next()?;
        let highest = levels.fold(first, |best, other| if other.1 > best.1 { other } else { best });
        Some(highest.0)
    }

    pub(crate) fn at(&self, index: usize) -> &Arrival {
        &self.waiting[index].arrival
    }

    pub(crate) fn at_mut(&mut self, index: usize) -> &mut Arrival {
        &mut self.waiting[index].arrival
    }

    pub(crate) fn find(&mut self, request: RequestId) -> Option<&mut Arrival> {
        let mut waiting = self.waiting.iter_mut().map(|waiting| &mut waiting.arrival);
        waiting.find(|arrival| arrival.ticket.id() == request)
    }

    pub(crate) fn for_each(&mut self, change: impl FnMut(&mut Arrival)) {
        self.waiting.iter_mut().map(|waiting| &mut waiting.arrival).for_each(change);
    }

    pub(crate) fn count(&self, of: impl Fn(&Arrival) -> bool) -> usize {
        self.waiting.iter().filter(|waiting| of(&waiting.arrival)).count()
    }

    fn insert(&mut self, place: usize, arrival: Arrival) {
        self.deadlines += usize::from(arrival.deadline.is_some());
        self.waiting.insert(place, Waiting { arrival, passed: 0 });
    }

    fn remove(&mut self, index: usize) -> Option<Arrival> {
        let arrival = self.waiting.remove(index)?.arrival;
        self.deadlines -= usize::from(arrival.deadline.is_some());
        Some(arrival)
    }

    /// The first deadline of any that waits.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.deadlines == 0 {
            return None;
        }
        self.waiting.iter().filter_map(|waiting| waiting.arrival.deadline).min()
    }

    /// Takes out what `over` names and hands it to `end`; the others keep their order.
    pub(crate) fn take_out(
        &mut self,
        over: impl Fn(&Arrival) -> bool,
        mut end: impl FnMut(Arrival),
    ) {
        let mut index = 0;
        while index < self.waiting.len() {
            if !over(&self.waiting[index].arrival) {
                index += 1;
            } else if let Some(arrival) = self.remove(index) {
                end(arrival);
            }
        }
    }

    /// Hands everything to `end`, in the order of arrival.
    pub(crate) fn take_out_all(&mut self, end: impl FnMut(Arrival)) {
        self.take_out(|_| true, end);
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.take_out_all(drop);
    }
}
