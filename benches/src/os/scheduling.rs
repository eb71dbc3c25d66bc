//! Where threads run, and when.
#![allow(unsafe_code)]

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Confines the calling thread, and threads that it starts from now on, to its first `count` cores.
/// Returns their numbers: fewer where there are fewer.
///
/// # Errors
/// The system's.
pub fn confine(count: usize) -> io::Result<Vec<usize>> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let cores: Vec<_> = (0..CpuSet::count())
        .filter(|core| allowed.is_set(*core).unwrap_or(false))
        .take(count)
        .collect();
    let mut set = CpuSet::new();
    for core in &cores {
        set.set(*core)?;
    }
    sched_setaffinity(this, &set)?;
    Ok(cores)
}

/// Pins the calling thread to a core.
///
/// # Errors
/// The system's.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Makes the calling thread one that runs only where nobody else wants to (`SCHED_IDLE`).
///
/// # Errors
/// The system's.
pub fn be_idle() -> io::Result<()> {
    // SAFETY: `sched_param` is a plain struct of integers, for which zeros are a value.
    let none: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: thread 0 is the calling one; the parameter is read during the call only.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
