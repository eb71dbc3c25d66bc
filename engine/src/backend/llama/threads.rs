//! How many threads ggml gets.
//!
//! ggml's threads spin at barriers, several hundred a token: with one thread more than there are free
//! cores, all wait for the one that does not run, and throughput collapses.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::thread;

/// Where Linux tells about its cores.
const CPUS: &str = "/sys/devices/system/cpu";
/// On machines this small a sibling of a busy core still helps, as llama.cpp's own default has it.
const SMALL: u32 = 4;

/// Threads for a context that asks for `asked`, or for none: the cores this process may use, counted
/// without their siblings on larger machines. Never more than it may use.
pub(super) fn threads(asked: Option<u32>) -> u32 {
    let usable = thread::available_parallelism().map_or(1, |usable| usable.get() as u32);
    let whole = physical_cores(Path::new(CPUS));
    choose(asked, usable, whole)
}

fn choose(asked: Option<u32>, usable: u32, physical: Option<u32>) -> u32 {
    let default = if usable <= SMALL { usable } else { physical.unwrap_or(usable) };
    asked.unwrap_or(default).clamp(1, usable.max(1))
}

/// Distinct sets of sibling threads; `None` where the system does not tell.
fn physical_cores(cpus: &Path) -> Option<u32> {
    let siblings = fs::read_dir(cpus).ok()?.filter_map(|entry| {
        let topology = entry.ok()?.path().join("topology");
        fs::read_to_string(topology.join("thread_siblings_list")).ok()
    });
    let cores = siblings.collect::<HashSet<_>>().len() as u32;
    (cores > 0).then_some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_process_may_use() {
        assert_eq!(choose(None, 2, Some(1)), 2, "a small machine uses its siblings");
        assert_eq!(choose(None, 32, Some(16)), 16);
        assert_eq!(choose(None, 8, Some(64)), 8, "a container on a large machine");
        assert_eq!(choose(None, 8, None), 8);
        assert_eq!(choose(Some(3), 8, Some(8)), 3);
        assert_eq!(choose(Some(99), 8, Some(8)), 8);
        assert_eq!(choose(Some(0), 8, Some(8)), 1);
    }

    #[test]
    fn siblings_count_once() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(physical_cores(folder.path()), None);
        for (cpu, siblings) in [("cpu0", "0,2\n"), ("cpu1", "1,3\n"), ("cpu2", "0,2\n")] {
            let topology = folder.path().join(cpu).join("topology");
            fs::create_dir_all(&topology).unwrap();
            fs::write(topology.join("thread_siblings_list"), siblings).unwrap();
        }
        fs::create_dir(folder.path().join("cpufreq")).unwrap();
        assert_eq!(physical_cores(folder.path()), Some(2));
    }
}
