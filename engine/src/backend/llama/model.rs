//! The immutable side of a loaded model.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use latchless::ModelSpec;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaChatMessage, LlamaChatTemplate, LlamaModel as RawModel};
use llama_cpp_2::token::LlamaToken;

use super::super::{BackendError, ChatMessage, Model, Token};
use super::gguf::{GgufError, Header};
use super::{ContextOptions, LlamaContext, LoadError, ModelOptions, capture, runtime};

/// Networks that llama.cpp loads but gives no KV cells (it would compute them without a sequence), or
/// that have an encoder, whose output a decode reads whether or not there is one. From
/// `llama_model::create_memory` and `llama_model_has_encoder`.
const NOT_GENERATIVE: [&str; 19] = [
    "bert",
    "clef",
    "dflash",
    "dream",
    "eagle3",
    "eurobert",
    "gemma-embedding",
    "jina-bert-v2",
    "jina-bert-v3",
    "llada",
    "llada-moe",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "rnd1",
    "t5",
    "t5encoder",
    "wavtokenizer-dec",
];

/// The longest text that is tokenised: llama.cpp counts in `i32`, and a byte can be a token.
const LONGEST_TEXT: usize = i32::MAX as usize / 2;

/// A GGUF model in memory: weights, vocabulary and chat template, shared by all its contexts.
///
/// ```no_run
/// use latchless_engine::backend::llama::{ContextOptions, LlamaModel, ModelOptions};
/// let model = LlamaModel::load("model.gguf", &ModelOptions::default())?;
/// let context = model.context(&ContextOptions { sequences: 4, ..Default::default() })?;
/// # Ok::<(), latchless_engine::backend::llama::LoadError>(())
/// ```
pub struct LlamaModel {
    raw: RawModel,
    path: PathBuf,
    name: String,
    header: Header,
    spec: ModelSpec,
    template: Option<LlamaChatTemplate>,
    vocabulary: u32,
    trained: u32,
    proved: OnceLock<()>,
}

impl fmt::Debug for LlamaModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlamaModel")
            .field("path", &self.path)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl LlamaModel {
    /// Loads the model at `path`. The weights are mapped, so that several processes share them.
    ///
    /// Takes from a part of a second to minutes, by the file's size; meant for start-up.
    ///
    /// # Errors
    /// [`LoadError`], which says what is wrong with the file and what to do.
    pub fn load(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Arc<Self>, LoadError> {
        let path = path.as_ref().to_owned();
        let header = Header::open(&path)?;
        if NOT_GENERATIVE.contains(&header.architecture.as_str()) {
            let architecture = header.architecture;
            return Err(LoadError::Unsupported { path, architecture });
        }
        // Without a vocabulary llama.cpp aborts at the first text.
        if header.tokenizer.as_deref().is_none_or(|kind| matches!(kind, "none" | "no_vocab")) {
            let problem = GgufError::Missing { key: "tokenizer.ggml.model".into() };
            return Err(LoadError::File { path, problem });
        }
        let spec = match spec(&header, options.block_tokens) {
            Ok(spec) => spec,
            Err(problem) => return Err(LoadError::Geometry { path, problem }),
        };
        if path.to_str().is_none() {
            return Err(LoadError::NotUtf8 { path });
        }
        let raw = match load_raw(runtime()?, &path) {
            Ok(raw) => raw,
            Err(reason) => return Err(LoadError::Refused { path, reason }),
        };
        let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = header.name.clone().filter(|name| !name.trim().is_empty());
        // Read once, before there is a context: making one may write it.
        let trained = raw.n_ctx_train();
        Ok(Arc::new(Self {
            name: name.unwrap_or_else(stem),
            template: raw.chat_template(None).ok(),
            vocabulary: u32::try_from(raw.n_vocab()).unwrap_or(0),
            trained,
            raw,
            path,
            header,
            spec,
            proved: OnceLock::new(),
        }))
    }

    /// A context of this model. Contexts are made one after the other, in the whole process.
    ///
    /// # Errors
    /// [`LoadError`] for an option out of its range, a context larger than the memory that is
    /// available, and when llama.cpp refuses.
    pub fn context(self: &Arc<Self>, options: &ContextOptions) -> Result<LlamaContext, LoadError> {
        LlamaContext::new(Arc::clone(self), options)
    }

    /// Where the model was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The header of its file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Tokens that the model was trained to have in sight: no sequence gets longer.
    pub fn trained_context(&self) -> u32 {
        self.trained
    }

    /// llama-cpp-2's own model. It stays inside: from it one could make two contexts at once.
    pub(super) fn raw(&self) -> &RawModel {
        &self.raw
    }

    /// Has it shown once that sequences of its contexts keep what they are given. Of two threads that make
    /// the first context both may ask for it.
    pub(super) fn proved(
        &self,
        prove: impl FnOnce() -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        if self.proved.get().is_none() {
            prove()?;
            let _first_or_second = self.proved.set(());
        }
        Ok(())
    }

    /// A token that can be decoded to see whether decoding works at all.
    pub(super) fn any_token(&self) -> Token {
        let first = Token(self.raw.vocab().bos().0);
        if self.has(first) { first } else { Token(0) }
    }

    fn has(&self, token: Token) -> bool {
        u32::try_from(token.0).is_ok_and(|token| token < self.vocabulary)
    }
}

/// The geometry for the pool. Layers that remember without KV heads count as one head of one element:
/// their sequences still take blocks.
fn spec(header: &Header, block_tokens: u32) -> Result<ModelSpec, latchless::SpecError> {
    // Where keys and values differ, a head of their mean has the same bytes.
    let elements = header.key_length.saturating_add(header.value_length).div_ceil(2);
    let (heads, layers) = (header.kv_heads.max(1), header.layers as usize);
    ModelSpec::new(layers, heads, elements.max(1), block_tokens)
}

fn load_raw(runtime: &LlamaBackend, path: &Path) -> Result<RawModel, String> {
    // A callback of our own, because llama.cpp's default one logs dots.
    let params = LlamaModelParams::default().with_progress_callback(|_| true);
    let (model, reason) = capture::with_reason(|| RawModel::load_from_file(runtime, path, &params));
    model.map_err(|_| reason)
}

impl Model for LlamaModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<Token>, BackendError> {
        if text.len() > LONGEST_TEXT {
            let reason = format!("{} bytes are too many, at most {LONGEST_TEXT}", text.len());
            return Err(BackendError::Failed { doing: "tokenising", reason });
        }
        let tokens = self.raw.vocab().tokenize(text.as_bytes(), special, special);
        Ok(tokens.into_iter().map(|token| Token(token.0)).collect())
    }

    fn token_bytes(&self, token: Token, out: &mut Vec<u8>) {
        if self.has(token) {
            self.raw.vocab().token_to_piece_into(LlamaToken(token.0), out, false, None);
        }
    }

    fn is_end_of_generation(&self, token: Token) -> bool {
        self.has(token) && self.raw.vocab().is_eog(LlamaToken(token.0))
    }

    fn vocabulary_size(&self) -> u32 {
        self.vocabulary
    }

    /// By llama.cpp's own engine, which knows the common templates by their marks and writes them
    /// itself: what else a model's Jinja template does, such as a default system message, is not done.
    fn chat_prompt(&self, messages: &[ChatMessage]) -> Result<String, BackendError> {
        let refused = |reason: &str| Err(BackendError::ChatTemplate { reason: reason.into() });
        let Some(template) = &self.template else {
            return refused("the model has none");
        };
        if messages.is_empty() {
            return refused("there is no message");
        }
        let bytes = messages.iter().map(|message| message.role.len() + message.content.len());
        if bytes.sum::<usize>() > LONGEST_TEXT / 2 {
            return refused("the messages are too long");
        }
        let chat: Result<Vec<_>, _> = messages
            .iter()
            .map(|message| LlamaChatMessage::new(message.role.clone(), message.content.clone()))
            .collect();
        let Ok(chat) = chat else {
            return refused("a message contains a NUL character");
        };
        match self.raw.apply_chat_template(template, &chat, true) {
            Ok(prompt) => Ok(prompt),
            Err(_) => refused("llama.cpp does not know the model's template"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unequal_keys_and_values_take_their_own_bytes() {
        let header = Header {
            architecture: "x".into(),
            name: None,
            tokenizer: None,
            context_length: 8,
            layers: 2,
            embedding: 64,
            kv_heads: 4,
            kv_heads_of_all_layers: 8,
            key_length: 192,
            value_length: 128,
            vocabulary: 9,
        };
        let spec_of = |header: &Header| spec(header, 16).unwrap();
        assert_eq!(spec_of(&header).bytes_per_block(), 4 * (192 + 128) * 16 * 2);
        let recurrent = Header { kv_heads: 0, key_length: 0, value_length: 0, ..header };
        assert_eq!(spec_of(&recurrent).blocks_for(17), 4);
        assert!(spec(&recurrent, 0).is_err());
    }
}
