//! The text of one token, without a heap allocation when it is as short as most.

use std::fmt;
use std::ops::Deref;

/// What fits inside: with its length and the tag as large as a `String`. Tokens are rarely longer.
const INLINE: usize = 22;

/// Text that is usually a few bytes long; it reads as a `str`.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, Event, Piece, Request};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// let mut stream = engine.submit(agent, Request::text("Why?"))?;
/// let Some(Event::Token { text, .. }) = stream.recv() else { unreachable!() };
/// let text: Piece = text;
/// assert_eq!(&*text, "B");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Piece(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    /// The first `len` bytes, which are UTF-8; the others are 0, so that equal text is equal.
    Inline {
        len: u8,
        bytes: [u8; INLINE],
    },
    Heap(Box<str>),
}

impl Piece {
    /// The text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // It was a `str`. Looking again costs a nanosecond, and an `unsafe` would cost more.
            Repr::Inline { len, bytes } => {
                std::str::from_utf8(&bytes[..usize::from(*len)]).unwrap_or_default()
            }
            Repr::Heap(text) => text,
        }
    }
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        let mut bytes = [0; INLINE];
        match bytes.get_mut(..text.len()) {
            Some(inside) => {
                inside.copy_from_slice(text.as_bytes());
                Self(Repr::Inline { len: text.len() as u8, bytes })
            }
            None => Self(Repr::Heap(text.into())),
        }
    }
}

impl Default for Piece {
    fn default() -> Self {
        Self::from("")
    }
}

impl Deref for Piece {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Piece {
    fn as_ref(&self) -> &str {
        self
    }
}

impl PartialEq<str> for Piece {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Piece {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_the_text_it_was_made_of_whatever_its_length() {
        assert!(size_of::<Piece>() <= size_of::<String>());
        for len in 0..2 * INLINE {
            let text: String = "añb🦀".chars().cycle().take(len).collect();
            let piece = Piece::from(text.as_str());
            assert_eq!(piece, *text);
            assert_eq!(piece, Piece::from(text.as_str()));
            assert_eq!(piece.to_string(), text);
        }
        assert_ne!(Piece::from("a"), Piece::from("a\0"));
    }
}
