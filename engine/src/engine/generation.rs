//! One model in force: its lanes, and which agent is where.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::{Control, Front};
use super::error::Draining;
use super::route::Routes;
use super::shared::Shared;
use super::wake::thread_waker;
use super::warm::OnDisk;
use crate::sync::{AtomicBool, AtomicU32, AtomicWaker, Ordering, fence, park_timeout};

/// The longest a wait for a generation's end sleeps before it looks again; see `gate`.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The lanes of one model. An agent stays in its lane, where its sequence is.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) number: u64,
    lanes: Box<[Arc<Shared>]>,
    routes: Routes,
    watch: Arc<Watch>,
    on_disk: Option<OnDisk>,
}

impl Generation {
    /// Of at least one lane, for agents with slots below `agents`.
    pub(crate) fn new(
        number: u64,
        lanes: Vec<Arc<Shared>>,
        agents: u32,
        on_disk: Option<OnDisk>,
    ) -> Self {
        let controls = lanes.iter().map(|lane| Arc::clone(&lane.control)).collect();
        let watch = Arc::new(Watch::new(controls));
        Self {
            number,
            routes: Routes::new(agents, lanes.len()),
            lanes: lanes.into(),
            watch,
            on_disk,
        }
    }

    /// What its agents have on disk, if that is wanted.
    pub(crate) fn on_disk(&self) -> Option<&OnDisk> {
        self.on_disk.as_ref()
    }

    pub(crate) fn lanes(&self) -> &[Arc<Shared>] {
        &self.lanes
    }

    /// Which agent is where.
    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// What is left of it, to be watched without keeping it.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Whether somebody may take a request: a lane of this generation, or one of the next.
    pub(crate) fn is_served(&self) -> bool {
        self.lanes.iter().any(|lane| {
            let gate = &lane.control.gate;
            gate.is_retired() || !gate.is_closed()
        })
    }
}

/// What is left of a generation: its requests, and its lanes with their memory.
#[derive(Debug)]
pub(crate) struct Watch {
    controls: Box<[Arc<Control>]>,
    lanes_left: AtomicU32,
    /// The last lane goes.
    leaving: AtomicBool,
    /// It went, and what was kept of it.
    gone: AtomicBool,
    waker: AtomicWaker,
}

impl Watch {
    fn new(controls: Box<[Arc<Control>]>) -> Self {
        let lanes = controls.len() as u32;
        Self {
            controls,
            lanes_left: AtomicU32::new(lanes),
            leaving: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Requests that have not ended.
    pub(crate) fn remaining(&self) -> u32 {
        self.controls.iter().map(|control| control.gate.inside()).sum()
    }

    /// Whether all its lanes are gone, with their contexts.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Takes the note away that `front` keeps of a generation whose last lane went before the note was made.
    pub(crate) fn forget_if_leaving(&self, front: &Front) {
        // SeqCst: pairs with the fence in `Presence::drop`; one of us sees the other.
        fence(Ordering::SeqCst);
        if self.leaving.load(Ordering::Relaxed) {
            self.forget(front);
        }
    }

    fn forget(&self, front: &Front) {
        let retiring = front.retiring.load_full();
        if retiring.is_some_and(|retiring| std::ptr::eq(&raw const **retiring.watch(), self)) {
            front.retiring.store(None);
        }
    }

    /// Waits until it is gone, at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), Draining> {
        // A timeout too long for the clock is none.
        let deadline = Instant::now().checked_add(timeout);
        let forked = self.controls.iter().any(|control| control.birthplace().was_left());
        loop {
            self.waker.register(&thread_waker());
            if self.is_gone() {
                return Ok(());
            }
            let left =
                deadline.map_or(LOOK_AGAIN, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() || forked {
                return Err(Draining { remaining: self.remaining() });
            }
            park_timeout(left.min(LOOK_AGAIN));
        }
    }
}

/// Held by a lane; its last field, so that it is dropped when the lane's memory is free.
#[derive(Debug)]
pub(crate) struct Presence {
    front: Arc<Front>,
    watch: Arc<Watch>,
}

impl Presence {
    pub(crate) fn new(front: Arc<Front>, watch: Arc<Watch>) -> Self {
        Self { front, watch }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // AcqRel: the last one out has seen all that the others gave back.
        if self.watch.lanes_left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        self.watch.leaving.store(true, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `Watch::forget_if_leaving`.
        fence(Ordering::SeqCst);
        // A generation that was replaced is kept there only; with it goes the model.
        self.watch.forget(&self.front);
        self.watch.gone.store(true, Ordering::Release);
        self.watch.waker.wake();
    }
}
