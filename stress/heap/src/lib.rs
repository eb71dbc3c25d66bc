//! What the allocator knows of the process's memory.
//!
//! Resident memory does not tell a leak: glibc has an arena for every few threads, and each keeps the pages that it
//! once had and in which anything is still allocated. What allocations hold does tell.
//!
//! Only glibc's allocator answers; Rust's system allocator, C and C++ share it.
#![allow(unsafe_code)]

/// Bytes that allocations hold at this moment, with what the allocator adds to each. None where it does not tell.
///
/// Each arena is looked at under its lock, one after another, which takes some tenths of a millisecond. What threads
/// keep for themselves of small blocks (glibc's tcache) counts as held.
#[must_use]
pub fn in_use() -> Option<u64> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: any thread may call it at any time; it reads the arenas, each under its lock.
        let all = unsafe { libc::mallinfo2() };
        // In arenas, and in mappings of their own.
        Some((all.uordblks as u64).saturating_add(all.hblkhd as u64))
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    None
}

/// Has blocks of 128 KiB and more come from the system and go back to it, each by itself, for as long as the process
/// lives. To be called at its beginning.
///
/// glibc begins so, but raises that limit, up to 32 MiB, with every larger block that is freed, and each arena may then
/// keep twice as much at its end, which [`give_back_free_memory`] does not reach: where models come and go, tens of
/// megabytes that nobody has, arena by arena.
pub fn give_large_blocks_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for limit in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: any thread may call it at any time. It changes nothing but where what is allocated from now on lies.
        // That it was refused, which glibc does for sizes beyond its arenas alone, would show in resident memory.
        unsafe {
            libc::mallopt(limit, 128 << 10);
        }
    }
}

/// Gives pages back to the system that no allocation is in, where the allocator can be asked to. It takes some tens
/// of milliseconds, and each arena's lock for a part of them.
pub fn give_back_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: any thread may call it at any time. It changes nothing but where free memory is.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    /// What one test allocates another one would see: one at a time.
    fn alone() -> MutexGuard<'static, ()> {
        static ONE: Mutex<()> = Mutex::new(());
        ONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pages of this process that are not of files, in bytes.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        1_024 * line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    }

    #[test]
    fn large_blocks_go_back_whatever_was_freed_before() {
        let _alone = alone();
        give_large_blocks_back();
        // Of another thread, which has an arena of its own.
        let kept = std::thread::spawn(|| {
            let block = |bytes: usize| drop(std::hint::black_box(vec![1_u8; bytes]));
            block(24 << 20);
            let before = resident();
            block(20 << 20);
            resident().saturating_sub(before)
        });
        let kept = kept.join().unwrap();
        assert!(kept < 10 << 20, "{kept}");
    }

    #[test]
    fn what_is_allocated_is_in_use_until_it_is_freed() {
        let _alone = alone();
        // In an arena, and in a mapping of its own.
        for bytes in [100_usize << 10, 64 << 20] {
            let before = in_use().unwrap_or_default();
            let block = std::hint::black_box(vec![1_u8; bytes]);
            let with = in_use().unwrap_or_default();
            assert!(with >= before + bytes as u64, "{before} {with}");
            drop(block);
            let after = in_use().unwrap_or_default();
            assert!(after + bytes as u64 / 2 < with, "{with} {after}");
        }
        give_back_free_memory();
    }
}
