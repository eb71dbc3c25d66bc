//! What comes through a stream, and what lies in its ring.

use super::completion::Completion;
use super::piece::Piece;
use crate::backend::Token;

/// What a request's stream gives, in this order: tokens, at most one `Held`, one `Finished`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A token was generated.
    Token {
        /// The token.
        token: Token,
        /// The text that became certain with it: empty while a character is not whole or a stop string
        /// may be starting, and more than the token's own when that is decided.
        text: Piece,
    },
    /// Text of earlier tokens that was held back; no more comes.
    Held {
        /// The text.
        text: String,
    },
    /// The request ended. Nothing follows.
    Finished(Completion),
}

impl Event {
    /// The text to show for this event, in whole characters; empty when there is none.
    pub fn text(&self) -> &str {
        match self {
            Self::Token { text, .. } => text,
            Self::Held { text } => text,
            Self::Finished(_) => "",
        }
    }
}

/// An event as it lies in the ring. A stream has a slot for each token that its reader may be behind, and
/// one completion: that one lies elsewhere, so that a slot is a few words.
#[derive(Debug)]
pub(crate) enum Slot {
    Token { token: Token, text: Piece },
    Held(Box<str>),
    Finished(Box<Completion>),
}

const _: () = assert!(size_of::<Slot>() <= 32);

impl From<Event> for Slot {
    fn from(event: Event) -> Self {
        match event {
            Event::Token { token, text } => Self::Token { token, text },
            Event::Held { text } => Self::Held(text.into()),
            Event::Finished(completion) => Self::Finished(Box::new(completion)),
        }
    }
}

impl From<Slot> for Event {
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::Token { token, text } => Self::Token { token, text },
            Slot::Held(text) => Self::Held { text: text.into() },
            Slot::Finished(completion) => Self::Finished(*completion),
        }
    }
}
