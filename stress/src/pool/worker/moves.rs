//! Moving blocks between leases, agents and threads.

use latchless::{AgentHandle, AgentId, BlockId, InboxFull, MergeError};

use super::held::{Leased, Place};
use super::limits::Bounds;
use super::{OWN_AGENTS, Parcel, STEADY, Worker};
use crate::pool::canary::Mark;
use crate::violation::Violation;

impl<'pool> Worker<'pool, '_> {
    pub(super) fn split(&mut self, pick: usize, other: usize) -> Result<(), Violation> {
        let Some(mut rest) = self.take_leased(pick) else {
            return Ok(());
        };
        let len = rest.lease.len();
        for impossible in [0, len + 1] {
            if let Ok(off) = rest.lease.split_off(impossible) {
                return Err(Violation::answer("a split that cannot be", off));
            }
        }
        if len > 0 {
            let blocks = 1 + other as u32 % len;
            let off = rest.lease.split_off(blocks);
            let off = off.map_err(|error| Violation::answer("a split was refused", error))?;
            Violation::count("what was split off", blocks, off.len())?;
            Violation::count("what was left by a split", len - blocks, rest.lease.len())?;
            let (mark, shared, place) = (rest.mark, rest.shared, rest.place);
            self.hold(Leased { lease: off, mark, shared, place }.into());
        }
        self.hold(rest.into());
        Ok(())
    }

    pub(super) fn merge(&mut self, pick: usize, other: usize) -> Result<(), Violation> {
        let Some(mut one) = self.take_leased(pick) else {
            return Ok(());
        };
        let Some(two) = self.take_leased(other) else {
            self.hold(one.into());
            return Ok(());
        };
        let alike =
            one.lease.agent() == two.lease.agent() && one.lease.layer() == two.lease.layer();
        let same_marks = (one.mark, one.shared, one.place) == (two.mark, two.shared, two.place);
        if alike && !same_marks {
            self.hold(two.into());
            self.hold(one.into());
            return Ok(());
        }
        let mut before = one.blocks();
        before.extend(two.lease.blocks());
        match one.lease.merge(two.lease) {
            Ok(()) if alike => self.settle(&one, before)?,
            // A common agent may have been freed between the two by any thread.
            Err(MergeError(lease)) if !alike || one.place == Place::Common => {
                self.hold(Leased { lease, ..two }.into());
            }
            Ok(()) => return Err(Violation::answer("leases that differ were merged", one.lease)),
            Err(error) => return Err(Violation::answer("leases that agree", error.0)),
        }
        self.hold(one.into());
        Ok(())
    }

    pub(super) fn transfer(&mut self, pick: usize, other: usize) -> Result<(), Violation> {
        let agent = other % OWN_AGENTS;
        let (bounds, to) = (self.bounds(agent), self.own[agent].handle);
        let Some(mut leased) = self.take_leased(pick) else {
            return Ok(());
        };
        if leased.lease.agent() != to {
            let (before, asked) = (leased.blocks(), leased.lease.len());
            let moved = leased.lease.transfer(to);
            let moved = self.moved(leased.place, &bounds, asked, moved)?;
            self.settle(&leased, before)?;
            if !moved {
                self.hold(leased.into());
                return Ok(());
            }
            if leased.is_loose() {
                // What is left of it is this thread's; it bears no mark if a sweep was near.
                self.world.canary.take_over(leased.lease.blocks(), leased.mark, self.mark())?;
                leased.mark = self.mark();
            }
            leased.place = self.place(agent);
        }
        self.hold(leased.into());
        Ok(())
    }

    pub(super) fn transfer_to_common(
        &mut self,
        pick: usize,
        other: usize,
    ) -> Result<(), Violation> {
        let Some(mut leased) = self.take_leased(pick) else {
            return Ok(());
        };
        let (agent, id) = self.common(other);
        let sweeps = self.world.canary.sweeps(agent).settled();
        if let Some(to) = self.world.directory.get(id)
            && leased.lease.agent() != to
        {
            let before = leased.blocks();
            let canary = self.world.canary;
            let firm = leased.mark;
            if leased.is_loose() {
                // Two agents' sweeps can take it on the way: no number says that it is still there.
                leased.mark = Mark::loose(self.thread, agent, None);
                canary.replace_loose(leased.lease.blocks(), firm, leased.mark)?;
                // A refusal leaves it with the agent it had.
                let _ = leased.lease.transfer(to);
                self.settle(&leased, before)?;
            } else if leased.shared {
                if leased.lease.transfer(to).is_ok() {
                    leased.place = Place::Common;
                }
                self.settle(&leased, before)?;
            } else {
                let loose = Mark::loose(self.thread, agent, sweeps);
                canary.replace(leased.lease.blocks(), firm, loose)?;
                if leased.lease.transfer(to).is_ok() {
                    (leased.mark, leased.place) = (loose, Place::Common);
                } else {
                    self.settle(&leased, before)?;
                    canary.replace(leased.lease.blocks(), loose, firm)?;
                }
            }
        }
        self.hold(leased.into());
        Ok(())
    }

    pub(super) fn share(&mut self, pick: usize, other: usize) -> Result<(), Violation> {
        let agent = other % OWN_AGENTS;
        let (handle, place, bounds) =
            (self.own[agent].handle, self.place(agent), self.bounds(agent));
        if let Some(theirs) = self.share_with(pick, handle, place, Some(&bounds))? {
            self.hold(theirs.into());
        }
        Ok(())
    }

    pub(super) fn share_with_common(&mut self, pick: usize, other: usize) -> Result<(), Violation> {
        let (_, id) = self.common(other);
        if let Some(handle) = self.world.directory.get(id)
            && let Some(theirs) = self.share_with(pick, handle, Place::Common, None)?
        {
            self.hold(theirs.into());
        }
        Ok(())
    }

    pub(super) fn hand_over(&mut self, pick: usize, other: usize) -> Result<(), Violation> {
        let (thread, to) = self.another_thread(other);
        let Some(mut leased) = self.take_leased(pick) else {
            return Ok(());
        };
        if leased.is_loose() {
            self.hold(leased.into());
            return Ok(());
        }
        let (before, asked) = (leased.blocks(), leased.lease.len());
        let moved = leased.lease.transfer(to);
        let moved = self.moved(leased.place, &Bounds::default(), asked, moved)?;
        self.settle(&leased, before)?;
        if moved {
            return self.send(thread, leased);
        }
        self.hold(leased.into());
        Ok(())
    }

    pub(super) fn hand_over_share(&mut self, pick: usize, other: usize) -> Result<(), Violation> {
        let (thread, to) = self.another_thread(other);
        // The place is the receiver's to tell.
        match self.share_with(pick, to, Place::Common, Some(&Bounds::default()))? {
            Some(theirs) => self.send(thread, theirs),
            None => Ok(()),
        }
    }

    pub(super) fn receive(&mut self) {
        for Parcel { lease, mark, shared } in self.world.mail[usize::from(self.thread)].take_all() {
            self.hold(Leased { lease, mark, shared, place: self.place(STEADY) }.into());
        }
    }

    fn send(&mut self, thread: usize, leased: Leased<'pool>) -> Result<(), Violation> {
        let Leased { lease, mark, shared, .. } = leased;
        match self.world.mail[thread].push(Parcel { lease, mark, shared }) {
            Ok(()) => Ok(()),
            Err(InboxFull(parcel)) => parcel.open(self.world.canary),
        }
    }

    /// Shares a lease; `None` when what was picked cannot be, or rightly was not. Of an agent without bounds
    /// nothing is known: it may have left.
    fn share_with(
        &mut self,
        pick: usize,
        with: AgentHandle,
        place: Place,
        bounds: Option<&Bounds>,
    ) -> Result<Option<Leased<'pool>>, Violation> {
        let Some(mut leased) = self.take_leased(pick) else {
            return Ok(None);
        };
        if leased.is_loose() {
            self.hold(leased.into());
            return Ok(None);
        }
        let before = leased.blocks();
        let mark = leased.mark;
        self.world.canary.share(before.iter().copied(), mark)?;
        let (from, asked) = (leased.place, leased.lease.len());
        let theirs = leased.lease.share(with);
        if let Some(bounds) = bounds {
            self.moved(from, bounds, asked, theirs.as_ref().map(drop).map_err(|error| *error))?;
        }
        match &theirs {
            Ok(theirs) => {
                leased.shared = true;
                Violation::count("a shared lease", leased.lease.len(), theirs.len())?;
            }
            Err(_) => self.world.canary.give_back(before.iter().copied(), mark)?,
        }
        self.settle(&leased, before)?;
        self.hold(leased.into());
        Ok(theirs.ok().map(|lease| Leased { lease, mark, shared: true, place }))
    }

    /// Compares a lease with the blocks it had before: a loose one may have lost some, any other one must
    /// have them all.
    fn settle(&self, now: &Leased<'pool>, before: Vec<BlockId>) -> Result<(), Violation> {
        if now.lease.len() as usize == before.len() {
            return Ok(());
        }
        if !now.is_loose() {
            return Violation::count(
                "a lease that was moved",
                before.len() as u64,
                now.lease.len(),
            );
        }
        let mut left = now.blocks();
        left.sort_unstable();
        let lost = before.into_iter().filter(|block| left.binary_search(block).is_err());
        self.world.canary.forget(lost, now.mark);
        Ok(())
    }

    pub(super) fn common(&self, other: usize) -> (u8, &'pool AgentId) {
        let agent = other % self.world.commons.len();
        (agent as u8, &self.world.commons[agent])
    }

    /// Another thread, and its steady agent; this one, when it is alone.
    fn another_thread(&self, other: usize) -> (usize, AgentHandle) {
        let threads = self.world.steady.len();
        let step = 1 + other % (threads - 1).max(1);
        let thread = (usize::from(self.thread) + step) % threads;
        (thread, self.world.steady[thread].1)
    }
}
