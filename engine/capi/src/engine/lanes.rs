//! Lanes that the host steps.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::latchless_engine::backend::Backend;
use ::latchless_engine::{Lane, StepReport};

use crate::lease::enter;
use crate::status::Failure;

/// A lane of whatever backend.
pub(super) trait Step: Send {
    fn step(&mut self) -> StepReport;
}

impl<B: Backend> Step for Lane<B> {
    fn step(&mut self) -> StepReport {
        self.step()
    }
}

/// The lanes of an engine, each for one thread at a time; none when the engine has threads.
pub(super) struct Lanes {
    places: Box<[Place]>,
    /// Lanes of the engine, whoever steps them.
    count: usize,
}

#[derive(Default)]
struct Place {
    /// Tried, never waited for, by who steps.
    stepped: Mutex<Stepped>,
    /// What a swap put here, until the next step.
    next: Mutex<Option<Box<dyn Step>>>,
}

#[derive(Default)]
struct Stepped {
    current: Option<Box<dyn Step>>,
    /// Of the model before, until its requests have ended.
    retiring: Option<Box<dyn Step>>,
}

impl Lanes {
    pub(super) fn new<B: Backend>(count: usize, lanes: Vec<Option<Lane<B>>>) -> Self {
        let places = lanes.into_iter().map(|lane| {
            let current = lane.map(|lane| Box::new(lane) as Box<dyn Step>);
            let stepped = Stepped { current, ..Stepped::default() };
            Place { stepped: Mutex::new(stepped), next: Mutex::new(None) }
        });
        Self { places: places.collect(), count }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether the host steps them.
    pub(super) fn are_stepped(&self) -> bool {
        !self.places.is_empty()
    }

    /// One step of a lane, and one of its predecessor as long as that has requests.
    pub(super) fn step(&self, lane: usize) -> Result<StepReport, Failure> {
        if !self.are_stepped() {
            return Err(Failure::Argument(
                "the engine has threads that step its lanes; make it with lane_threads = 0 to step them",
            ));
        }
        let place = self.places.get(lane).ok_or(Failure::Value {
            what: "the lane",
            value: lane as u64,
            allowed: "less than the engine's lanes",
        })?;
        let mut stepped = enter(&place.stepped, "lane")?;
        // Somebody is about to put one there: the step after this finds it.
        if let Ok(mut next) = enter(&place.next, "lane")
            && let Some(next) = next.take()
        {
            stepped.retiring = stepped.current.replace(next);
        }
        let mut report = StepReport::default();
        if let Some(before) = &mut stepped.retiring {
            report = before.step();
            if report.closed {
                stepped.retiring = None;
            }
        }
        if let Some(current) = &mut stepped.current {
            report = sum(report, current.step());
        } else {
            report.closed = true;
        }
        Ok(report)
    }

    /// Hands new lanes over, one for each. Only swaps call it, one at a time, and the next one is refused
    /// before the old lanes are gone: so the place is empty.
    pub(super) fn replace<B: Backend>(&self, lanes: Vec<Lane<B>>) {
        for (place, lane) in self.places.iter().zip(lanes) {
            // A step holds it for as long as it takes to look into it.
            let before = lock(&place.next).replace(Box::new(lane));
            debug_assert!(before.is_none(), "a swap before the last one was taken up");
        }
    }

    /// Ends them, which ends their requests. Waits for steps that other threads are in.
    pub(super) fn close(&self) {
        for place in &*self.places {
            let mut stepped = lock(&place.stepped);
            // In this order, as ever: the model before has the older requests.
            stepped.retiring = None;
            stepped.current = None;
            *lock(&place.next) = None;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic of a lane was told as one; what is left is to be dropped.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What both did together; closed is the newer one's to say.
fn sum(before: StepReport, mut now: StepReport) -> StepReport {
    now.admitted += before.admitted;
    now.reused_rows += before.reused_rows;
    now.prefill_rows += before.prefill_rows;
    now.decode_rows += before.decode_rows;
    now.failed_decodes += before.failed_decodes;
    now.evicted += before.evicted;
    now.parked += before.parked;
    now.brought_back += before.brought_back;
    now.ended += before.ended;
    now.running += before.running;
    now.waiting += before.waiting;
    now
}
