//! The measured figures, and the JSON file that holds them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::agents::{Fate, Outcome, Round};
use crate::comparison::Comparison;
use crate::error::DemoError;
use crate::format::rate;

/// How the requests ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) requests: usize,
    pub(crate) completed: usize,
    pub(crate) failed: usize,
    pub(crate) cancelled: usize,
}

impl Count {
    pub(crate) fn of(round: &Round) -> Self {
        let mut count = Self { requests: round.outcomes.len(), ..Self::default() };
        for outcome in &round.outcomes {
            match outcome.fate() {
                Fate::Completed => count.completed += 1,
                Fate::Failed => count.failed += 1,
                Fate::Cancelled => count.cancelled += 1,
            }
        }
        count
    }
}

/// Times to the first token, of those that had one.
pub(crate) fn waits(round: &Round) -> Vec<Duration> {
    let wait = |outcome: &Outcome| outcome.end.as_ref().ok()?.timings.first_token;
    round.outcomes.iter().filter_map(wait).collect()
}

/// Times of the accepted submits.
pub(crate) fn submits(round: &Round) -> Vec<Duration> {
    round.outcomes.iter().filter_map(|outcome| outcome.submit).collect()
}

/// The smallest of `times` that at least `percent` percent are not above (nearest rank); `None` of none.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// What `--json` writes.
#[derive(Debug, Serialize)]
pub(crate) struct Figures<'a> {
    model: &'a str,
    agents: usize,
    requests: usize,
    completed: usize,
    failed: usize,
    tokens_generated: u64,
    /// Of the round that was watched: `tokens_generated / wall_s`.
    tokens_per_second: f64,
    ttft_ms: Percentiles,
    submit_us: Percentiles,
    leaked_blocks: u32,
    wall_s: f64,
    /// The median of the turns below; `null` when the plain loop failed.
    plain_tokens_per_second: Option<f64>,
    /// Median by median.
    engine_to_plain: Option<f64>,
    engine_turns_tokens_per_second: &'a [f64],
    plain_turns_tokens_per_second: &'a [f64],
    peak_blocks: u32,
    total_blocks: u32,
    machine: Machine,
}

/// `null` when nothing was measured.
#[derive(Debug, Serialize)]
struct Percentiles {
    p50: Option<f64>,
    p99: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    /// Cores that the process may use.
    cores: usize,
    /// ggml's threads.
    threads: u32,
    os: &'static str,
    arch: &'static str,
}

impl<'a> Figures<'a> {
    pub(crate) fn new(
        model: &'a str,
        threads: u32,
        round: &Round,
        comparison: Option<&'a Comparison>,
    ) -> Self {
        let Count { requests, completed, failed, .. } = Count::of(round);
        let percentiles = |times: &[Duration], second: f64| {
            let of = |percent| percentile(times, percent).map(|time| time.as_secs_f64() * second);
            Percentiles { p50: of(50), p99: of(99) }
        };
        Self {
            model,
            agents: requests,
            requests,
            completed,
            failed,
            tokens_generated: round.generated(),
            tokens_per_second: rate(round.generated(), round.wall),
            ttft_ms: percentiles(&waits(round), 1e3),
            submit_us: percentiles(&submits(round), 1e6),
            leaked_blocks: round.leaked_blocks,
            wall_s: round.wall.as_secs_f64(),
            plain_tokens_per_second: comparison.map(Comparison::plain_median),
            engine_to_plain: comparison.map(Comparison::ratio),
            engine_turns_tokens_per_second: comparison.map_or(&[], |turns| &turns.engine),
            plain_turns_tokens_per_second: comparison.map_or(&[], |turns| &turns.plain),
            peak_blocks: round.peak_blocks,
            total_blocks: round.total_blocks,
            machine: Machine::here(threads),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), DemoError> {
        write_json(self, path)
    }
}

impl Machine {
    /// This one, with so many of ggml's threads.
    pub(crate) fn here(threads: u32) -> Self {
        Self {
            cpu: cpu(),
            cores: thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads,
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
        }
    }
}

/// Writes figures to a temporary file beside `path` and renames it: whoever looks finds a whole file or none.
pub(crate) fn write_json(figures: &impl Serialize, path: &Path) -> Result<(), DemoError> {
    let mut file = temporary(path)?;
    let text = serde_json::to_string_pretty(figures).map_err(|error| refuse(path, error))?;
    writeln!(file, "{text}").map_err(|error| refuse(path, error))?;
    file.as_file().sync_all().map_err(|error| refuse(path, error))?;
    file.persist(path).map_err(|error| refuse(path, error.error))?;
    Ok(())
}

/// Finds out whether a file can be written before minutes are spent on what is to be in it.
pub(crate) fn check(path: &Path) -> Result<(), DemoError> {
    // `file_name` does not see that `out.json/` ends in a separator.
    let as_folder = path.to_string_lossy().ends_with(std::path::is_separator);
    if as_folder || path.file_name().is_none() || path.is_dir() {
        return Err(refuse(path, "that is a folder"));
    }
    // A rename would put a file in the place of a device.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(refuse(path, "that is no regular file"));
    }
    if folder(path).is_some_and(|folder| !folder.is_dir()) {
        return Err(refuse(path, "its folder does not exist"));
    }
    temporary(path).map(drop)
}

/// The folder of a file that is not named in the current one.
fn folder(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

fn temporary(path: &Path) -> Result<tempfile::NamedTempFile, DemoError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".latchless-demo-").suffix(".json");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any file: less what the user's mask takes away.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder(path).unwrap_or_else(|| Path::new(".")))
        // The kind alone: the whole error names the temporary file, which tells nobody anything.
        .map_err(|error| refuse(path, error.kind()))
}

fn refuse(path: &Path, problem: impl std::fmt::Display) -> DemoError {
    let problem = format!("{problem}; name a file in a folder that exists and can be written");
    DemoError::Json { path: path.to_owned(), problem }
}

/// The processor's name, where the system tells; else its architecture.
fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let name = fields.find(|(field, _)| field.trim() == "model name");
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::NotAsked;

    fn round() -> Round {
        let cancelled = || Outcome {
            text: String::new(),
            submit: Some(Duration::from_micros(800)),
            end: Err(NotAsked::Interrupted),
        };
        Round {
            outcomes: vec![cancelled(), cancelled()],
            wall: Duration::from_secs(2),
            peak_blocks: 30,
            total_blocks: 60,
            leaked_blocks: 0,
        }
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<_> = (1..=8).rev().map(Duration::from_millis).collect();
        let of = |percent| percentile(&times, percent).map(|time| time.as_millis());
        assert_eq!([of(0), of(50), of(99), of(100)], [Some(1), Some(4), Some(8), Some(8)]);
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn the_file_is_whole_and_has_the_promised_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        check(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        let comparison = Comparison { engine: vec![95.0], plain: vec![100.0] };
        Figures::new("Smol", 2, &round(), Some(&comparison)).write(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for field in [
            "model",
            "agents",
            "requests",
            "completed",
            "failed",
            "tokens_generated",
            "tokens_per_second",
            "leaked_blocks",
            "wall_s",
            "plain_tokens_per_second",
            "machine",
        ] {
            assert!(!json[field].is_null(), "{field} is missing in {json}");
        }
        assert_eq!(json["submit_us"]["p50"], 800.0);
        assert!(json["ttft_ms"].as_object().unwrap()["p99"].is_null());
        assert_eq!(json["failed"], 0, "cancelled is not failed");
        // Written again in its place.
        Figures::new("Other", 2, &round(), None).write(&path).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("Other"));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let [missing, named_as_folder] =
            ["none/out.json", "out.json/"].map(|path| folder.path().join(path));
        for path in [folder.path().to_owned(), missing, named_as_folder, "/".into()] {
            let error = check(&path).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("name a file"), "{error}");
        }
        #[cfg(unix)]
        check(Path::new("/dev/null")).unwrap_err();
        let error = temporary(&folder.path().join("none/out.json")).unwrap_err().to_string();
        assert!(!error.contains(".latchless-demo-"), "{error}");
    }
}
