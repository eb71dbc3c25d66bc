//! Which library this is.

use std::ffi::c_char;

/// The ABI that this header describes. Programs built against another number do not fit: the soname says
/// the same number.
pub const LATCHLESS_ABI_VERSION: u32 = 1;

/// The ABI of the library that is loaded: compare it with `LATCHLESS_ABI_VERSION` when you load it by
/// dlopen(). New functions, statuses and fields at the end of structs do not change it.
///
/// Threads: any. Real-time: yes. Works in a forked child.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_abi_version() -> u32 {
    LATCHLESS_ABI_VERSION
}

/// The library's version, such as "0.1.0".
///
/// Owner: the library, for ever. Threads: any. Real-time: yes. Works in a forked child.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Whether the library can run GGUF models (true), or scripts only.
///
/// Threads: any. Real-time: yes. Works in a forked child.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_has_llama() -> bool {
    cfg!(feature = "llama")
}
