//! An allocator that counts, when it is asked to.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has asked for, while it counts.
    static COUNTED: Cell<Option<isize>> = const { Cell::new(None) };
}

/// The system's allocator. While [`bytes_of`] runs it counts the bytes that its thread asks for; else it costs
/// a load and a branch more, so that contenders that allocate can be measured in the same program.
#[derive(Debug)]
pub struct Counting;

fn count(bytes: isize) {
    // A thread that is about to end has nothing to count any more.
    let _ended = COUNTED.try_with(|counted| {
        if let Some(sum) = counted.get() {
            counted.set(Some(sum + bytes));
        }
    });
}

// SAFETY: every call is passed on to the system's allocator with the arguments it came with, and what
// that returns is returned. Counting touches one thread-local cell, which needs no
// memory and has no destructor, and cannot panic, allocate or unwind.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller promises what `System::alloc` asks for, to which it is handed on.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise about `layout` is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: as for `alloc`.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: the caller promises that the block is from here, and so from `System`.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller had `block` from here with this layout, so from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    // SAFETY: as for `dealloc`, and the new size is what `System` asks for.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as in `dealloc`; the caller's promise about `size` is the one `System` asks for.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Heap bytes that `make` leaves behind in what it returns: what this thread asked for, without the
/// allocator's own. 0 unless [`Counting`] is the program's allocator.
pub fn bytes_of<T>(make: impl FnOnce() -> T) -> (T, usize) {
    COUNTED.set(Some(0));
    let made = make();
    let bytes = COUNTED.take().unwrap_or_default();
    (made, bytes.max(0) as usize)
}
