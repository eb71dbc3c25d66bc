//! What the allocator keeps for later.
#![allow(unsafe_code)]

/// Gives pages back to the system that no allocation is in, where the allocator can be asked to: glibc keeps
/// them for each of its arenas, as much as that ever had, which is hard to tell from a leak.
pub fn give_back_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: any thread may call it at any time. It changes nothing but where free memory is.
    unsafe {
        libc::malloc_trim(0);
    }
}
