//! What the programs wrote, as far as the page tells it. Fields that are not read here are left out, so that
//! a program may write more.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A file of figures that cannot be used.
#[derive(Debug, Error)]
#[error("{}: {problem}; measure that part again (`cargo xtask bench report --only …`)", path.display())]
pub(crate) struct Unreadable {
    path: PathBuf,
    problem: String,
}

/// When a part was measured.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Run {
    pub(crate) unix_s: u64,
    pub(crate) took_s: u64,
    pub(crate) quick: bool,
    pub(crate) commit: String,
}

/// Everything that is there.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) runs: BTreeMap<String, Run>,
    pub(crate) pool: Option<PoolFigures>,
    pub(crate) tails: Option<Tails>,
    pub(crate) agents: Option<Agents>,
    pub(crate) store: Option<Store>,
    pub(crate) engine: Option<Engine>,
    pub(crate) instructions: Option<Instructions>,
}

impl Figures {
    /// Reads a folder. A file that is not there is a part that was not measured.
    pub(crate) fn read(folder: &Path) -> Result<Self, Unreadable> {
        Ok(Self {
            runs: read(folder, "runs")?.unwrap_or_default(),
            pool: read(folder, "pool")?,
            tails: read(folder, "tails")?,
            agents: read(folder, "agents")?,
            store: read(folder, "store")?,
            engine: read(folder, "engine")?,
            instructions: read(folder, "instructions")?,
        })
    }
}

fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>, Unreadable> {
    let path = folder.join(name).with_extension("json");
    let unreadable = |problem: String| Unreadable { path: path.clone(), problem };
    match fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).map(Some).map_err(|error| unreadable(error.to_string()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PoolFigures {
    pub(crate) machine: String,
    pub(crate) pool_blocks: u32,
    pub(crate) rounds: u16,
    pub(crate) slice_ms: u64,
    pub(crate) rows: Vec<PoolRow>,
    pub(crate) near_exhaustion: Vec<Scarce>,
    pub(crate) size: Vec<Size>,
    pub(crate) memory: Vec<Memory>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PoolRow {
    pub(crate) backend: String,
    pub(crate) threads: u32,
    pub(crate) n: u32,
    pub(crate) mpairs_per_s: f64,
    pub(crate) x_mutex_owner: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Scarce {
    pub(crate) backend: String,
    pub(crate) mpairs_per_s: f64,
    pub(crate) granted: u64,
    pub(crate) refused: u64,
    pub(crate) wrong: u64,
    pub(crate) x_mutex_owner: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Size {
    pub(crate) n: u32,
    pub(crate) blocks: u32,
    pub(crate) small_ns: f64,
    pub(crate) large_ns: f64,
    pub(crate) ratio: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Memory {
    pub(crate) blocks: u32,
    pub(crate) bytes: u64,
    pub(crate) bytes_per_block: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Tails {
    pub(crate) machine: String,
    pub(crate) blocks_a_request: u32,
    pub(crate) inversion_s: u64,
    pub(crate) freezes: u32,
    pub(crate) freeze_ms: u64,
    pub(crate) rows: Vec<TailRow>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TailRow {
    pub(crate) scenario: String,
    pub(crate) backend: String,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) p9999_ns: u64,
    pub(crate) p99999_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) operations: u64,
    pub(crate) over_20_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Agents {
    pub(crate) machine: String,
    pub(crate) rounds: u64,
    pub(crate) slice_ms: u64,
    pub(crate) inversion_s: u64,
    pub(crate) rows: Vec<AgentRow>,
    pub(crate) inversion: Vec<AgentTail>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AgentRow {
    pub(crate) operation: String,
    pub(crate) backend: String,
    pub(crate) threads: u32,
    pub(crate) mops: f64,
    pub(crate) ratio: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AgentTail {
    pub(crate) operation: String,
    pub(crate) backend: String,
    pub(crate) p50_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) operations: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Store {
    pub(crate) machine: String,
    pub(crate) tasks: u64,
    pub(crate) rounds: u64,
    pub(crate) rows: Vec<StoreRow>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StoreRow {
    pub(crate) threads: u32,
    pub(crate) durable: f64,
    pub(crate) relaxed: f64,
    pub(crate) one_transaction_each: f64,
    pub(crate) durable_is_faster: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Engine {
    /// Older files lack it.
    pub(crate) machine: Option<String>,
    pub(crate) model: String,
    pub(crate) cores: u32,
    pub(crate) rows: Vec<EngineRow>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct EngineRow {
    pub(crate) group: String,
    pub(crate) figure: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) wanted: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) compiler: String,
    pub(crate) counts: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_was_not_measured_and_what_is_broken_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Figures::read(folder.path()).unwrap().pool.is_none());
        fs::write(folder.path().join("store.json"), "{\"machine\": \"m\"}").unwrap();
        let error = Figures::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("store.json") && error.contains("tasks"), "{error}");
    }
}
