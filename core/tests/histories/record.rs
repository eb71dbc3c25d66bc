//! Real threads at full speed, and what they saw.
//!
//! Histories are recorded in *windows*: all threads start together, do a few operations each on one pool,
//! and have given everything back at the end, so that each window begins where all is known. A thread
//! writes into a list of its own and reads the clock twice an operation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{hint, mem, thread};

use fastrand::Rng;
use latchless::{
    AgentHandle, AllocateError, BlockLease, BlockPool, LayerId, ModelSpec, PoolConfig,
};

use crate::checker::Call;
use crate::pool::{AGENTS, Answer, BLOCKS, LeaseId, Operation};

/// What each thread did in a window.
pub(crate) type Window = Vec<Vec<Call<Operation>>>;

/// Threads of a window: as many as can run at the same time, up to a number that is still checked fast.
fn threads() -> usize {
    thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, AGENTS))
}

/// Operations of a thread in a window, before it gives back what it has.
const OPERATIONS: usize = 8;

/// A fault of the pool's, put between it and the recorder: what a checker is worth is what it rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An allocation that got its blocks is refused.
    SpuriousRefusal,
    /// A refusal says one block more than there was.
    WrongNumber,
    /// An allocation gets the blocks of another lease.
    DoubleGrant,
    /// A lease ends, and its blocks do not come back.
    Leak,
    /// An agent is freed, and one block too few is counted.
    Miscount,
    /// A quota is reported to be in force that is not.
    StaleQuota,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] = [
        Self::SpuriousRefusal,
        Self::WrongNumber,
        Self::DoubleGrant,
        Self::Leak,
        Self::Miscount,
        Self::StaleQuota,
    ];
}

/// Records windows on a new pool. With `fault`, about every eighth operation that can show it does.
pub(crate) fn windows(count: usize, seed: u64, fault: Option<Fault>) -> Vec<Window> {
    let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
    let config = PoolConfig::new(BLOCKS, spec).max_agents(AGENTS as u32).stripes(4);
    let pool = BlockPool::new(config).unwrap();
    let agents = [(); AGENTS].map(|()| pool.open_account().unwrap());
    let (gate, start) = (Gate::new(threads()), Instant::now());
    let recorded: Vec<Vec<_>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..gate.threads)
            .map(|number| {
                let recorder = Recorder {
                    pool: &pool,
                    agents,
                    number,
                    random: Rng::with_seed(seed ^ (number as u64) << 32),
                    fault,
                    start,
                    leases: Vec::new(),
                    leaked: Vec::new(),
                    given: 0,
                    calls: Vec::new(),
                };
                let gate = &gate;
                scope.spawn(move || recorder.record(count, gate))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut threads: Vec<_> = recorded.into_iter().map(Vec::into_iter).collect();
    (0..count).map(|_| threads.iter_mut().filter_map(Iterator::next).collect()).collect()
}

struct Recorder<'a> {
    pool: &'a BlockPool,
    agents: [AgentHandle; AGENTS],
    number: usize,
    random: Rng,
    fault: Option<Fault>,
    start: Instant,
    leases: Vec<(LeaseId, BlockLease<'a>)>,
    /// Leases that a fault keeps until the window is over.
    leaked: Vec<BlockLease<'a>>,
    given: LeaseId,
    calls: Vec<Call<Operation>>,
}

impl Recorder<'_> {
    fn record(mut self, windows: usize, gate: &Gate) -> Vec<Vec<Call<Operation>>> {
        let window = |_| {
            gate.pass();
            for _ in 0..OPERATIONS {
                self.operate();
            }
            while !self.leases.is_empty() {
                self.end_lease(0);
            }
            self.set_quota(None);
            gate.pass();
            self.leaked.clear();
            mem::take(&mut self.calls)
        };
        (0..windows).map(window).collect()
    }

    fn operate(&mut self) {
        let agent = self.random.usize(..AGENTS);
        match self.random.u32(..20) {
            0..5 if !self.leases.is_empty() => {
                let at = self.random.usize(..self.leases.len());
                self.end_lease(at);
            }
            0..15 => self.allocate(agent),
            15 => self.free_agent(agent),
            16 | 17 => {
                let quota = self.random.bool().then(|| self.random.u32(2..12));
                self.set_quota(quota);
            }
            _ => {
                let handle = self.agents[agent];
                self.call(
                    |pool| pool.used_by(handle),
                    |blocks| Operation::UsedBy { agent, blocks },
                );
            }
        }
    }

    fn allocate(&mut self, agent: usize) {
        let blocks = self.random.u32(1..=10);
        let handle = self.agents[agent];
        self.given += 1;
        let lease = (self.number as LeaseId) << 16 | self.given;
        let invoked = self.now();
        let result = self.pool.allocate(handle, LayerId(0), blocks);
        let responded = self.now();
        let mut answer = match &result {
            Ok(lease) => Answer::Granted(mask(lease)),
            Err(AllocateError::Exhausted { available, allocated, .. }) => {
                Answer::Exhausted { available: *available, allocated: *allocated }
            }
            Err(AllocateError::QuotaExceeded { used, quota, .. }) => {
                Answer::OverQuota { used: *used, quota: *quota }
            }
            Err(error) => panic!("{error}"),
        };
        self.distort(&mut answer);
        if let (Ok(granted), Answer::Granted(_)) = (result, answer) {
            self.leases.push((lease, granted));
        }
        let operation = Operation::Allocate { agent, lease, blocks, answer };
        self.calls.push(Call { operation, invoked, responded });
    }

    fn distort(&mut self, answer: &mut Answer) {
        let Some(fault) = self.fault.filter(|_| self.random.u32(..8) == 0) else {
            return;
        };
        *answer = match (fault, *answer) {
            (Fault::SpuriousRefusal, Answer::Granted(_)) => {
                Answer::Exhausted { available: 0, allocated: BLOCKS }
            }
            (Fault::StaleQuota, Answer::Granted(_)) => Answer::OverQuota { used: 1, quota: 1 },
            (Fault::WrongNumber, Answer::Exhausted { available, allocated }) => {
                Answer::Exhausted { available: available + 1, allocated: allocated - 1 }
            }
            (Fault::DoubleGrant, Answer::Granted(blocks)) => {
                let same = |(_, other): &&(_, BlockLease)| other.len() == blocks.count_ones();
                Answer::Granted(self.leases.iter().find(same).map_or(blocks, |(_, l)| mask(l)))
            }
            (_, answer) => answer,
        };
    }

    fn end_lease(&mut self, at: usize) {
        let (lease, held) = self.leases.swap_remove(at);
        let leaks = self.fault == Some(Fault::Leak) && self.random.u32(..8) == 0;
        let invoked = self.now();
        if leaks {
            self.leaked.push(held);
        } else {
            drop(held);
        }
        let responded = self.now();
        self.calls.push(Call { operation: Operation::Drop { lease }, invoked, responded });
    }

    fn free_agent(&mut self, agent: usize) {
        let handle = self.agents[agent];
        let off = u32::from(self.fault == Some(Fault::Miscount));
        let operation = |had: u32| Operation::FreeAgent { agent, had: had.saturating_sub(off) };
        self.call(|pool| pool.free_agent(handle), operation);
    }

    /// Of the agent with the thread's own number: nobody else sets that.
    fn set_quota(&mut self, quota: Option<u32>) {
        let agent = self.number;
        let handle = self.agents[agent];
        self.call(
            |pool| pool.set_quota(handle, quota).unwrap(),
            |()| Operation::SetQuota { agent, quota: quota.unwrap_or(u32::MAX) },
        );
    }

    fn call<T>(
        &mut self,
        act: impl FnOnce(&BlockPool) -> T,
        operation: impl FnOnce(T) -> Operation,
    ) {
        let invoked = self.now();
        let answer = act(self.pool);
        let responded = self.now();
        self.calls.push(Call { operation: operation(answer), invoked, responded });
    }

    /// Nanoseconds: a clock that all threads read gives no two calls an order that they do not have.
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

fn mask(lease: &BlockLease) -> u64 {
    lease.blocks().fold(0, |mask, block| mask | 1 << block.0)
}

/// A barrier that lets threads go on at the same moment, as nearly as they can: whoever comes first spins
/// for some tenths of a millisecond before it lets others have its core.
struct Gate {
    threads: usize,
    passed: AtomicUsize,
}

impl Gate {
    fn new(threads: usize) -> Self {
        Self { threads, passed: AtomicUsize::new(0) }
    }

    fn pass(&self) {
        let before = self.passed.fetch_add(1, Ordering::AcqRel);
        let all = (before / self.threads + 1) * self.threads;
        let mut spins = 0_u32;
        while self.passed.load(Ordering::Acquire) < all {
            spins += 1;
            if spins.is_multiple_of(10_000) {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
        }
    }
}
