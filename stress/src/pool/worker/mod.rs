//! A worker: one thread that carries out its decisions against the pool, and keeps books of what it
//! holds.
//!
//! Its own agents are swept by no other thread, so the pool's account of each must agree with the books
//! to the block. One of them, the *steady* one, also gets what other threads hand over, and is charged
//! for it before the worker knows: there, the books are a lower bound.

mod agents;
mod allocating;
mod held;
mod limits;
mod moves;
mod probes;
mod returning;
mod waiting;

use fastrand::Rng;
use latchless::{
    AgentHandle, AgentId, BlockHandle, BlockLease, BlockPool, Directory, Inbox, ModelSpec,
};

pub(crate) use self::held::Parcel;
use self::held::{Goods, Held, Leased, Place};
use self::limits::Limits;
use crate::crew::roll::Present;
use crate::phase::Phase;
use crate::pool::COLUMNS;
use crate::pool::canary::{Canary, Mark};
use crate::pool::commons::Sweeps;
use crate::pool::phases::{Action, Decision, Deck, Scale, decide};
use crate::stop::Stop;
use crate::tally::{Counts, Tally};
use crate::violation::Violation;

/// Agents of a worker: the steady one and those that come and go.
pub(crate) const OWN_AGENTS: usize = 3;
/// The steady one among them.
const STEADY: usize = 0;
/// Leases and lists of handles that a worker holds at most, before it frees instead of taking more.
const MOST_HELD: usize = 512;
/// Decisions between two contributions to the tally.
const TALLY_EVERY: u64 = 512;

/// What all workers of a round share.
pub(crate) struct World<'pool> {
    pub(crate) pool: &'pool BlockPool,
    pub(crate) directory: &'pool Directory,
    pub(crate) canary: &'pool Canary,
    pub(crate) commons: &'pool [AgentId],
    /// The steady agent of each thread.
    pub(crate) steady: &'pool [(AgentId, AgentHandle)],
    /// The geometries that the pool may have.
    pub(crate) specs: &'pool [ModelSpec; 2],
    pub(crate) tally: &'pool Tally,
    pub(crate) deck: &'pool Deck,
    pub(crate) stop: &'pool Stop,
    pub(crate) scale: Scale,
    pub(crate) phase: Phase,
    /// Attempts to replace the geometry: whoever makes one may have every reserve for a moment.
    pub(crate) reconfigures: Sweeps,
    /// What others hand over to each thread.
    pub(crate) mail: Vec<Inbox<Parcel<'pool>>>,
}

/// An agent that only this worker uses.
struct Own {
    id: AgentId,
    handle: AgentHandle,
    /// Grows when the agent is freed as a whole: what was charged before is not charged any more.
    epoch: u32,
    limits: Limits,
}

/// One thread's state in a round.
pub(crate) struct Worker<'pool, 'round> {
    world: &'round World<'pool>,
    thread: u16,
    present: &'round Present<'round>,
    own: Vec<Own>,
    held: Vec<Held<'pool>>,
    /// Blocks of all that is held.
    in_hand: u32,
    /// Whether common agents may be swept: not in the last quarter of a round, so that a charge or a block
    /// that a sweep has left behind is there when the round is checked.
    sweeping: bool,
    /// A handle that was good once.
    stale: Option<BlockHandle>,
    counts: Counts,
}

impl<'pool, 'round> Worker<'pool, 'round> {
    /// Registers the thread's agents.
    pub(crate) fn new(
        world: &'round World<'pool>,
        thread: u16,
        present: &'round Present<'round>,
    ) -> Result<Self, Violation> {
        let (id, handle) = world.steady[usize::from(thread)].clone();
        let mut own = vec![Own { id, handle, epoch: 0, limits: Limits::default() }];
        for i in 1..OWN_AGENTS {
            let id = own_name(thread, i)?;
            let handle = world.directory.register(id.clone());
            let handle =
                handle.map_err(|error| Violation::answer("an own name was refused", error))?;
            own.push(Own { id, handle, epoch: 0, limits: Limits::default() });
        }
        let held = Vec::with_capacity(MOST_HELD);
        let counts = Counts::new(&COLUMNS);
        let (sweeping, stale) = (true, None);
        Ok(Self { world, thread, present, own, held, in_hand: 0, sweeping, stale, counts })
    }

    /// Carries out `operations` decisions, or as many as come before the stop, and gives everything
    /// back.
    pub(crate) fn run(&mut self, rng: &mut Rng, operations: u64) -> Result<(), Violation> {
        for done in 1..=operations {
            if self.world.stop.is_stopped() {
                break;
            }
            self.present.beat();
            self.sweeping = done <= operations - operations / 4;
            let decision = decide(self.world.deck, self.world.phase, rng, self.world.scale);
            self.counts.actions[decision.action as usize] += 1;
            self.carry_out(decision)?;
            if done % TALLY_EVERY == 0 {
                self.world.tally.offer(&mut self.counts);
            }
        }
        while let Some(held) = self.take(0) {
            self.give_back(held)?;
        }
        self.check_books()?;
        self.lift_limits()?;
        self.world.tally.collect(&mut self.counts);
        Ok(())
    }

    fn carry_out(&mut self, decision: Decision) -> Result<(), Violation> {
        let Decision { pick, other, blocks, .. } = decision;
        match decision.action {
            Action::Pair => self.pair(blocks, other),
            Action::Allocate => self.allocate(blocks, pick, other),
            Action::AllocateHandles => self.allocate_handles(blocks, pick, other),
            Action::AllocateSequence => self.allocate_sequence(blocks, pick, other),
            Action::AllocateCommon => self.allocate_common(blocks, pick, other),
            Action::Split => self.split(pick, other),
            Action::Merge => self.merge(pick, other),
            Action::Transfer => self.transfer(pick, other),
            Action::TransferToCommon => self.transfer_to_common(pick, other),
            Action::Share => self.share(pick, other),
            Action::ShareWithCommon => self.share_with_common(pick, other),
            Action::HandOver => self.hand_over(pick, other),
            Action::HandOverShare => self.hand_over_share(pick, other),
            Action::Receive => {
                self.receive();
                Ok(())
            }
            Action::Free => self.free(pick),
            Action::Unwind => self.unwind(pick),
            Action::Wait => self.wait(blocks, pick, other),
            Action::WaitAsync => self.wait_async(blocks, pick, other),
            Action::PanickingWaker => self.wait_with_panics(blocks, pick, other),
            Action::SetQuota => self.set_quota(blocks, pick, other),
            Action::SetReserve => self.set_reserve(blocks, pick, other),
            Action::IntoHandles => self.turn_into_handles(pick),
            Action::LeaseAgain => self.lease_again(pick),
            Action::FreeBadHandles => self.free_bad_handles(pick, other),
            Action::FreeAgent => self.free_agent(other),
            Action::Reregister => self.reregister(other),
            Action::FreeCommon | Action::UnregisterCommon if !self.sweeping => Ok(()),
            Action::FreeCommon => {
                self.free_common(other);
                Ok(())
            }
            Action::UnregisterCommon => {
                self.unregister_common(other);
                Ok(())
            }
            Action::Reconfigure => self.reconfigure(other),
            Action::BadRequest => self.bad_request(other),
            Action::CheckBooks => self.check_books(),
        }
    }

    /// This thread's firm mark.
    fn mark(&self) -> Mark {
        Mark::firm(self.thread)
    }

    fn place(&self, agent: usize) -> Place {
        Place::Own { agent, epoch: self.own[agent].epoch }
    }

    fn hold(&mut self, held: Held<'pool>) {
        self.in_hand += held.len();
        self.held.push(held);
    }

    fn hold_lease(&mut self, lease: BlockLease<'pool>, mark: Mark, place: Place) {
        self.hold(Held { goods: Goods::Lease(lease), mark, shared: false, place });
    }

    fn take(&mut self, pick: usize) -> Option<Held<'pool>> {
        let at = pick.checked_rem(self.held.len())?;
        let held = self.held.swap_remove(at);
        self.in_hand -= held.len();
        Some(held)
    }

    /// Takes something whose blocks are under a lease; anything else stays held.
    fn take_leased(&mut self, pick: usize) -> Option<Leased<'pool>> {
        let Held { goods, mark, shared, place } = self.take(pick)?;
        match goods {
            Goods::Lease(lease) => Some(Leased { lease, mark, shared, place }),
            goods @ Goods::Handles(..) => {
                self.hold(Held { goods, mark, shared, place });
                None
            }
        }
    }

    /// Blocks that an own agent must be charged for, by the books.
    fn booked(&self, agent: usize) -> u32 {
        let place = self.place(agent);
        self.held.iter().filter(|held| held.place == place).map(Held::len).sum()
    }
}

/// The name of an own agent.
pub(crate) fn own_name(thread: u16, agent: usize) -> Result<AgentId, Violation> {
    AgentId::new(format!("thread-{thread}-{agent}"))
        .map_err(|error| Violation::answer("a short name was refused", error))
}
