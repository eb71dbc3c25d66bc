//! What the measuring asks of the operating system and the allocator. The only files here with `unsafe`,
//! each with its argument.

pub mod counting;
#[cfg(target_os = "linux")]
pub mod scheduling;
