//! Sequences that nobody uses now and that keep their tokens: what an agent said and heard so far, for
//! its next turn, and for anybody whose prompt begins alike.
//!
//! They hold no blocks. As in vLLM's prefix cache (Kwon et al., SOSP 2023), what is only kept counts as
//! free: a request that needs the room takes it, the oldest first.

use latchless::{AgentHandle, AgentId};

use crate::backend::{SequenceId, Token};

/// One sequence without a request.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) sequence: SequenceId,
    /// Whose it was.
    pub(crate) agent: AgentHandle,
    /// What the backend keeps for it.
    pub(crate) tokens: Vec<Token>,
    /// Whose file it is to go to; `None` when it need not.
    pub(crate) unsaved: Option<AgentId>,
}

/// The idle sequences, the one that was used last at the end.
#[derive(Debug, Default)]
pub(crate) struct IdleSequences {
    by_age: Vec<Idle>,
    tokens: usize,
}

impl IdleSequences {
    /// Tokens that all of them keep; a shared one counts for each that keeps it.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(crate) fn at(&self, index: usize) -> &Idle {
        &self.by_age[index]
    }

    /// The oldest that is to go to disk.
    pub(crate) fn first_unsaved(&self) -> Option<usize> {
        self.by_age.iter().position(|idle| idle.unsaved.is_some())
    }

    /// The one at `index` need not go to disk any more.
    pub(crate) fn mark_saved(&mut self, index: usize) {
        self.by_age[index].unsaved = None;
    }

    /// Tokens that the one at `index` keeps.
    pub(crate) fn tokens_of(&self, index: usize) -> usize {
        self.by_age[index].tokens.len()
    }

    pub(crate) fn keep(&mut self, idle: Idle) {
        self.tokens += idle.tokens.len();
        self.by_age.push(idle);
    }

    pub(crate) fn take(&mut self, index: usize) -> Idle {
        let idle = self.by_age.remove(index);
        self.tokens -= idle.tokens.len();
        idle
    }

    /// The one that begins most like `prompt`, of equals the youngest, with the number of tokens that
    /// they have in common.
    pub(crate) fn longest_prefix(
        &self,
        prompt: &[Token],
        of: impl Fn(&Idle) -> bool,
    ) -> Option<(usize, u32)> {
        self.by_age
            .iter()
            .enumerate()
            .filter(|(_, idle)| of(idle))
            .map(|(index, idle)| (index, common_prefix(&idle.tokens, prompt)))
            .max_by_key(|(_, common)| *common)
    }

    /// The sequence at `index`, which counts as used now.
    pub(crate) fn touch(&mut self, index: usize) -> SequenceId {
        let idle = self.by_age.remove(index);
        let sequence = idle.sequence;
        self.by_age.push(idle);
        sequence
    }
}

/// Tokens that two sequences begin with.
pub(crate) fn common_prefix(one: &[Token], other: &[Token]) -> u32 {
    one.iter().zip(other).take_while(|(one, other)| one == other).count() as u32
}

#[cfg(test)]
mod tests {
    use latchless::{BlockPool, ModelSpec, PoolConfig};

    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        text.bytes().map(|byte| Token(byte.into())).collect()
    }

    /// Case 25: the longest common start wins, and only it is touched; no common start is none.
    #[test]
    fn the_longest_common_prefix_is_found_and_only_it_is_touched() {
        let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
        let pool = BlockPool::new(PoolConfig::new(1, spec)).unwrap();
        let agent = pool.open_account().unwrap();
        let mut idle = IdleSequences::default();
        for (number, text) in ["abc", "abcde", "xyz"].into_iter().enumerate() {
            let sequence = SequenceId(number as u32);
            idle.keep(Idle { sequence, agent, tokens: tokens(text), unsaved: None });
        }
        let find = |idle: &IdleSequences, text: &str| {
            idle.longest_prefix(&tokens(text), |_| true).filter(|found| found.1 > 0)
        };
        assert_eq!(find(&idle, "abcdef"), Some((1, 5)));
        assert_eq!(find(&idle, "q"), None);
        assert_eq!(idle.touch(1), SequenceId(1));
        assert_eq!(idle.tokens(), 11);
        assert_eq!([0, 1, 2].map(|_| idle.take(0).sequence.0), [0, 2, 1], "the oldest first");
        assert_eq!((idle.tokens(), idle.len()), (0, 0));
    }
}
