//! What a context takes, and what there is.
//!
//! Linux grants an allocation larger than its memory and kills the process when the pages are
//! touched, which llama.cpp does at once. So it is asked before.

use std::fs;
use std::path::{Path, PathBuf};

use super::LoadError;
use super::gguf::Header;
use super::options::CELL_STEP;

/// What one model's contexts take, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    /// Keys and values of one token in all layers.
    cell: u64,
    /// Whatever does not depend on the number of cells.
    fixed: u64,
}

impl Footprint {
    /// For graphs of `rows` rows, of which `sequences` have logits.
    pub(super) fn new(header: &Header, rows: u32, sequences: u32) -> Self {
        /// Elements are half-precision floats.
        const ELEMENT: u64 = 2;
        /// Vectors of a row that live at once, with the wide ones of the feed-forward part: measured.
        const VECTORS: u64 = 16;
        const FLOAT: u64 = size_of::<f32>() as u64;
        let elements = u64::from(header.key_length) + u64::from(header.value_length);
        let cell = header.kv_heads_of_all_layers.saturating_mul(elements).saturating_mul(ELEMENT);
        let activations = u64::from(rows) * u64::from(header.embedding) * VECTORS;
        // Logits lie once where they are computed and once where they are read.
        let logits = u64::from(sequences.min(rows)) * u64::from(header.vocabulary) * 2;
        Self { cell, fixed: activations.saturating_add(logits).saturating_mul(FLOAT) }
    }

    fn bytes(self, cells: u32) -> u64 {
        self.cell.saturating_mul(cells.into()).saturating_add(self.fixed)
    }

    /// Refuses a context that does not fit into `available` bytes; `None` is "not known".
    pub(super) fn check(self, cells: u32, available: Option<u64>) -> Result<(), LoadError> {
        let Some(available) = available else { return Ok(()) };
        let needed = self.bytes(cells);
        if needed <= available {
            return Ok(());
        }
        let most = available.saturating_sub(self.fixed).checked_div(self.cell).unwrap_or(0);
        let most = most.min(cells.into()) as u32;
        let fits = most - most % CELL_STEP;
        Err(LoadError::TooLarge { cells, needed, available, fits })
    }
}

/// Bytes that this process can still take without swapping or being killed: what the kernel calls
/// available, or what is left of a control group's limit if that is less. `None` where the system does
/// not tell.
pub(super) fn available() -> Option<u64> {
    available_under(Path::new("/"))
}

fn available_under(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| left_of_group(root, line));
    mem_available(root).into_iter().chain(limits).min()
}

/// `MemAvailable`: free memory and the caches that can be dropped.
fn mem_available(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let kib: u64 = field(&text, "MemAvailable:")?;
    Some(kib.saturating_mul(1024))
}

/// What is left in a control group (version 1 or 2) and the groups around it; a line of
/// `/proc/self/cgroup` is `id:controllers:path`.
fn left_of_group(root: &Path, line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let (mount, limit, usage, dropped) = if controllers.is_empty() {
        ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        let (limit, usage) = ("memory.limit_in_bytes", "memory.usage_in_bytes");
        ("sys/fs/cgroup/memory", limit, usage, "total_inactive_file")
    } else {
        return None;
    };
    let mount = root.join(mount);
    let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    // Inside a container the path may be the host's: groups that are not there are passed over.
    let groups = Path::new(path.trim_start_matches('/')).ancestors();
    let left = groups.filter_map(|group| {
        let group = mount.join(group);
        let limit = number(group.join(limit))?;
        let used = number(group.join(usage))?;
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        // Cached files count as used, and go when the memory is needed.
        let cached = field(&stat, dropped).unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    });
    left.min()
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smol() -> Header {
        Header {
            architecture: "llama".into(),
            name: None,
            tokenizer: None,
            context_length: 8192,
            layers: 30,
            embedding: 576,
            kv_heads: 3,
            kv_heads_of_all_layers: 90,
            key_length: 64,
            value_length: 64,
            vocabulary: 49_152,
        }
    }

    #[test]
    fn a_cell_is_keys_and_values_of_all_layers() {
        let footprint = Footprint::new(&smol(), 1, 1);
        assert_eq!(footprint.bytes(1) - footprint.bytes(0), 90 * 128 * 2);
    }

    #[test]
    fn what_does_not_fit_says_what_would() {
        let footprint = Footprint::new(&smol(), 512, 8);
        assert!(footprint.check(4096, None).is_ok());
        let needed = footprint.bytes(4096);
        assert!(footprint.check(4096, Some(needed)).is_ok());
        match footprint.check(4096, Some(needed - 1)) {
            Err(LoadError::TooLarge { cells: 4096, available, fits: 3840, .. }) => {
                assert_eq!(available, needed - 1);
                assert!(footprint.check(3840, Some(available)).is_ok());
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            footprint.check(256, Some(1 << 20)),
            Err(LoadError::TooLarge { fits: 0, .. })
        ));
        let huge = Header { kv_heads_of_all_layers: u64::MAX, ..smol() };
        assert!(Footprint::new(&huge, 1, 1).check(256, Some(1 << 40)).is_err());
    }

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn with(self, path: &str, text: &str) -> Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn available(&self) -> Option<u64> {
            available_under(self.0.path())
        }
    }

    const MEMINFO: &str = "MemTotal:  8000 kB\nMemFree:  10 kB\nMemAvailable:    4000 kB\n";

    #[test]
    fn without_groups_it_is_what_the_kernel_calls_available() {
        assert_eq!(Machine::new().available(), None);
        let machine = Machine::new().with("proc/meminfo", MEMINFO);
        assert_eq!(machine.available(), Some(4000 * 1024));
        let unlimited = machine
            .with("proc/self/cgroup", "0::/job\n")
            .with("sys/fs/cgroup/job/memory.max", "max\n")
            .with("sys/fs/cgroup/job/memory.current", "5\n");
        assert_eq!(unlimited.available(), Some(4000 * 1024));
    }

    #[test]
    fn the_tightest_group_counts() {
        let machine = Machine::new()
            .with("proc/meminfo", MEMINFO)
            .with("proc/self/cgroup", "0::/slice/job\n")
            .with("sys/fs/cgroup/slice/job/memory.max", "max\n")
            .with("sys/fs/cgroup/slice/memory.max", "1000000\n")
            .with("sys/fs/cgroup/slice/memory.current", "900000\n")
            .with("sys/fs/cgroup/slice/memory.stat", "anon 5\ninactive_file 300000\n");
        assert_eq!(machine.available(), Some(400_000));
    }

    #[test]
    fn version_1_is_understood_and_a_foreign_path_falls_back_to_the_mount() {
        let machine = Machine::new()
            .with("proc/meminfo", MEMINFO)
            .with("proc/self/cgroup", "8:pids:/\n4:cpu,memory:/docker/abc\n0::/\n")
            .with("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000\n")
            .with("sys/fs/cgroup/memory/memory.usage_in_bytes", "500000\n");
        assert_eq!(machine.available(), Some(1_500_000));
    }
}
