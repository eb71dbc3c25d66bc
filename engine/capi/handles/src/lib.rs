//! Objects behind 64-bit handles, for a C boundary that trusts nobody.
//!
//! A [`Table`] gives each object that is put into it a [`Handle`]: a number that a caller in another
//! language can copy, keep too long, mix up or make up.
//!
//! - **Every wrong handle is found out**: null, of another table, never given out, or of an object that was
//!   closed. A handle is a slot, the table's kind and a generation of 36 bits that begins at random; so a
//!   handle from before a library was unloaded and loaded again is found out as well.
//! - **An object lives until the last call on it returns**: [`Table::close`] lets nobody in any more and
//!   waits for nobody, and whoever leaves last drops the object.
//! - **Nobody waits.** Looking an object up is one compare-and-swap, leaving it one subtraction, both on a
//!   cache line that the thread shares with few others. There is no lock, and a thread that is frozen at
//!   any instruction delays nobody: it keeps the object alive that it is at.
//!
//! sharded-slab does much of this, with one count of references for each object, on which all threads that
//! use a pool or an engine would meet with every call; `slotmap` and `slab` need a lock around them.
//!
//! ```
//! use latchless_handles::{Handle, Table, Unusable};
//!
//! static NAMES: Table<String, 8> = Table::new(1);
//!
//! let handle = NAMES.insert("planner".to_owned())?;
//! let name = NAMES.get(handle)?;
//! NAMES.close(handle)?;
//! assert_eq!(*name, "planner", "it lives until we leave it");
//! drop(name);
//! assert_eq!(NAMES.get(handle).unwrap_err(), Unusable::Closed);
//! assert_eq!(NAMES.get(Handle::from_bits(0)).unwrap_err(), Unusable::Null);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod slot;
mod sync;
mod table;

#[cfg(all(test, latchless_loom))]
mod loom_models;
#[cfg(all(test, not(latchless_loom)))]
mod tests;

pub use self::table::{Guard, Handle, Table, TooMany, Unusable};

/// The README's example runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
