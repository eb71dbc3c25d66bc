//! The engine's cache on disk, under the same faults as the store: threads of the child save, load and forget
//! states of agents' sequences while the disk fails and the process is killed. What is loaded is whole, and was
//! given for this agent with these tokens; what was acknowledged is there.
//!
//! States are bytes here, which say themselves what they are: no model is needed.

mod books;
mod keeper;
mod phases;
mod room;

use latchless_engine::Token;
use latchless_engine::cache::SavedSequence;
use serde::{Deserialize, Serialize};

pub(super) use self::books::Books;
pub(super) use self::keeper::Keeper;
pub(super) use self::phases::{Action, deck};
pub(super) use self::room::Room;
use super::turn::{is_report, report};

/// Threads of a child that use the cache, beside those that use the store.
pub(super) const KEEPERS: u16 = 2;
/// Agents of each of them.
const AGENTS: u16 = 6;
/// Those among them that never make room for others: what was acknowledged for them is there at all events.
const PINNED: u16 = 2;

/// What a keeper tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kept {
    /// A decision was carried out.
    Did(usize),
    /// A state is durable; nanoseconds unless the thread was frozen meanwhile.
    Saved { save: Save, ns: Option<u64> },
    /// A state was loaded, and was what it must be.
    Loaded,
    /// An agent's state is not there any more: it made room.
    Evicted,
    /// The system refused a save, a load or a removal.
    Refused,
    /// From now on what an agent has may go.
    Forgetting(u16),
    /// What it had is gone, durably.
    Forgot(u16),
}

/// What a save is known by. Of one agent's saves the later one is the greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Save {
    agent: u16,
    life: u64,
    /// Of those of this life and its thread.
    number: u32,
}

impl Save {
    fn title(self) -> String {
        let Self { agent, life, number } = self;
        format!("{agent}:{life}:{number}")
    }

    /// The tokens that are saved: those of no other save.
    fn tokens(self) -> Vec<Token> {
        let Self { agent, life, number } = self;
        let known = [i32::from(agent), life as i32, number as i32];
        let more = (0..number % 7).map(|more| more as i32);
        known.into_iter().chain(more).map(Token).collect()
    }

    fn state(self, bytes: usize) -> Vec<u8> {
        report(&self.title(), bytes)
    }

    /// What was loaded for an agent, which must be one of its saves, and whole.
    fn read(agent: u16, found: &SavedSequence) -> Result<Self, String> {
        let SavedSequence { tokens, state } = found;
        let save = match tokens[..] {
            [Token(of), Token(life), Token(number), ..] if of == i32::from(agent) => {
                Self { agent, life: life as u64, number: number as u32 }
            }
            _ => return Err(format!("agent {agent} has tokens that it was not given: {tokens:?}")),
        };
        if save.tokens() != *tokens {
            return Err(format!(
                "save {} has other tokens than it was given: {tokens:?}",
                save.title()
            ));
        }
        if !is_report(&save.title(), state) {
            let bytes = state.len();
            return Err(format!("the state of save {} is not whole: {bytes} bytes", save.title()));
        }
        Ok(save)
    }

    /// As a number: a later save of an agent has a greater one, and none has 0.
    fn packed(self) -> u64 {
        (self.life + 1) << 32 | u64::from(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_is_known_by_what_is_in_it() {
        let save = Save { agent: 3, life: 2, number: 13 };
        let whole = SavedSequence { tokens: save.tokens(), state: save.state(500) };
        assert_eq!(Save::read(3, &whole), Ok(save));
        assert!(Save::read(4, &whole).unwrap_err().contains("not given"));
        let half = SavedSequence { state: whole.state[..250].to_vec(), ..whole.clone() };
        assert!(Save::read(3, &half).unwrap_err().contains("not whole"));
        let other = Save { number: 14, ..save };
        let mixed = SavedSequence { tokens: other.tokens(), ..whole.clone() };
        assert!(Save::read(3, &mixed).is_err(), "the state of another save");
        let short = SavedSequence { tokens: whole.tokens[..4].to_vec(), ..whole };
        assert!(Save::read(3, &short).unwrap_err().contains("other tokens"));
        let later = [other, Save { life: 3, number: 0, ..save }];
        assert!(later.iter().all(|later| later.packed() > save.packed() && *later > save));
    }
}
