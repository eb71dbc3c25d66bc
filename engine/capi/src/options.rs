//! What an engine is made of, and what a request asks for.

use std::ffi::c_char;
use std::time::Duration;

use latchless_engine::EngineConfig;
use latchless_engine::backend::scripted::{Script, ScriptedBackend};

use crate::arguments::{Options, init, optional_text};
use crate::call::call;
use crate::status::{Failure, latchless_status};

/// The sizes of an engine, and which threads it has.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct latchless_engine_options {
    /// Set by latchless_engine_options_init().
    pub size: usize,
    /// Contexts of the model, each with its own pool and requests: 1 to 64; 1 unless set.
    pub lanes: u32,
    /// 1 gives each lane a thread of the engine's. With 0, as it is unless set, the host steps each lane by
    /// latchless_engine_step(), from a thread of its own.
    pub lane_threads: u32,
    /// 1 gives the engine a thread that makes the callbacks. With 0, as it is unless set, they are made by
    /// whoever calls latchless_engine_dispatch().
    pub callback_thread: u32,
    /// Blocks of each lane's pool; 0, as it is unless set, for as many as the context's cells hold.
    pub blocks: u32,
    /// Agents that can be registered at once; 1,024 unless set.
    pub max_agents: u32,
    /// Requests that can be waiting and running together; 1,024 unless set. A submit beyond them is refused,
    /// never delayed.
    pub max_requests: u32,
    /// Tokens that a stream keeps for a reader that is behind; 256 unless set. Then the request pauses, and
    /// nobody else.
    pub stream_events: u32,
    /// Rows of one batch that prompts may take at most; 0, as it is unless set, for all that are left.
    pub prefill_rows: u32,
    /// Tokens that sequences without a request keep, for the next turn; `UINT32_MAX` unless set.
    pub idle_tokens: u32,
    /// 0.
    pub unused: u32,
    /// Nanoseconds between two tokens of running requests that are to hold while prompts are computed; 0, as
    /// it is unless set, for none.
    pub token_interval_ns: u64,
    /// Bytes of host memory for requests that gave way to others, for each lane; 1 GiB unless set.
    pub parked_bytes: u64,
}

// SAFETY: it begins with its size, and all else are numbers and pointers.
unsafe impl Options for latchless_engine_options {
    const NAME: &'static str = "options";
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        size: size_of::<Self>(),
        lanes: 1,
        lane_threads: 0,
        callback_thread: 0,
        blocks: 0,
        max_agents: 1_024,
        max_requests: 1_024,
        stream_events: 256,
        prefill_rows: 0,
        idle_tokens: u32::MAX,
        unused: 0,
        token_interval_ns: 0,
        parked_bytes: 1 << 30,
    };
}

/// The most agents of an engine: 64 MiB of accounts.
const MOST_AGENTS: u32 = 1 << 20;
/// The most requests of an engine, each a few words.
const MOST_REQUESTS: u32 = 1 << 20;
const MOST_LANES: u32 = 64;

impl latchless_engine_options {
    /// Refuses what no machine has room for; the rest is refused where it is used.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        for (what, value, most, allowed) in [
            ("lanes", self.lanes, MOST_LANES, "1 to 64"),
            ("max_agents", self.max_agents, MOST_AGENTS, "1 to 1048576"),
            ("max_requests", self.max_requests, MOST_REQUESTS, "1 to 1048576"),
            ("stream_events", self.stream_events, MOST_REQUESTS, "1 to 1048576"),
        ] {
            if !(1..=most).contains(&value) {
                return Err(Failure::Value { what, value: value.into(), allowed });
            }
        }
        Ok(())
    }

    pub(crate) fn config(&self) -> EngineConfig {
        let mut config = EngineConfig::default()
            .max_agents(self.max_agents)
            .max_requests(self.max_requests)
            .stream_events(self.stream_events)
            .idle_tokens(self.idle_tokens)
            .parked_bytes(self.parked_bytes);
        if self.blocks > 0 {
            config = config.blocks(self.blocks);
        }
        if self.prefill_rows > 0 {
            config = config.prefill_rows(self.prefill_rows);
        }
        if self.token_interval_ns > 0 {
            config = config.token_interval(Duration::from_nanos(self.token_interval_ns));
        }
        config
    }
}

/// The answer is the prompt.
pub const LATCHLESS_SCRIPT_ECHO: u32 = 0;
/// The answer is `text`.
pub const LATCHLESS_SCRIPT_TEXT: u32 = 1;
/// The answer is `text` over and over, without an end.
pub const LATCHLESS_SCRIPT_ENDLESS: u32 = 2;
/// The answer is `tokens` letters and spaces that depend on every token before them.
pub const LATCHLESS_SCRIPT_BABBLE: u32 = 3;

/// A backend that needs no model: deterministic, for tests of hosts. A token is a byte.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct latchless_scripted_options {
    /// Set by latchless_scripted_options_init().
    pub size: usize,
    /// One of `LATCHLESS_SCRIPT_...`; ECHO unless set.
    pub script: u32,
    /// Of `LATCHLESS_SCRIPT_BABBLE`; 32 unless set.
    pub tokens: u32,
    /// Of `LATCHLESS_SCRIPT_TEXT` and `_ENDLESS`; NULL for "".
    pub text: *const c_char,
    /// Nanoseconds that each decode takes at least; 0 unless set.
    pub pace_ns: u64,
    /// Tokens that all sequences together can keep; 4,096 unless set.
    pub cells: u32,
    /// Tokens that one sequence can keep; 1,024 unless set.
    pub tokens_per_sequence: u32,
    /// Sequences that can live at once, 1 to 4,096; 8 unless set.
    pub sequences: u32,
    /// Rows of one batch, 1 to 65,536; 64 unless set.
    pub batch_rows: u32,
}

// SAFETY: it begins with its size, and all else are numbers and pointers.
unsafe impl Options for latchless_scripted_options {
    const NAME: &'static str = "options";
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        size: size_of::<Self>(),
        script: LATCHLESS_SCRIPT_ECHO,
        tokens: 32,
        text: std::ptr::null(),
        pace_ns: 0,
        cells: 4_096,
        tokens_per_sequence: 1_024,
        sequences: 8,
        batch_rows: 64,
    };
}

impl latchless_scripted_options {
    /// As many backends as lanes.
    ///
    /// # Safety
    /// `text` is NULL or a text.
    pub(crate) unsafe fn backends(&self, lanes: u32) -> Result<Vec<ScriptedBackend>, Failure> {
        // SAFETY: the caller's promise.
        let text = unsafe { optional_text(self.text, "text") }?.unwrap_or_default().to_owned();
        let script = match self.script {
            LATCHLESS_SCRIPT_ECHO => Script::Echo,
            LATCHLESS_SCRIPT_TEXT => Script::Text(text),
            LATCHLESS_SCRIPT_ENDLESS => Script::Endless(text),
            LATCHLESS_SCRIPT_BABBLE => Script::Babble { tokens: self.tokens },
            script => {
                let allowed = "one of LATCHLESS_SCRIPT_...";
                return Err(Failure::Value { what: "the script", value: script.into(), allowed });
            }
        };
        for (what, value, most, allowed) in [
            ("cells", self.cells, 1 << 24, "1 to 16777216"),
            ("tokens_per_sequence", self.tokens_per_sequence, 1 << 24, "2 to 16777216"),
            ("sequences", self.sequences, 1 << 12, "1 to 4096"),
            ("batch_rows", self.batch_rows, 1 << 16, "1 to 65536"),
        ] {
            if !(1..=most).contains(&value) {
                return Err(Failure::Value { what, value: value.into(), allowed });
            }
        }
        let mut builder = ScriptedBackend::builder(script)
            .cells(self.cells)
            .tokens_per_sequence(self.tokens_per_sequence)
            .sequences(self.sequences)
            .batch_rows(self.batch_rows);
        if self.pace_ns > 0 {
            builder = builder.pace(Duration::from_nanos(self.pace_ns));
        }
        Ok((0..lanes).map(|_| builder.clone().build()).collect())
    }
}

/// A GGUF model and its contexts, through llama.cpp.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct latchless_llama_options {
    /// Set by latchless_llama_options_init().
    pub size: usize,
    /// The model's file; must be set.
    pub model_path: *const c_char,
    /// Tokens of a block of the pool; 32 unless set.
    pub block_tokens: u32,
    /// Tokens that all sequences together can keep; 0, as it is unless set, for 512 a sequence.
    pub cells: u32,
    /// Sequences that can live at once, 1 to 256; 8 unless set.
    pub sequences: u32,
    /// Rows of one batch, 1 to 8,192; 512 unless set.
    pub batch_rows: u32,
    /// Threads that compute, for each lane; 0, as it is unless set, for one a core. llama.cpp starts and ends
    /// them with each decode.
    pub threads: u32,
    /// 1 gives each sequence its own part of the cells; 0, as it is unless set, lets any have any.
    pub divided: u32,
}

// SAFETY: it begins with its size, and all else are numbers and pointers.
unsafe impl Options for latchless_llama_options {
    const NAME: &'static str = "options";
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        size: size_of::<Self>(),
        model_path: std::ptr::null(),
        block_tokens: 32,
        cells: 0,
        sequences: 8,
        batch_rows: 512,
        threads: 0,
        divided: 0,
    };
}

#[cfg(feature = "llama")]
mod llama {
    use latchless_engine::backend::llama::{
        CellLayout, ContextOptions, LlamaContext, LlamaModel, ModelOptions,
    };

    use super::{Failure, latchless_llama_options};
    use crate::arguments::text;

    /// What is loaded later, perhaps: nothing of the caller's is needed then.
    pub(crate) struct Load {
        path: String,
        model: ModelOptions,
        context: ContextOptions,
        lanes: u32,
    }

    impl latchless_llama_options {
        /// # Safety
        /// `model_path` is NULL or a text.
        pub(crate) unsafe fn load(&self, lanes: u32) -> Result<Load, Failure> {
            // SAFETY: the caller's promise.
            let path = unsafe { text(self.model_path, "model_path") }?.to_owned();
            let layout = if self.divided == 0 { CellLayout::Shared } else { CellLayout::Divided };
            let context = ContextOptions {
                cells: (self.cells > 0).then_some(self.cells),
                layout,
                sequences: self.sequences,
                batch_rows: self.batch_rows,
                threads: (self.threads > 0).then_some(self.threads),
            };
            let model = ModelOptions { block_tokens: self.block_tokens };
            Ok(Load { path, model, context, lanes })
        }
    }

    impl Load {
        /// Loads the model and makes its contexts. Takes seconds.
        pub(crate) fn contexts(self) -> Result<Vec<LlamaContext>, Failure> {
            let failed = |error: latchless_engine::backend::llama::LoadError| {
                Failure::Load(error.to_string())
            };
            let model = LlamaModel::load(&self.path, &self.model).map_err(failed)?;
            let contexts = (0..self.lanes).map(|_| model.context(&self.context));
            contexts.collect::<Result<_, _>>().map_err(failed)
        }
    }
}

/// Initialises the options with their defaults. `size` is `sizeof *options`.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_engine_options_init(
    options: *mut latchless_engine_options,
    size: usize,
) -> latchless_status {
    // SAFETY: the caller's promise.
    call(|| unsafe { init(options, size) })
}

/// Initialises the options with their defaults. `size` is `sizeof *options`.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_scripted_options_init(
    options: *mut latchless_scripted_options,
    size: usize,
) -> latchless_status {
    // SAFETY: the caller's promise.
    call(|| unsafe { init(options, size) })
}

/// Initialises the options with their defaults. `size` is `sizeof *options`.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_llama_options_init(
    options: *mut latchless_llama_options,
    size: usize,
) -> latchless_status {
    // SAFETY: the caller's promise.
    call(|| unsafe { init(options, size) })
}
