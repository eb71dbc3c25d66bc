//! What a host asks for.

use super::error::SubmitError;
use crate::backend::{ChatMessage, Sampling, Token};

/// What the model is to continue or answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prompt {
    /// Text to be continued. Control tokens in it, such as `<|im_start|>`, mean what the model knows
    /// them for.
    Text(String),
    /// A chat, written by the model's own template.
    Chat(Vec<ChatMessage>),
    /// Tokens, as they are.
    Tokens(Vec<Token>),
}

/// One request: a prompt, how long the answer may be, how its tokens are drawn, and what ends it.
///
/// ```
/// use latchless_engine::{ChatMessage, Request, Sampling};
/// let question = ChatMessage::user("Why is the sky blue?");
/// let request = Request::chat([question]).max_tokens(64).sampling(Sampling::seeded(7)).stop("\n\n");
/// # let _ = request;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub(crate) prompt: Prompt,
    pub(crate) max_tokens: u32,
    pub(crate) sampling: Sampling,
    pub(crate) stops: Vec<String>,
}

impl Request {
    /// Tokens of an answer when nothing else is said.
    pub const DEFAULT_MAX_TOKENS: u32 = 128;

    /// A request for at most [`Request::DEFAULT_MAX_TOKENS`] tokens, drawn greedily.
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            max_tokens: Self::DEFAULT_MAX_TOKENS,
            sampling: Sampling::Greedy,
            stops: Vec::new(),
        }
    }

    /// Text to be continued.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Prompt::Text(text.into()))
    }

    /// A chat to be answered.
    pub fn chat(messages: impl IntoIterator<Item = ChatMessage>) -> Self {
        Self::new(Prompt::Chat(messages.into_iter().collect()))
    }

    /// Tokens to be continued.
    pub fn tokens(tokens: impl IntoIterator<Item = Token>) -> Self {
        Self::new(Prompt::Tokens(tokens.into_iter().collect()))
    }

    /// The most tokens to generate; at least 1. Blocks for all of them are reserved at submit. An answer
    /// also ends where its sequence is full.
    #[must_use]
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// How tokens are drawn.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Adds a string that ends the answer when it is generated; the answer ends before it.
    #[must_use]
    pub fn stop(mut self, stop: impl Into<String>) -> Self {
        self.stops.push(stop.into());
        self
    }

    /// Refuses what no model can do.
    pub(crate) fn validate(&self) -> Result<(), SubmitError> {
        let empty = match &self.prompt {
            Prompt::Text(text) => text.is_empty(),
            Prompt::Chat(messages) => messages.is_empty(),
            Prompt::Tokens(tokens) => tokens.is_empty(),
        };
        if empty {
            return Err(SubmitError::EmptyPrompt);
        }
        if self.max_tokens == 0 {
            return Err(SubmitError::ZeroMaxTokens);
        }
        if let Some(index) = self.stops.iter().position(String::is_empty) {
            return Err(SubmitError::EmptyStop { index });
        }
        self.sampling.validate().map_err(SubmitError::Sampling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_by_name() {
        let refused = |request: Request| request.validate().unwrap_err().to_string();
        assert!(matches!(Request::text("").validate(), Err(SubmitError::EmptyPrompt)));
        assert!(matches!(Request::chat([]).validate(), Err(SubmitError::EmptyPrompt)));
        assert!(matches!(Request::tokens([]).validate(), Err(SubmitError::EmptyPrompt)));
        let request = Request::text("a");
        assert!(request.validate().is_ok());
        assert!(refused(request.clone().max_tokens(0)).contains("max_tokens"));
        assert!(refused(request.clone().stop("x").stop("")).contains("stop string 1"));
        let hot = Sampling::Seeded { seed: 1, temperature: f32::NAN, top_k: 0, top_p: 1.0 };
        assert!(refused(request.sampling(hot)).contains("temperature"));
    }
}
