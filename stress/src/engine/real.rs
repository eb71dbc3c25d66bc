//! A real model: contexts of a GGUF file through llama.cpp.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use latchless_engine::EngineConfig;
use latchless_engine::backend::llama::{ContextOptions, LlamaContext, LlamaModel, ModelOptions};

use super::fleet::{Fleet, Made, Refused};
use super::talk::Talk;
use crate::scratch::Scratch;

/// The name of the file that is cut off.
const CUT_OFF: &str = "cut-off.gguf";

/// A model, and what to load in its place.
pub(super) struct Real {
    path: PathBuf,
    /// Most generations have a context of it; some load the file anew.
    model: Arc<LlamaModel>,
    /// Has a file that begins like the model, and ends too early.
    folder: Scratch,
}

impl Real {
    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let model = LlamaModel::load(path, &ModelOptions::default())?;
        let mut beginning = Vec::new();
        File::open(path)?.take(1 << 20).read_to_end(&mut beginning)?;
        let folder = Scratch::new()?;
        fs::write(folder.path().join(CUT_OFF), &beginning)?;
        Ok(Self { path: path.to_owned(), model, folder })
    }

    fn model(&self, anew: bool) -> Result<Arc<LlamaModel>, Refused> {
        if !anew {
            return Ok(Arc::clone(&self.model));
        }
        let model = LlamaModel::load(&self.path, &ModelOptions::default());
        model.map_err(|error| Refused(error.to_string()))
    }
}

impl Fleet for Real {
    type Backend = LlamaContext;

    fn make(&self, rng: &mut Rng) -> Result<Made<Self::Backend>, Refused> {
        let options = ContextOptions {
            cells: Some(512),
            sequences: rng.u32(2..=4),
            batch_rows: 64,
            // Two lanes' threads and the hosts share the cores.
            threads: Some(1),
            ..ContextOptions::default()
        };
        let model = self.model(rng.u8(0..4) == 0)?;
        let context = model.context(&options).map_err(|error| Refused(error.to_string()))?;
        Ok(Made { backends: vec![context], is_sound: true })
    }

    fn fail_to_load(&self) -> Result<Vec<Self::Backend>, Refused> {
        match LlamaModel::load(self.folder.path().join(CUT_OFF), &ModelOptions::default()) {
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(Refused(error.to_string())),
        }
    }

    fn talk(&self) -> anyhow::Result<Talk> {
        Ok(Talk::unanswered())
    }

    fn sizes(&self, config: EngineConfig) -> EngineConfig {
        config.idle_tokens(256).parked_bytes(8 << 20)
    }

    fn cache_bytes(&self) -> u64 {
        16 << 20
    }

    fn slowness(&self) -> u64 {
        20
    }

    fn longest_deadline(&self) -> Duration {
        Duration::from_secs(2)
    }
}
