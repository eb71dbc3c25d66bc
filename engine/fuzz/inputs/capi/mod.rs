//! Sequences of calls into the C ABI, made of bytes: for the fuzz target and for the test that replays its
//! corpus.
//!
//! Each call takes an opcode and picks its handles: one of its kind, alive or long destroyed, one of another
//! kind, or any bits at all. What must be true: an object that is alive is found, one that is not gives a
//! status that says so, a pool's census adds up, and when everything was destroyed nothing is left.

mod calls;
mod make;

use latchless_capi::engine::latchless_engine_destroy;
use latchless_capi::engine::stream::latchless_stream_release;
use latchless_capi::handles::{
    latchless_agent, latchless_block, latchless_claim, latchless_engine, latchless_lease,
    latchless_machine, latchless_pool, latchless_stream, latchless_task, latchless_tasks,
};
use latchless_capi::lease::latchless_lease_release;
use latchless_capi::machine::{latchless_machine_destroy, latchless_snapshot};
use latchless_capi::pool::look::latchless_pool_census;
use latchless_capi::pool::{latchless_census, latchless_pool_destroy};
use latchless_capi::status::{latchless_last_error, latchless_status as S};
use latchless_capi::tasks::claim::latchless_claim_release;
use latchless_capi::tasks::latchless_tasks_destroy;
use std::ptr::null_mut;

/// Objects of one kind that a sequence may make: more say no more.
const MOST: usize = 24;
/// Calls of one sequence.
const CALLS: usize = 400;

/// Kinds of objects, in the order of `Host::made`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pool,
    Lease,
    Engine,
    Stream,
    Machine,
    Tasks,
    Claim,
}

const KINDS: usize = Kind::Claim as usize + 1;

/// What a sequence has made, and whether it is alive.
#[derive(Default)]
struct Host {
    made: [Vec<(u64, bool)>; KINDS],
    agents: Vec<u64>,
    blocks: Vec<latchless_block>,
    tasks: Vec<u64>,
    snapshots: Vec<latchless_snapshot>,
    /// Calls that did something, and calls that found a wrong handle.
    done: usize,
    refused: usize,
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    fn small(&mut self) -> u32 {
        u32::from(self.byte())
    }
}

/// Makes the calls; returns how many did something and how many had a wrong handle.
pub(crate) fn check(input: &[u8]) -> (usize, usize) {
    let mut bytes = Bytes(input);
    let mut host = Host::default();
    for _ in 0..CALLS {
        if bytes.0.is_empty() {
            break;
        }
        host.call(&mut bytes);
    }
    host.end();
    (host.done, host.refused)
}

impl Host {
    /// A handle for a call, and whether it is of an object of that kind that is alive.
    fn pick(&self, kind: Kind, bytes: &mut Bytes<'_>) -> (u64, bool) {
        let choice = bytes.byte();
        let of = |list: &[(u64, bool)], choice: u8| {
            (!list.is_empty()).then(|| list[usize::from(choice) % list.len()])
        };
        let own = &self.made[kind as usize];
        match choice {
            0..200 => of(own, choice).unwrap_or((0, false)),
            200..230 => {
                let other = &self.made[usize::from(bytes.byte()) % KINDS];
                let (bits, _) = of(other, choice).unwrap_or((0, false));
                (bits, own.contains(&(bits, true)))
            }
            230..250 => {
                // One bit beside a right one.
                let (bits, _) = of(own, bytes.byte()).unwrap_or((0, false));
                let bits = bits ^ 1 << (choice % 64);
                (bits, own.contains(&(bits, true)))
            }
            250..255 => {
                let bits = bytes.word();
                (bits, own.contains(&(bits, true)))
            }
            255 => (0, false),
        }
    }

    fn agent(&self, bytes: &mut Bytes<'_>) -> latchless_agent {
        let choice = bytes.byte();
        let bits = match self.agents.len() {
            0 => bytes.word(),
            _ if choice > 240 => bytes.word(),
            len => self.agents[usize::from(choice) % len],
        };
        latchless_agent { bits }
    }

    /// Some blocks, from wherever: the first one, and those that were taken after it.
    fn some_blocks(&self, bytes: &mut Bytes<'_>) -> Vec<latchless_block> {
        let (from, count) = (usize::from(bytes.byte()), usize::from(bytes.byte()) % 24);
        let mut some: Vec<_> = self.blocks.iter().skip(from).take(count).copied().collect();
        if bytes.byte() > 240 {
            let word = bytes.word();
            some.push(latchless_block { block: word as u32, seal: (word >> 32) as u32 });
        }
        some
    }

    fn task(&self, bytes: &mut Bytes<'_>) -> latchless_task {
        let choice = bytes.byte();
        let bits = match self.tasks.len() {
            0 => bytes.word(),
            _ if choice > 240 => bytes.word(),
            len => self.tasks[usize::from(choice) % len],
        };
        latchless_task { bits }
    }

    fn note(&mut self, kind: Kind, bits: u64) {
        self.made[kind as usize].push((bits, true));
    }

    fn has_room(&self, kind: Kind) -> bool {
        self.made[kind as usize].iter().filter(|(_, alive)| *alive).count() < MOST
    }

    /// What a call on a handle may have said: of an object that is alive never that it is not, and of one that
    /// is not never anything else.
    fn judge(&mut self, alive: bool, status: S) {
        let wrong = matches!(
            status,
            S::LATCHLESS_ERROR_NULL_HANDLE
                | S::LATCHLESS_ERROR_FOREIGN_HANDLE
                | S::LATCHLESS_ERROR_STALE_HANDLE
        );
        assert_eq!(wrong, !alive, "{status:?}");
        assert_ne!(status, S::LATCHLESS_ERROR_PANIC, "{}", last_error());
        self.refused += usize::from(wrong);
        self.done += usize::from(status == S::LATCHLESS_OK);
    }

    fn call(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.byte() % 16 {
            0..3 => self.make(bytes),
            3..7 => self.on_pool(bytes),
            7 | 8 => self.on_lease(bytes),
            9 | 10 => self.on_engine(bytes),
            11 => self.on_stream(bytes),
            12 => self.on_machine(bytes),
            13 => self.on_tasks(bytes),
            14 => self.on_claim(bytes),
            _ => self.destroy(bytes),
        }
    }

    fn destroy(&mut self, bytes: &mut Bytes<'_>) {
        let kind = usize::from(bytes.byte()) % KINDS;
        let kinds = [
            Kind::Pool,
            Kind::Lease,
            Kind::Engine,
            Kind::Stream,
            Kind::Machine,
            Kind::Tasks,
            Kind::Claim,
        ];
        let (bits, alive) = self.pick(kinds[kind], bytes);
        let status = destroy_as(kinds[kind], bits);
        self.judge(alive, status);
        for (handle, alive) in &mut self.made[kind] {
            *alive &= *handle != bits;
        }
    }

    /// Destroys what is left, in the order of kinds: pools before their leases, queues before their claims.
    fn end(&mut self) {
        let kinds = [
            Kind::Pool,
            Kind::Lease,
            Kind::Engine,
            Kind::Stream,
            Kind::Machine,
            Kind::Tasks,
            Kind::Claim,
        ];
        for kind in kinds {
            for (bits, alive) in &self.made[kind as usize] {
                let status = destroy_as(kind, *bits);
                assert_eq!(status == S::LATCHLESS_OK, *alive, "{status:?}");
            }
        }
    }
}

fn destroy_as(kind: Kind, bits: u64) -> S {
    match kind {
        Kind::Pool => latchless_pool_destroy(latchless_pool { bits }),
        Kind::Lease => latchless_lease_release(latchless_lease { bits }),
        Kind::Engine => latchless_engine_destroy(latchless_engine { bits }),
        Kind::Stream => latchless_stream_release(latchless_stream { bits }),
        Kind::Machine => latchless_machine_destroy(latchless_machine { bits }),
        Kind::Tasks => latchless_tasks_destroy(latchless_tasks { bits }),
        Kind::Claim => latchless_claim_release(latchless_claim { bits }),
    }
}

fn last_error() -> String {
    // SAFETY: a text of the library's, copied at once.
    unsafe { std::ffi::CStr::from_ptr(latchless_last_error()) }.to_string_lossy().into_owned()
}

fn census_adds_up(pool: latchless_pool) {
    let mut census = std::mem::MaybeUninit::<latchless_census>::uninit();
    // SAFETY: the result is there, and a list of nothing may be null.
    let status = unsafe { latchless_pool_census(pool, census.as_mut_ptr(), null_mut(), 0) };
    assert_eq!(status, S::LATCHLESS_OK);
    // SAFETY: the call succeeded.
    let census = unsafe { census.assume_init() };
    assert_eq!(census.in_flight, 0, "nothing runs");
    assert_eq!(census.free + census.owned + census.shared, census.total);
}
