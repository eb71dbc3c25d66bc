//! What the engine's threads meet in: std's primitives and those of small crates, or, in a model, loom's.
//!
//! The core chooses its own in `core/src/sync.rs`, and this takes what they have in common from there, so that
//! one flag, `--cfg latchless_loom`, has both crates use loom. What only the engine has is here: a futex, a
//! ring of one writer and one reader, and a cell for the waker of a task.

mod futex;
#[cfg(latchless_loom)]
mod modelled;

#[cfg(all(test, latchless_loom))]
pub(crate) use latchless::workspace::explore;
pub(crate) use latchless::workspace::{AtomicBool, AtomicU32, AtomicU64, contain, mutant, weaker};

pub(crate) use std::sync::atomic::Ordering;

pub(crate) use self::futex::Futex;

#[cfg(not(latchless_loom))]
mod chosen {
    pub(crate) use std::sync::atomic::fence;
    pub(crate) use std::thread::{Thread, current as current_thread, park, park_timeout};

    pub(crate) use atomic_waker::AtomicWaker;
    pub(crate) use rtrb::{Consumer, Producer, RingBuffer};
}

#[cfg(latchless_loom)]
mod chosen {
    pub(crate) use loom::sync::atomic::fence;

    pub(crate) use super::modelled::{
        AtomicWaker, Consumer, Producer, RingBuffer, Thread, current_thread, park, park_timeout,
    };
}

pub(crate) use self::chosen::{
    AtomicWaker, Consumer, Producer, RingBuffer, Thread, current_thread, fence, park, park_timeout,
};
