//! What the process takes of the machine: memory, descriptors, threads.

use std::fs;

use latchless_heap::in_use;
use serde::Serialize;

/// Of this process, now. Zeros where the system does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Resources {
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
    /// Of that, what is not of files: the pages of a model that is mapped come and go as the system pleases.
    pub(crate) anonymous: u64,
    /// What allocations hold of it: the rest is what the allocator keeps for later, and stacks.
    pub(crate) in_use: u64,
    /// Open files, sockets and pipes.
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

impl Resources {
    /// Becomes the most of each.
    pub(crate) fn rise_to(&mut self, other: &Self) {
        let Self { resident, anonymous, in_use, descriptors, threads } = self;
        let mine = [resident, anonymous, in_use, descriptors, threads];
        let theirs =
            [other.resident, other.anonymous, other.in_use, other.descriptors, other.threads];
        for (mine, theirs) in mine.into_iter().zip(theirs) {
            *mine = theirs.max(*mine);
        }
    }

    /// Reads them from `/proc`, where there is one.
    pub(crate) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let bytes = |name| number(name).map_or(0, |kib: u64| kib * 1024);
        Self {
            resident: bytes("VmRSS:"),
            anonymous: bytes("RssAnon:"),
            in_use: in_use().unwrap_or_default(),
            // One of them is the folder itself, being read.
            descriptors: fs::read_dir("/proc/self/fd")
                .map_or(0, |folder| folder.count().saturating_sub(1) as u64),
            threads: number("Threads:").unwrap_or_default(),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_descriptors_and_threads() {
        let before = Resources::now();
        assert!(before.resident > 100_000 && before.threads >= 1 && before.descriptors >= 3);
        // Not optimised away, as what nobody looks at may be.
        let pages = std::hint::black_box(vec![1_u8; 64 << 20]);
        let now = Resources::now();
        let half = pages.len() as u64 / 2;
        assert!(now.resident >= before.resident + half, "{before:?} {now:?}");
        assert!(now.anonymous >= before.anonymous + half, "{before:?} {now:?}");
    }
}
