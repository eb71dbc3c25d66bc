//! What the scripted backend says.

use std::fmt;
use std::sync::Arc;

use super::super::Token;
use super::ScriptedModel;

/// A function from the prompt and the number of tokens drawn so far to the next token; `None` ends.
pub type CustomScript = dyn Fn(&[Token], usize) -> Option<Token> + Send + Sync;

/// What is said to every prompt.
#[derive(Clone)]
pub enum Script {
    /// The prompt's bytes, then the end.
    Echo,
    /// This text, a byte a token, then the end. An empty one ends at the first token.
    Text(String),
    /// These bytes, which need not be UTF-8, then the end.
    Bytes(Vec<u8>),
    /// These tokens, for example [pieces](ScriptedModel::with_piece), then the end.
    Tokens(Vec<Token>),
    /// This text over and over, without an end; an empty one says dots.
    Endless(String),
    /// So many letters and spaces that depend on every token before them and on the seed, then the
    /// end. A lane that decodes anything else than it should says something else.
    Babble {
        /// Tokens before the end.
        tokens: u32,
    },
    /// Anything else.
    Custom(Arc<CustomScript>),
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo => f.write_str("Echo"),
            Self::Text(text) => f.debug_tuple("Text").field(text).finish(),
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(bytes).finish(),
            Self::Tokens(tokens) => f.debug_tuple("Tokens").field(tokens).finish(),
            Self::Endless(text) => f.debug_tuple("Endless").field(text).finish(),
            Self::Babble { tokens } => f.debug_struct("Babble").field("tokens", tokens).finish(),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// What is known of a sequence where a token is drawn.
pub(super) struct Drawing<'a> {
    /// The prompt; empty when [`Script::reads_prompt`] says that nobody looks.
    pub(super) prompt: &'a [Token],
    /// A hash of all tokens so far.
    pub(super) hash: u64,
    /// Tokens drawn before.
    pub(super) drawn: usize,
    /// The sampler's seed.
    pub(super) seed: u32,
}

impl Script {
    /// Whether the answer depends on the prompt's own tokens.
    pub(super) fn reads_prompt(&self) -> bool {
        matches!(self, Self::Echo | Self::Custom(_))
    }

    /// The next token.
    pub(super) fn next(&self, drawing: &Drawing<'_>) -> Token {
        let drawn = drawing.drawn;
        let byte = |byte: &u8| Token(i32::from(*byte));
        let next = match self {
            Self::Echo => drawing.prompt.iter().filter(|token| token.0 < 256).nth(drawn).copied(),
            Self::Text(text) => text.as_bytes().get(drawn).map(byte),
            Self::Bytes(bytes) => bytes.get(drawn).map(byte),
            Self::Tokens(tokens) => tokens.get(drawn).copied(),
            Self::Endless(text) => {
                let text = if text.is_empty() { b"." } else { text.as_bytes() };
                text.get(drawn % text.len()).map(byte)
            }
            Self::Babble { tokens } => {
                (drawn < *tokens as usize).then(|| letter(drawing.hash, drawing.seed))
            }
            Self::Custom(script) => script(drawing.prompt, drawn),
        };
        next.unwrap_or(ScriptedModel::END)
    }
}

/// A letter or, now and then, a space.
fn letter(hash: u64, seed: u32) -> Token {
    // The finaliser of SplitMix64 (Steele, Lea and Flood 2014): neighbouring hashes give unlike letters.
    let mut mixed = hash ^ (u64::from(seed) << 32);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    let byte = if mixed.is_multiple_of(6) { b' ' } else { b'a' + (mixed / 6 % 26) as u8 };
    Token(i32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(script: &Script, prompt: &[Token], most: usize) -> Vec<Token> {
        let mut said = Vec::new();
        for drawn in 0..most {
            let token = script.next(&Drawing { prompt, hash: drawn as u64, drawn, seed: 0 });
            if token == ScriptedModel::END {
                break;
            }
            said.push(token);
        }
        said
    }

    fn bytes(text: &str) -> Vec<Token> {
        text.bytes().map(|byte| Token(i32::from(byte))).collect()
    }

    #[test]
    fn each_script_says_its_part_and_ends() {
        let mut prompt = bytes("hey");
        prompt.insert(0, ScriptedModel::START);
        assert_eq!(say(&Script::Echo, &prompt, 9), bytes("hey"));
        assert_eq!(say(&Script::Text("ïo".into()), &[], 9), bytes("ïo"));
        assert_eq!(say(&Script::Text(String::new()), &[], 9), []);
        assert_eq!(say(&Script::Bytes(vec![0xFF]), &[], 9), [Token(255)]);
        assert_eq!(say(&Script::Tokens(vec![Token(300)]), &[], 9), [Token(300)]);
        assert_eq!(say(&Script::Endless("ab".into()), &[], 5), bytes("ababa"));
        assert_eq!(say(&Script::Endless(String::new()), &[], 2), bytes(".."));
        assert_eq!(say(&Script::Babble { tokens: 4 }, &[], 9).len(), 4);
        let count = |prompt: &[Token], drawn| (drawn < prompt.len()).then_some(Token(7));
        assert_eq!(say(&Script::Custom(Arc::new(count)), &prompt, 9), [Token(7); 4]);
    }

    #[test]
    fn babble_depends_on_history_and_seed() {
        let letters = |seed| (0..64).map(|hash| letter(hash, seed)).collect::<Vec<_>>();
        assert_eq!(letters(1), letters(1));
        assert_ne!(letters(1), letters(2));
        let mut distinct = letters(1);
        distinct.sort();
        distinct.dedup();
        assert!(distinct.len() > 10, "{distinct:?}");
    }
}
