//! One slot: whether an object is in it, in which generation, and how many calls are at it.
//!
//! The count of calls is *striped*: each thread counts itself in and out on a word of its own cache line,
//! so that threads that use the same object do not meet. (Windows calls the same thing cache-aware rundown
//! protection.) Every stripe's word also says whether the slot is open and in which generation, so that
//! one compare-and-swap both checks a handle and counts the call in.
//!
//! Closing goes stripe by stripe, and whoever brings the last stripe to "closed, and nobody counted in",
//! the closer or a call that ends, drops the object. Nobody waits for anybody.

use std::mem::MaybeUninit;

use crate::sync::{AtomicU32, AtomicU64, Ordering, UnsafeCell};

/// `generation (36) | open (1) | calls (27)`. Calls are threads that are inside at this moment: their
/// number never comes near 2^27.
const CALL: u64 = 1;
const CALLS: u64 = (1 << 27) - 1;
const OPEN: u64 = 1 << 27;
const GENERATION_SHIFT: u32 = 28;

/// Bits of a generation, in a stripe's word and in a handle.
pub(crate) const GENERATION_BITS: u32 = 64 - GENERATION_SHIFT;
pub(crate) const GENERATIONS: u64 = 1 << GENERATION_BITS;

pub(crate) struct Slot<T, const STRIPES: usize> {
    stripes: [Stripe; STRIPES],
    /// Stripes that are open, or have calls still.
    busy: AtomicU32,
    /// Of the free list: the index of the next free slot, plus one.
    pub(crate) next: AtomicU32,
    /// Full from `open` until `busy` is 0.
    object: UnsafeCell<MaybeUninit<T>>,
}

/// Alone in its cache line where there are several.
#[cfg_attr(not(latchless_loom), repr(align(64)))]
struct Stripe(AtomicU64);

// SAFETY: the object goes from the thread that puts it in to the one that drops it, hence `Send`, and in
// between any thread may look at it, hence `Sync`. The protocol below keeps the two apart.
unsafe impl<T: Send + Sync, const STRIPES: usize> Sync for Slot<T, STRIPES> {}

/// What became of the slot with a call that ended, or with a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a slot that is vacant is to be listed as free"]
pub(crate) enum Left {
    /// Others are at it.
    Busy,
    /// The object was dropped.
    Vacant,
}

impl<T, const STRIPES: usize> Slot<T, STRIPES> {
    #[cfg(not(latchless_loom))]
    pub(crate) const fn new() -> Self {
        Self {
            stripes: [const { Stripe(AtomicU64::new(0)) }; STRIPES],
            busy: AtomicU32::new(0),
            next: AtomicU32::new(0),
            object: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    #[cfg(latchless_loom)]
    pub(crate) fn new() -> Self {
        Self {
            stripes: std::array::from_fn(|_| Stripe(AtomicU64::new(0))),
            busy: AtomicU32::new(0),
            next: AtomicU32::new(0),
            object: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Puts an object into a vacant slot and returns the generation that it has there.
    ///
    /// # Safety
    /// The slot is vacant, and the caller alone has it.
    pub(crate) unsafe fn open(&self, object: T) -> u64 {
        self.object.with_mut(|cell| {
            // SAFETY: nobody else has the slot, so nobody looks into the cell.
            unsafe { &mut *cell }.write(object);
        });
        // Relaxed: published by the stripes.
        self.busy.store(STRIPES as u32, Ordering::Relaxed);
        // Relaxed: written before the slot was listed as free.
        let generation = self.stripes[0].0.load(Ordering::Relaxed) >> GENERATION_SHIFT;
        // The first stripe last: a close begins there, and finds the others open. Release: who counts
        // itself in sees the object.
        for stripe in self.stripes.iter().rev() {
            stripe.0.store(generation << GENERATION_SHIFT | OPEN, Ordering::Release);
        }
        generation
    }

    /// Counts the caller in, if the slot is open in this generation.
    #[inline]
    pub(crate) fn enter(&self, generation: u64, stripe: usize) -> bool {
        let word = &self.stripes[stripe].0;
        let mut now = word.load(Ordering::Relaxed);
        loop {
            if !is_open_in(now, generation) {
                return false;
            }
            // Acquire: the object, which the open published.
            match word.compare_exchange_weak(now, now + CALL, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
    }

    /// The object.
    ///
    /// # Safety
    /// The caller is counted in for as long as it uses the reference.
    #[inline]
    pub(crate) unsafe fn object(&self) -> &T {
        self.object.with(|cell| {
            // SAFETY: whoever is counted in shares the cell with others who read it, and with nobody who
            // changes it: see `settle`.
            let cell = unsafe { &*cell };
            // SAFETY: it was filled before the slot was opened, and is emptied when nobody is counted in.
            unsafe { cell.assume_init_ref() }
        })
    }

    /// Counts the caller out, who was counted in on this stripe.
    #[inline]
    pub(crate) fn leave(&self, stripe: usize) -> Left {
        // AcqRel: Release, what the caller did with the object comes before its drop; Acquire, if this is
        // the last call on the stripe, what the others did here does, too.
        let before = self.stripes[stripe].0.fetch_sub(CALL, Ordering::AcqRel);
        debug_assert!(before & CALLS > 0, "counted out twice");
        if before & (OPEN | CALLS) == CALL { self.settle(1) } else { Left::Busy }
    }

    /// Lets nobody in any more. `None` when the slot is not open in this generation: of several threads
    /// that close it one does.
    pub(crate) fn close(&self, generation: u64) -> Option<Left> {
        let first = &self.stripes[0].0;
        let mut now = first.load(Ordering::Relaxed);
        loop {
            if !is_open_in(now, generation) {
                return None;
            }
            // AcqRel: as in `leave`, of the calls that were on this stripe before.
            match first.compare_exchange_weak(now, now & !OPEN, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(other) => now = other,
            }
        }
        let mut quiet = u32::from(now & CALLS == 0);
        for stripe in &self.stripes[1..] {
            quiet += u32::from(stripe.0.fetch_and(!OPEN, Ordering::AcqRel) & CALLS == 0);
        }
        Some(if quiet > 0 { self.settle(quiet) } else { Left::Busy })
    }

    /// So many stripes are closed and have no call any more; each says so once. With the last one the
    /// object is dropped.
    #[cold]
    fn settle(&self, stripes: u32) -> Left {
        // AcqRel: the last one comes after everything that was done on any stripe.
        if self.busy.fetch_sub(stripes, Ordering::AcqRel) != stripes {
            return Left::Busy;
        }
        self.object.with_mut(|cell| {
            // SAFETY: all stripes are closed and have no call, so no reference to the object is left and
            // none can come; and `busy` got to 0 by this thread alone.
            let cell = unsafe { &mut *cell };
            // SAFETY: it was filled by the open, and is dropped here only: once.
            unsafe { cell.assume_init_drop() }
        });
        let next = (self.stripes[0].0.load(Ordering::Relaxed) >> GENERATION_SHIFT) + 1;
        // A shift drops what is beyond the bits: generations wrap. Relaxed: nobody changes a closed word,
        // and the free list publishes it to the next one who opens.
        for stripe in &self.stripes {
            stripe.0.store(next << GENERATION_SHIFT, Ordering::Relaxed);
        }
        Left::Vacant
    }

    /// Whether it is open now.
    pub(crate) fn is_open(&self) -> bool {
        self.stripes[0].0.load(Ordering::Relaxed) & OPEN != 0
    }
}

fn is_open_in(word: u64, generation: u64) -> bool {
    word & !CALLS == generation << GENERATION_SHIFT | OPEN
}

const _: () = assert!(CALLS + OPEN + ((GENERATIONS - 1) << GENERATION_SHIFT) == u64::MAX);
