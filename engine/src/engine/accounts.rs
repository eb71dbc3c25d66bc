//! The accounts that the engine's agents have in the pool of one lane.
//!
//! A handle is of one pool, and an engine has one a lane and generation. An agent's handle is that of the
//! engine's first pool; in the others it gets an account when it first submits there. The way from one to
//! the other is a word a slot, replaced whole: no submitter can make another one wait.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use latchless::{AgentHandle, AllocateError, BlockPool};

/// Accounts that a pool has beyond the engine's agents: several threads that open one for the same agent
/// at once have one each, until all but one are closed.
pub(crate) const SPARE_ACCOUNTS: u32 = 64;

#[derive(Debug)]
pub(crate) struct Account {
    /// The engine's handle.
    agent: AgentHandle,
    /// The pool's.
    here: AgentHandle,
}

/// See the module.
#[derive(Debug)]
pub(crate) enum Accounts {
    /// The pool is the one that the agents are registered in.
    AtHome,
    /// Another one: a slot's account here, if there is one.
    Abroad {
        /// Where the agents are registered.
        home: Arc<BlockPool>,
        /// By the agents' slots at home.
        slots: Box<[ArcSwapOption<Account>]>,
    },
}

impl Accounts {
    pub(crate) fn abroad(home: Arc<BlockPool>) -> Self {
        let slots = (0..home.max_agents()).map(|_| ArcSwapOption::empty()).collect();
        Self::Abroad { home, slots }
    }

    /// The handle in `pool` of the engine's agent `agent`.
    ///
    /// # Errors
    /// [`AllocateError::UnknownAgent`] when the agent has left.
    pub(crate) fn of(
        &self,
        agent: AgentHandle,
        pool: &BlockPool,
    ) -> Result<AgentHandle, AllocateError> {
        let Self::Abroad { home, slots } = self else { return Ok(agent) };
        let slot = slots.get(agent.slot() as usize).filter(|_| home.has_account(agent));
        let slot = slot.ok_or(AllocateError::UnknownAgent)?;
        let found = slot.load();
        if let Some(account) = found.as_ref().filter(|account| account.agent == agent) {
            return Ok(account.here);
        }
        let here = pool.open_account().map_err(|_| AllocateError::UnknownAgent)?;
        let opened = Arc::new(Account { agent, here });
        let before = slot.compare_and_swap(&*found, Some(Arc::clone(&opened)));
        let replaced = match (before.as_ref(), found.as_ref()) {
            (None, None) => true,
            (Some(before), Some(found)) => Arc::ptr_eq(before, found),
            _ => false,
        };
        if replaced {
            // The slot's agent before this one has left.
            if let Some(gone) = before.as_ref() {
                pool.close_account(gone.here);
            }
            return Ok(here);
        }
        // Somebody else was faster: for the same agent, or for one that had the slot after it.
        pool.close_account(here);
        let theirs = before.as_ref().filter(|account| account.agent == agent);
        theirs.map(|account| account.here).ok_or(AllocateError::UnknownAgent)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use latchless::{ModelSpec, PoolConfig};

    use super::*;

    fn pool(agents: u32) -> Arc<BlockPool> {
        let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
        Arc::new(BlockPool::new(PoolConfig::new(64, spec).max_agents(agents)).unwrap())
    }

    #[test]
    fn an_agent_has_one_account_abroad_and_the_next_of_its_slot_another() {
        let (home, abroad) = (pool(1), pool(2));
        let accounts = Accounts::abroad(Arc::clone(&home));
        let first = home.open_account().unwrap();
        let here = accounts.of(first, &abroad).unwrap();
        assert_eq!(accounts.of(first, &abroad), Ok(here));
        home.close_account(first);
        assert_eq!(accounts.of(first, &abroad), Err(AllocateError::UnknownAgent));
        let second = home.open_account().unwrap();
        assert_eq!(second.slot(), first.slot());
        let next = accounts.of(second, &abroad).unwrap();
        assert_ne!(next, here);
        assert!(abroad.has_account(next) && !abroad.has_account(here));
        assert_eq!(accounts.of(first, &abroad), Err(AllocateError::UnknownAgent));
    }

    #[test]
    fn threads_that_come_at_once_find_the_same_account() {
        for _ in 0..200 {
            let (home, abroad) = (pool(1), pool(4));
            let accounts = Arc::new(Accounts::abroad(Arc::clone(&home)));
            let agent = home.open_account().unwrap();
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (accounts, abroad) = (Arc::clone(&accounts), Arc::clone(&abroad));
                    thread::spawn(move || accounts.of(agent, &abroad).unwrap())
                })
                .collect();
            let found: Vec<_> = threads.into_iter().map(|one| one.join().unwrap()).collect();
            assert!(found.iter().all(|here| *here == found[0]));
            let more: Vec<_> = std::iter::from_fn(|| abroad.open_account().ok()).collect();
            assert_eq!(more.len(), 3, "the others were closed");
        }
    }
}
