//! A thread of the child that uses the cache, and knows what it must find there.

use std::sync::atomic::Ordering;

use fastrand::Rng;
use latchless_engine::Token;
use latchless_engine::cache::{CacheError, SavedSequence};

use super::phases::{Action, Deck, size};
use super::room::{Room, agents, budget};
use super::{AGENTS, Kept, Save};
use crate::crew::roll::Present;
use crate::store::disk::Refused;
use crate::store::life::Planted;
use crate::store::told::Told;
use crate::store::worker::Post;
use crate::tally::unfrozen;
use crate::violation::Violation;

/// What must not be.
const LOST: &str = "a state was acknowledged and is not there";

/// One thread's state.
pub(in crate::store) struct Keeper<'a> {
    post: &'a Post<'a>,
    room: &'a Room,
    deck: &'a Deck,
    present: &'a Present<'a>,
    /// The first of its agents: nobody else saves for them.
    first: u16,
    /// Saves that were begun.
    saves: u32,
    /// Of each of its agents the tokens that must be known: those of its last save, if that was acknowledged.
    known: [Option<Vec<Token>>; AGENTS as usize],
}

impl<'a> Keeper<'a> {
    pub(in crate::store) fn new(
        post: &'a Post<'a>,
        (room, deck): (&'a Room, &'a Deck),
        present: &'a Present<'a>,
        number: u16,
    ) -> Self {
        let first = number * AGENTS;
        let known = [const { None }; AGENTS as usize];
        Self { post, room, deck, present, first, saves: 0, known }
    }

    /// Carries out decisions: as many as the life has, or until it is killed.
    pub(in crate::store) fn run(&mut self, rng: &mut Rng) -> Result<(), Violation> {
        let Post { life, teller, stop, .. } = *self.post;
        for done in 0_u64.. {
            let over = life.decisions.is_some_and(|decisions| done >= decisions);
            if over || stop.is_stopped() || teller.gone.load(Ordering::Acquire) {
                break;
            }
            self.present.beat();
            let action = self.deck.draw(self.room.phase, rng);
            self.carry_out(action, rng)?;
            self.tell(Kept::Did(action as usize));
        }
        Ok(())
    }

    fn carry_out(&mut self, action: Action, rng: &mut Rng) -> Result<(), Violation> {
        let life = self.post.life;
        let own = self.first + rng.u16(0..AGENTS);
        match action {
            Action::Save => self.save(own, size(self.room.phase, rng)),
            Action::Load => self.load(own),
            Action::LoadAnothers => self.load(rng.u16(agents())),
            Action::Look => self.look(own),
            Action::Forget => self.forget(own),
            Action::FillDisk if life.most_bytes.is_some() => {
                let bytes = size(self.room.phase, rng);
                // The file is longer than its state.
                let beyond = rng.u64(0..bytes as u64);
                self.save_refused(own, bytes, beyond)
            }
            Action::BreakSave if life.disk => self.save_refused(own, size(self.room.phase, rng), 0),
            Action::BreakLoad if life.disk => self.load_refused(own),
            Action::FillDisk | Action::BreakSave | Action::BreakLoad => Ok(()),
        }
    }

    /// The next save of an agent.
    fn next(&mut self, agent: u16) -> Save {
        let number = self.saves;
        self.saves += 1;
        Save { agent, life: self.post.life.number, number }
    }

    fn save(&mut self, agent: u16, bytes: usize) -> Result<(), Violation> {
        let (room, planted) = (self.room, self.post.life.plant);
        let save = self.next(agent);
        let (tokens, mut state) = (save.tokens(), save.state(bytes));
        if planted == Some(Planted::Torn) {
            // What a file is that was cut off, with its length and its checksum mended.
            state.truncate(state.len() / 2);
        }
        let (saved, time) = unfrozen(|| room.cache.save(room.id(agent), &tokens, &state));
        if let Err(error) = saved {
            // The old one is there, or the new one already: which one, nobody was told.
            self.known[usize::from(agent - self.first)] = None;
            return self.excuse("a save", &error);
        }
        room.acknowledge(save);
        self.known[usize::from(agent - self.first)] = Some(tokens);
        self.tell(Kept::Saved { save, ns: time.map(|time| time.as_nanos() as u64) });
        if planted == Some(Planted::Dropped) {
            let removed = room.cache.remove(room.id(agent));
            removed.map_err(|error| Violation::answer("a planted removal", error))?;
        }
        Ok(())
    }

    /// Saves while the system takes no byte of a file beyond a length.
    fn save_refused(&mut self, agent: u16, bytes: usize, beyond: u64) -> Result<(), Violation> {
        let room = self.room;
        let save = self.next(agent);
        let (tokens, state) = (save.tokens(), save.state(bytes));
        let write = || room.cache.save(room.id(agent), &tokens, &state);
        match self.post.disk.broken(Refused::Writes { beyond }, write) {
            Ok(Ok(())) => Err(Violation::answer("saved without room for it", save)),
            // Nothing of it has got its name: what was there before is.
            Ok(Err(error)) => self.excuse("a save without room for it", &error),
            Err(error) => Err(Violation::answer("a limit of this process", error)),
        }
    }

    fn load(&self, agent: u16) -> Result<(), Violation> {
        let before = self.room.least(agent);
        let loaded = self.room.cache.load(self.room.id(agent));
        self.judge(agent, before, loaded)
    }

    fn load_refused(&self, agent: u16) -> Result<(), Violation> {
        let before = self.room.least(agent);
        let load = || self.room.cache.load(self.room.id(agent));
        match self.post.disk.broken(Refused::Descriptors, load) {
            Ok(Ok(_)) => Err(Violation::answer("loaded without a descriptor", agent)),
            Ok(loaded) => self.judge(agent, before, loaded),
            Err(error) => Err(Violation::answer("a limit of this process", error)),
        }
    }

    /// Whether what was loaded is what it must be, where an agent had `before` at least.
    fn judge(
        &self,
        agent: u16,
        before: Option<u64>,
        loaded: Result<SavedSequence, CacheError>,
    ) -> Result<(), Violation> {
        match loaded {
            Ok(found) => {
                let save = Save::read(agent, &found);
                let save = save.map_err(|what| Violation::answer("what the cache gave", what))?;
                if before.is_some_and(|before| save.packed() < before) {
                    return Err(Violation::answer("an older state than what was saved", save));
                }
                self.tell(Kept::Loaded);
                Ok(())
            }
            Err(CacheError::Missing { .. }) => {
                // Its own keeper may have let it go meanwhile, and saved again.
                let stood = before.is_some() && self.room.least(agent) == before;
                if stood && self.room.stays(agent) {
                    return Err(Violation::answer(LOST, self.room.id(agent)));
                }
                let is_own = (self.first..self.first + AGENTS).contains(&agent);
                if stood && is_own {
                    self.room.let_go(agent);
                    self.tell(Kept::Evicted);
                }
                Ok(())
            }
            Err(error) => self.excuse("a load", &error),
        }
    }

    /// What the cache says without the disk.
    fn look(&self, agent: u16) -> Result<(), Violation> {
        let Room { cache, phase, .. } = self.room;
        let (bytes, budget) = (cache.bytes(), budget(*phase));
        if bytes > budget {
            return Err(Violation::answer("the cache is within its budget", (bytes, budget)));
        }
        let Some(tokens) = &self.known[usize::from(agent - self.first)] else { return Ok(()) };
        let id = self.room.id(agent);
        let found = cache.peek(tokens);
        let whole = found.as_ref().is_some_and(|found| {
            found.agent == *id && [found.common, found.stored] == [tokens.len(); 2]
        });
        if self.room.stays(agent) && !(whole && cache.has(id, tokens)) {
            return Err(Violation::answer(LOST, (id, found)));
        }
        Ok(())
    }

    fn forget(&mut self, agent: u16) -> Result<(), Violation> {
        let room = self.room;
        let before = room.least(agent);
        self.known[usize::from(agent - self.first)] = None;
        room.let_go(agent);
        self.tell(Kept::Forgetting(agent));
        match room.cache.remove(room.id(agent)) {
            Ok(false) if before.is_some() && room.stays(agent) => {
                Err(Violation::answer(LOST, room.id(agent)))
            }
            Ok(_) => {
                self.tell(Kept::Forgot(agent));
                Ok(())
            }
            Err(error) => self.excuse("a removal", &error),
        }
    }

    /// What the system may refuse is told; anything else must not be.
    fn excuse(&self, what: &'static str, error: &CacheError) -> Result<(), Violation> {
        if matches!(error, CacheError::Io { .. }) && self.post.life.may_refuse() {
            self.tell(Kept::Refused);
            return Ok(());
        }
        self.post.refused(Violation::answer(what, error))
    }

    fn tell(&self, kept: Kept) {
        self.post.teller.tell(&Told::Kept(kept));
    }
}
