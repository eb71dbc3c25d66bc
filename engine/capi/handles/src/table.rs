//! The table: where a handle's slot lies, and which slots are free.
//!
//! Slots lie in segments that double in size and stay where they are until the process ends: a handle,
//! however old, finds a slot that can be asked for its generation. The first segment lies in the table
//! itself, so that a host with few objects has none allocated.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;

use thiserror::Error;

use crate::slot::{GENERATION_BITS, GENERATIONS, Left, Slot};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, thread_index};

/// Slots of the first segment.
const FIRST: usize = if cfg!(latchless_loom) { 1 } else { 64 };
/// Segments after the first: the one with index k has `FIRST << k` slots.
const SEGMENTS: usize = if cfg!(latchless_loom) { 1 } else { 14 };
/// Slots of all segments.
const SLOTS: usize = FIRST << SEGMENTS;

const INDEX_BITS: u32 = 24;
const KIND_BITS: u32 = 4;
const _: () = assert!(INDEX_BITS + KIND_BITS + GENERATION_BITS == 64);
const _: () = assert!(SLOTS <= 1 << INDEX_BITS);

/// What a caller has of an object: `generation (36) | kind (4) | slot (24)`. 0 is no handle.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(u64);

impl Handle {
    /// The handle of a number, from wherever that came.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The handle as a number; never 0 for one that a table gave.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    fn new(generation: u64, kind: u8, index: usize) -> Self {
        let generation = generation << (INDEX_BITS + KIND_BITS);
        Self(generation | u64::from(kind) << INDEX_BITS | index as u64)
    }

    fn index(self) -> usize {
        (self.0 & ((1 << INDEX_BITS) - 1)) as usize
    }

    fn kind(self) -> u8 {
        (self.0 >> INDEX_BITS & ((1 << KIND_BITS) - 1)) as u8
    }

    fn generation(self) -> u64 {
        self.0 >> (INDEX_BITS + KIND_BITS)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:#018x})", self.0)
    }
}

/// A handle that names no object of this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unusable {
    /// The number 0.
    #[error("the handle is null; make the object first, and look at what that returned")]
    Null,
    /// The handle of an object of another kind.
    #[error("the handle is of an object of another kind; pass the one that this call is for")]
    OtherKind,
    /// No such handle was ever given out.
    #[error("the handle was never given out; pass one as it was returned")]
    Unknown,
    /// The object was closed, or the handle was made up.
    #[error(
        "the object of this handle was closed; make a new one, and drop the handle when you close"
    )]
    Closed,
}

/// All slots are taken. The object is given back.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[error("{SLOTS} objects of this kind are there already; close some")]
pub struct TooMany<T>(pub T);

impl<T> fmt::Debug for TooMany<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TooMany")
    }
}

/// Objects of one kind, by handle. Calls on an object are counted on one of `STRIPES` words: about as many
/// as threads that use one object at the same time, and 1 where that is one thread as a rule.
///
/// Meant for statics. A table that is dropped leaves its objects where they are.
pub struct Table<T, const STRIPES: usize> {
    kind: u8,
    first: [Slot<T, STRIPES>; FIRST],
    more: [AtomicPtr<Slot<T, STRIPES>>; SEGMENTS],
    /// Slots that were ever taken.
    used: AtomicU32,
    /// Slots that were given back: `changes (32) | index of the first + 1 (32)`. A stack (Treiber, 1986);
    /// the count of changes keeps a pop from taking a head that went and came back.
    free: AtomicU64,
    /// Added to the generations of slots to make those of handles; 0 until it was drawn.
    base: AtomicU64,
}

impl<T, const STRIPES: usize> Table<T, STRIPES> {
    /// The most objects at a time.
    pub const CAPACITY: usize = SLOTS;

    const STRIPES_ARE_COUNTED: () = assert!(STRIPES > 0 && STRIPES.is_power_of_two());

    /// An empty table. `kind`, 1 to 15, tells its handles from those of other tables; what is more is cut
    /// off.
    ///
    /// # Panics
    /// For a kind of 0; in a static that is an error of the compiler's.
    #[cfg(not(latchless_loom))]
    pub const fn new(kind: u8) -> Self {
        const { Self::STRIPES_ARE_COUNTED };
        assert!(kind & 15 != 0, "a kind is 1 to 15");
        Self {
            kind: kind & 15,
            first: [const { Slot::new() }; FIRST],
            more: [const { AtomicPtr::new(std::ptr::null_mut()) }; SEGMENTS],
            used: AtomicU32::new(0),
            free: AtomicU64::new(0),
            base: AtomicU64::new(0),
        }
    }

    /// An empty table in a model.
    #[cfg(latchless_loom)]
    pub fn new(kind: u8) -> Self {
        const { Self::STRIPES_ARE_COUNTED };
        Self {
            kind: kind & 15,
            first: std::array::from_fn(|_| Slot::new()),
            more: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
            used: AtomicU32::new(0),
            free: AtomicU64::new(0),
            base: AtomicU64::new(1),
        }
    }

    /// Puts an object in. Lock-free; allocates when there were never as many objects before, and more than
    /// 64.
    ///
    /// # Errors
    /// [`TooMany`] with the object when there are [`CAPACITY`](Self::CAPACITY) already.
    pub fn insert(&self, object: T) -> Result<Handle, TooMany<T>> {
        let Some((index, slot)) = self.take_free().or_else(|| self.take_new()) else {
            return Err(TooMany(object));
        };
        // SAFETY: a slot that was taken from the free list or never used is vacant, and nobody else's.
        let generation = unsafe { slot.open(object) };
        Ok(Handle::new(self.to_handle(generation), self.kind, index))
    }

    /// The object of a handle, which lives until the guard is dropped.
    ///
    /// # Errors
    /// [`Unusable`].
    #[inline]
    pub fn get(&self, handle: Handle) -> Result<Guard<'_, T, STRIPES>, Unusable> {
        self.get_on(handle, thread_index() % STRIPES)
    }

    #[inline]
    pub(crate) fn get_on(
        &self,
        handle: Handle,
        stripe: usize,
    ) -> Result<Guard<'_, T, STRIPES>, Unusable> {
        let (index, slot, generation) = self.find(handle)?;
        if !slot.enter(generation, stripe) {
            return Err(Unusable::Closed);
        }
        Ok(Guard { table: self, slot, index, stripe })
    }

    /// Ends a handle: nobody gets at its object any more. The object is dropped by this call or, when
    /// others are at it, by the last of them. Of two threads that close one handle, one does.
    ///
    /// # Errors
    /// [`Unusable`]; nothing is changed then.
    pub fn close(&self, handle: Handle) -> Result<(), Unusable> {
        let (index, slot, generation) = self.find(handle)?;
        match slot.close(generation) {
            None => return Err(Unusable::Closed),
            Some(Left::Vacant) => self.give_back(index, slot),
            Some(Left::Busy) => {}
        }
        Ok(())
    }

    /// Objects that can be reached, the slots looked at one after another. A gauge.
    pub fn len(&self) -> usize {
        // Acquire: the segments of these slots are there.
        let used = self.used.load(Ordering::Acquire) as usize;
        (0..used).filter_map(|index| self.slot(index)).filter(|slot| slot.is_open()).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn find(&self, handle: Handle) -> Result<(usize, &Slot<T, STRIPES>, u64), Unusable> {
        if handle.0 == 0 {
            return Err(Unusable::Null);
        }
        if handle.kind() != self.kind {
            return Err(Unusable::OtherKind);
        }
        let index = handle.index();
        let slot = self.slot(index).ok_or(Unusable::Unknown)?;
        // Relaxed: drawn before the handle was given out, if it was.
        let base = self.base.load(Ordering::Relaxed);
        Ok((index, slot, handle.generation().wrapping_sub(base) % GENERATIONS))
    }

    /// The slot of an index, if its segment is there.
    #[inline]
    fn slot(&self, index: usize) -> Option<&Slot<T, STRIPES>> {
        if let Some(slot) = self.first.get(index) {
            return Some(slot);
        }
        let (segment, offset) = place(index);
        // Acquire: the slots are initialised.
        let slots = self.more.get(segment)?.load(Ordering::Acquire);
        if slots.is_null() {
            return None;
        }
        // SAFETY: `place` gives an offset below the segment's length, which is what was allocated.
        let slot = unsafe { slots.add(offset) };
        // SAFETY: a segment is never freed or moved, and slots are only ever shared.
        Some(unsafe { &*slot })
    }

    /// What a handle says of a slot's generation.
    fn to_handle(&self, generation: u64) -> u64 {
        let mut base = self.base.load(Ordering::Relaxed);
        if base == 0 {
            let drawn = RandomState::new().hash_one(self.kind) | 1;
            // Of several that draw, the first one counts.
            let first = self.base.compare_exchange(0, drawn, Ordering::Relaxed, Ordering::Relaxed);
            base = first.err().unwrap_or(drawn);
        }
        generation.wrapping_add(base) % GENERATIONS
    }

    fn take_free(&self) -> Option<(usize, &Slot<T, STRIPES>)> {
        // Acquire: what the slot's last user left there.
        let mut head = self.free.load(Ordering::Acquire);
        loop {
            let index = (head as u32).checked_sub(1)? as usize;
            let slot = self.slot(index)?;
            // Relaxed: when another thread was faster, and this is stale, the swap fails.
            let next = changed(head, slot.next.load(Ordering::Relaxed));
            match self.free.compare_exchange_weak(head, next, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => return Some((index, slot)),
                Err(now) => head = now,
            }
        }
    }

    fn give_back(&self, index: usize, slot: &Slot<T, STRIPES>) {
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            slot.next.store(head as u32, Ordering::Relaxed);
            // Release: the next one finds the slot as it was left, and its `next`. The others' pushes
            // stay visible through it, because a swap continues what it replaces.
            match self.free.compare_exchange_weak(
                head,
                changed(head, index as u32 + 1),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// A slot that nobody has had.
    fn take_new(&self) -> Option<(usize, &Slot<T, STRIPES>)> {
        // AcqRel: `len` finds the segment that an earlier one made.
        let take = |used| ((used as usize) < SLOTS).then_some(used + 1);
        let index = self.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, take).ok()?;
        let index = index as usize;
        if self.slot(index).is_none() {
            self.add_segment(place(index).0);
        }
        Some((index, self.slot(index)?))
    }

    #[cold]
    fn add_segment(&self, segment: usize) {
        let slots: Box<[Slot<T, STRIPES>]> = (0..FIRST << segment).map(|_| Slot::new()).collect();
        let slots = Box::into_raw(slots);
        // AcqRel and Acquire: the slots are initialised, whoever made them.
        let first = self.more[segment].compare_exchange(
            std::ptr::null_mut(),
            slots.cast(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if first.is_err() {
            // SAFETY: another thread was faster: this box was shown to nobody.
            drop(unsafe { Box::from_raw(slots) });
        }
    }
}

/// Segment and offset of an index behind the first segment.
#[inline]
fn place(index: usize) -> (usize, usize) {
    // FIRST, 2 FIRST, 4 FIRST ... are where segments begin.
    let segment = (index / FIRST).max(1).ilog2() as usize;
    (segment, index.wrapping_sub(FIRST << segment))
}

/// The head of the free list after one more change.
fn changed(head: u64, first: u32) -> u64 {
    ((head >> 32).wrapping_add(1) << 32) | u64::from(first)
}

impl<T, const STRIPES: usize> fmt::Debug for Table<T, STRIPES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("kind", &self.kind)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// An object that somebody is at. It is dropped after the last of these.
#[must_use = "the object may go as soon as this is dropped"]
pub struct Guard<'a, T, const STRIPES: usize> {
    table: &'a Table<T, STRIPES>,
    slot: &'a Slot<T, STRIPES>,
    index: usize,
    stripe: usize,
}

impl<T, const STRIPES: usize> Deref for Guard<'_, T, STRIPES> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard is counted in as long as it lives, and the reference lives no longer.
        unsafe { self.slot.object() }
    }
}

impl<T, const STRIPES: usize> Drop for Guard<'_, T, STRIPES> {
    #[inline]
    fn drop(&mut self) {
        if self.slot.leave(self.stripe) == Left::Vacant {
            self.table.give_back(self.index, self.slot);
        }
    }
}

impl<T: fmt::Debug, const STRIPES: usize> fmt::Debug for Guard<'_, T, STRIPES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&**self).finish()
    }
}
