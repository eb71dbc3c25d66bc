//! The immutable side: a vocabulary of bytes.

use latchless::ModelSpec;

use super::super::{BackendError, ChatMessage, Model, Token};

/// Where the pieces start: after 256 bytes, the end and the start.
const FIRST_PIECE: u32 = 258;

/// A model whose tokens are bytes, two control tokens, and any pieces that a test adds.
///
/// | token | stands for |
/// |---|---|
/// | 0 ..= 255 | that byte |
/// | 256, [`END`](Self::END) | the end of a generation; written `<\|end\|>` |
/// | 257, [`START`](Self::START) | the start of a text; written `<\|start\|>` |
/// | 258 .. | the pieces, in the order of [`with_piece`](Self::with_piece) |
///
/// Text becomes bytes, never pieces: a piece is what a script says, for example half a character
/// together with the letter before it.
#[derive(Debug, Clone)]
pub struct ScriptedModel {
    name: String,
    spec: ModelSpec,
    pieces: Vec<Vec<u8>>,
    has_chat_template: bool,
    refused_text: Option<String>,
}

impl Default for ScriptedModel {
    fn default() -> Self {
        Self::new()
    }
}

impl ScriptedModel {
    /// Ends a generation.
    pub const END: Token = Token(256);
    /// Put first where control tokens are wanted.
    pub const START: Token = Token(257);
    /// How [`END`](Self::END) and [`START`](Self::START) are written.
    const CONTROL: [(&'static str, Token); 2] =
        [("<|end|>", Self::END), ("<|start|>", Self::START)];

    /// Two layers, 16 tokens a block, no pieces.
    #[expect(clippy::missing_panics_doc, reason = "the geometry is a valid constant")]
    pub fn new() -> Self {
        let spec = ModelSpec::new(2, 1, 8, 16).expect("no count is 0");
        Self {
            name: "scripted".into(),
            spec,
            pieces: Vec::new(),
            has_chat_template: true,
            refused_text: None,
        }
    }

    /// The same under another name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The same with this geometry.
    #[must_use]
    pub fn with_spec(mut self, spec: ModelSpec) -> Self {
        self.spec = spec;
        self
    }

    /// The same with one token more, which stands for these bytes: the first is 258.
    #[must_use]
    pub fn with_piece(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.pieces.push(bytes.into());
        self
    }

    /// The same without a chat template: [`Model::chat_prompt`] refuses.
    #[must_use]
    pub fn without_chat_template(mut self) -> Self {
        self.has_chat_template = false;
        self
    }

    /// The same, refusing to tokenise any text that contains `text`.
    #[must_use]
    pub fn refusing(mut self, text: impl Into<String>) -> Self {
        self.refused_text = Some(text.into());
        self
    }
}

impl Model for ScriptedModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn tokenize(&self, text: &str, special: bool) -> Result<Vec<Token>, BackendError> {
        if let Some(refused) = self.refused_text.as_deref().filter(|refused| text.contains(refused))
        {
            let reason = format!("the text contains {refused:?}");
            return Err(BackendError::Failed { doing: "tokenising", reason });
        }
        let mut tokens = Vec::with_capacity(text.len() + 1);
        let mut rest = text.as_bytes();
        if special {
            tokens.push(Self::START);
        }
        while let Some((byte, behind)) = rest.split_first() {
            let control = Self::CONTROL
                .into_iter()
                .find(|(written, _)| special && rest.starts_with(written.as_bytes()));
            if let Some((written, token)) = control {
                tokens.push(token);
                rest = &rest[written.len()..];
            } else {
                tokens.push(Token(i32::from(*byte)));
                rest = behind;
            }
        }
        Ok(tokens)
    }

    fn token_bytes(&self, token: Token, out: &mut Vec<u8>) {
        let Ok(number) = u32::try_from(token.0) else { return };
        if let Ok(byte) = u8::try_from(number) {
            out.push(byte);
        } else if let Some(piece) = number.checked_sub(FIRST_PIECE) {
            out.extend(self.pieces.get(piece as usize).into_iter().flatten());
        }
    }

    fn is_end_of_generation(&self, token: Token) -> bool {
        token == Self::END
    }

    fn vocabulary_size(&self) -> u32 {
        FIRST_PIECE + self.pieces.len() as u32
    }

    /// A line a message, `role: content`, and `assistant: ` at the end.
    fn chat_prompt(&self, messages: &[ChatMessage]) -> Result<String, BackendError> {
        if !self.has_chat_template {
            return Err(BackendError::ChatTemplate { reason: "the model has none".into() });
        }
        if messages.is_empty() {
            return Err(BackendError::ChatTemplate { reason: "there is no message".into() });
        }
        let mut prompt = String::new();
        for message in messages {
            prompt.extend([message.role.as_str(), ": ", &message.content, "\n"]);
        }
        prompt.push_str("assistant: ");
        Ok(prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(model: &ScriptedModel, tokens: &[Token]) -> Vec<u8> {
        let mut out = Vec::new();
        for token in tokens {
            model.token_bytes(*token, &mut out);
        }
        out
    }

    #[test]
    fn plain_text_is_its_bytes_and_back() {
        let model = ScriptedModel::new();
        let text = "naïve <|end|> 🦀";
        let tokens = model.tokenize(text, false).unwrap();
        assert_eq!(tokens.len(), text.len());
        assert_eq!(text_of(&model, &tokens), text.as_bytes());
    }

    #[test]
    fn control_tokens_are_read_only_when_asked_for() {
        let model = ScriptedModel::new();
        let tokens = model.tokenize("a<|end|>", true).unwrap();
        assert_eq!(tokens, [ScriptedModel::START, Token(97), ScriptedModel::END]);
        assert_eq!(text_of(&model, &tokens), b"a", "control tokens have no text");
        assert!(model.is_end_of_generation(tokens[2]) && !model.is_end_of_generation(tokens[0]));
    }

    #[test]
    fn pieces_extend_the_vocabulary() {
        let model = ScriptedModel::new().with_piece(*b"ab").with_piece(vec![0xC3]);
        assert_eq!(model.vocabulary_size(), 260);
        assert_eq!(text_of(&model, &[Token(258), Token(259)]), [b'a', b'b', 0xC3]);
        assert_eq!(text_of(&model, &[Token(260), Token(-1), Token(i32::MAX)]), b"");
    }

    #[test]
    fn a_chat_ends_where_the_assistant_speaks() {
        let chat = [ChatMessage::system("be brief"), ChatMessage::user("hi")];
        let model = ScriptedModel::new();
        assert_eq!(model.chat_prompt(&chat).unwrap(), "system: be brief\nuser: hi\nassistant: ");
        assert!(model.chat_prompt(&[]).is_err());
        assert!(model.without_chat_template().chat_prompt(&chat).is_err());
    }

    #[test]
    fn a_refused_text_is_an_error() {
        let model = ScriptedModel::new().refusing("\0");
        assert!(model.tokenize("a\0b", false).is_err());
        assert!(model.tokenize("ab", false).is_ok());
    }
}
