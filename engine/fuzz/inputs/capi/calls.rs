//! The calls: each picks its handles, and judges what it was told.

use latchless_capi::engine::event::latchless_event;
use latchless_capi::engine::latchless_engine_agent;
use latchless_capi::engine::run::{
    latchless_engine_drain, latchless_engine_retiring, latchless_engine_step,
    latchless_engine_swap_scripted,
};
use latchless_capi::engine::stream::{latchless_stream_cancel, latchless_stream_poll};
use latchless_capi::engine::submit::{
    latchless_engine_cancel, latchless_engine_dispatch, latchless_engine_submit,
};
use latchless_capi::handles::{
    latchless_agent, latchless_block, latchless_claim, latchless_engine, latchless_lease,
    latchless_machine, latchless_pool, latchless_stream, latchless_tasks,
};
use latchless_capi::lease::{
    latchless_lease_allocate, latchless_lease_blocks, latchless_lease_from_blocks,
    latchless_lease_into_blocks, latchless_lease_share, latchless_lease_split,
    latchless_lease_transfer,
};
use latchless_capi::machine::{
    latchless_machine_create, latchless_machine_snapshot, latchless_machine_transition,
    latchless_machine_transition_from, latchless_snapshot,
};
use latchless_capi::pool::look::{
    latchless_pool_clear, latchless_pool_set_quota, latchless_pool_set_reserve,
    latchless_pool_used_by,
};
use latchless_capi::pool::{
    latchless_pool_allocate, latchless_pool_free, latchless_pool_free_agent,
    latchless_pool_register, latchless_pool_unregister,
};
use latchless_capi::status::latchless_status as S;
use latchless_capi::tasks::claim::{
    latchless_claim_complete, latchless_claim_fail, latchless_claim_give_back,
    latchless_claim_payload, latchless_claim_renew, latchless_claim_start, latchless_tasks_claim,
};
use latchless_capi::tasks::latchless_tasks_submit;
use latchless_capi::tasks::look::{
    latchless_tasks_forget, latchless_tasks_reclaim_expired, latchless_tasks_status,
};
use std::ptr::{null, null_mut};

use super::make::{engine, pool, queue, request};
use super::{Bytes, Host, Kind, MOST, census_adds_up, last_error};

impl Host {
    pub(super) fn make(&mut self, bytes: &mut Bytes<'_>) {
        let kinds = [Kind::Pool, Kind::Engine, Kind::Machine, Kind::Tasks];
        let kind = kinds[usize::from(bytes.byte()) % 4];
        if !self.has_room(kind) || self.made[kind as usize].len() > 4 * MOST {
            return;
        }
        let made = match kind {
            Kind::Pool => pool(bytes),
            Kind::Engine => engine(bytes),
            Kind::Machine => {
                let mut machine = latchless_machine::NULL;
                // SAFETY: the result is there.
                let status = unsafe { latchless_machine_create(&raw mut machine) };
                (status, machine.bits)
            }
            _ => queue(bytes),
        };
        assert_ne!(made.0, S::LATCHLESS_ERROR_PANIC, "{}", last_error());
        if made.0 == S::LATCHLESS_OK {
            self.note(kind, made.1);
        }
    }

    pub(super) fn on_pool(&mut self, bytes: &mut Bytes<'_>) {
        let (bits, alive) = self.pick(Kind::Pool, bytes);
        let pool = latchless_pool { bits };
        let agent = self.agent(bytes);
        // SAFETY: results are there, lists have the room that is told, or pointers are null, in all calls.
        let status = unsafe {
            match bytes.byte() % 10 {
                0 | 1 => {
                    let mut agent = agent;
                    let status = latchless_pool_register(pool, &raw mut agent);
                    if status == S::LATCHLESS_OK {
                        self.agents.push(agent.bits);
                    }
                    status
                }
                2 | 3 => {
                    let count = bytes.small() as usize % 40;
                    let mut blocks = vec![latchless_block { block: 0, seal: 0 }; count];
                    let layer = bytes.small() % 3;
                    let list = blocks.as_mut_ptr();
                    let status = latchless_pool_allocate(pool, agent, layer, list, count);
                    if status == S::LATCHLESS_OK {
                        self.blocks.extend(blocks);
                    }
                    status
                }
                4 | 5 => {
                    let blocks = self.some_blocks(bytes);
                    latchless_pool_free(pool, agent, blocks.as_ptr(), blocks.len(), null_mut())
                }
                6 => {
                    let mut lease = latchless_lease::NULL;
                    let blocks = self.some_blocks(bytes);
                    let status = if blocks.is_empty() {
                        let count = bytes.small() % 40;
                        latchless_lease_allocate(pool, agent, 0, count, &raw mut lease)
                    } else {
                        let (list, count) = (blocks.as_ptr(), blocks.len());
                        latchless_lease_from_blocks(pool, agent, 0, list, count, &raw mut lease)
                    };
                    if status == S::LATCHLESS_OK {
                        self.note(Kind::Lease, lease.bits);
                    }
                    status
                }
                7 => latchless_pool_set_quota(pool, agent, bytes.small()),
                8 => latchless_pool_set_reserve(pool, agent, bytes.small()),
                _ => match bytes.byte() % 4 {
                    0 => latchless_pool_unregister(pool, agent, null_mut()),
                    1 => latchless_pool_free_agent(pool, agent, null_mut()),
                    2 => latchless_pool_clear(pool, null_mut()),
                    _ => {
                        let mut used = 0;
                        latchless_pool_used_by(pool, agent, &raw mut used)
                    }
                },
            }
        };
        self.judge(alive, status);
        if alive {
            census_adds_up(pool);
        }
    }

    pub(super) fn on_lease(&mut self, bytes: &mut Bytes<'_>) {
        let (bits, alive) = self.pick(Kind::Lease, bytes);
        let lease = latchless_lease { bits };
        let agent = self.agent(bytes);
        let mut other = latchless_lease::NULL;
        let mut count = 0;
        // SAFETY: results are there, lists have the room that is told, or pointers are null, in all calls.
        let status = unsafe {
            match bytes.byte() % 5 {
                0 if self.has_room(Kind::Lease) => {
                    latchless_lease_share(lease, agent, &raw mut other)
                }
                1 if self.has_room(Kind::Lease) => {
                    latchless_lease_split(lease, bytes.small() % 20, &raw mut other)
                }
                2 => latchless_lease_transfer(lease, agent),
                3 => {
                    let mut blocks = [latchless_block { block: 0, seal: 0 }; 32];
                    let list = blocks.as_mut_ptr();
                    let status = latchless_lease_into_blocks(lease, list, 32, &raw mut count);
                    if status == S::LATCHLESS_OK {
                        self.blocks.extend_from_slice(&blocks[..count]);
                    }
                    status
                }
                _ => latchless_lease_blocks(lease, null_mut(), 0, &raw mut count),
            }
        };
        self.judge(alive, status);
        if other.bits != 0 {
            self.note(Kind::Lease, other.bits);
        }
    }

    pub(super) fn on_engine(&mut self, bytes: &mut Bytes<'_>) {
        let (bits, alive) = self.pick(Kind::Engine, bytes);
        let engine = latchless_engine { bits };
        let mut number = 0;
        // SAFETY: results are there, texts are texts, or pointers are null, in all calls.
        let status = unsafe {
            match bytes.byte() % 8 {
                0 => {
                    let mut agent = latchless_agent { bits: 0 };
                    let names = [c"a", c"b", c""];
                    let name = names[usize::from(bytes.byte()) % 3].as_ptr();
                    let status = latchless_engine_agent(engine, name, &raw mut agent);
                    if status == S::LATCHLESS_OK {
                        self.agents.push(agent.bits);
                    }
                    status
                }
                1 | 2 => {
                    let request = request(bytes);
                    let agent = self.agent(bytes);
                    let mut stream = latchless_stream::NULL;
                    let request = &raw const request;
                    let status = latchless_engine_submit(engine, agent, request, &raw mut stream);
                    if status == S::LATCHLESS_OK {
                        self.note(Kind::Stream, stream.bits);
                    }
                    status
                }
                3 => latchless_engine_cancel(engine, bytes.word(), null_mut()),
                4 => latchless_engine_drain(engine, 0, null_mut()),
                5 => latchless_engine_swap_scripted(engine, null()),
                6 => match bytes.byte() % 2 {
                    0 => latchless_engine_dispatch(engine, 0, null_mut()),
                    _ => latchless_engine_retiring(engine, &raw mut number),
                },
                _ => latchless_engine_step(engine, bytes.small() % 3, null_mut()),
            }
        };
        self.judge(alive, status);
    }

    pub(super) fn on_stream(&mut self, bytes: &mut Bytes<'_>) {
        let (bits, alive) = self.pick(Kind::Stream, bytes);
        let stream = latchless_stream { bits };
        // SAFETY: the result is there, or the pointer is null.
        let status = unsafe {
            if bytes.byte().is_multiple_of(4) {
                latchless_stream_cancel(stream, null_mut())
            } else {
                let mut event = std::mem::MaybeUninit::<latchless_event>::uninit();
                latchless_stream_poll(stream, event.as_mut_ptr())
            }
        };
        self.judge(alive, status);
    }

    pub(super) fn on_machine(&mut self, bytes: &mut Bytes<'_>) {
        let (bits, alive) = self.pick(Kind::Machine, bytes);
        let machine = latchless_machine { bits };
        let mut now = latchless_snapshot { version: 0, state: 0, completion_detected: 0 };
        let state = bytes.small() % 5;
        // SAFETY: the results are there, and so is what was seen.
        let status = unsafe {
            match (bytes.byte() % 3, self.snapshots.last()) {
                (0, _) => latchless_machine_snapshot(machine, &raw mut now),
                (1, Some(seen)) => {
                    latchless_machine_transition_from(machine, seen, state, &raw mut now)
                }
                _ => latchless_machine_transition(machine, state, &raw mut now),
            }
        };
        self.snapshots.push(now);
        self.judge(alive, status);
    }

    pub(super) fn on_tasks(&mut self, bytes: &mut Bytes<'_>) {
        let (bits, alive) = self.pick(Kind::Tasks, bytes);
        let tasks = latchless_tasks { bits };
        let mut task = self.task(bytes);
        let mut claim = latchless_claim::NULL;
        let mut state = 0;
        // SAFETY: results are there, payloads are, or pointers are null, in all calls.
        let status = unsafe {
            match bytes.byte() % 6 {
                0 | 1 => {
                    let (priority, kind) = (bytes.small() % 5, bytes.small() % 4);
                    let (payload, len) = (c"payload".as_ptr().cast(), bytes.small() as usize % 8);
                    let status =
                        latchless_tasks_submit(tasks, priority, kind, payload, len, &raw mut task);
                    if status == S::LATCHLESS_OK {
                        self.tasks.push(task.bits);
                    }
                    status
                }
                2 | 3 if self.has_room(Kind::Claim) => {
                    let (worker, kind) = (bytes.small(), bytes.small() % 4);
                    latchless_tasks_claim(tasks, worker, kind, bytes.word(), &raw mut claim)
                }
                4 => latchless_tasks_forget(tasks, task),
                5 => {
                    latchless_tasks_reclaim_expired(tasks, bytes.word(), null_mut(), 0, null_mut())
                }
                _ => latchless_tasks_status(tasks, task, &raw mut state),
            }
        };
        self.judge(alive, status);
        if claim.bits != 0 {
            self.note(Kind::Claim, claim.bits);
        }
    }

    pub(super) fn on_claim(&mut self, bytes: &mut Bytes<'_>) {
        let (bits, alive) = self.pick(Kind::Claim, bytes);
        let claim = latchless_claim { bits };
        let status = match bytes.byte() % 6 {
            0 | 1 => latchless_claim_start(claim),
            2 => latchless_claim_complete(claim),
            3 => latchless_claim_fail(claim),
            4 => latchless_claim_give_back(claim),
            _ if bytes.byte().is_multiple_of(2) => latchless_claim_renew(claim, bytes.word()),
            _ => {
                let mut payload = [0_u8; 8];
                // SAFETY: there is room for as many bytes as it says.
                unsafe {
                    latchless_claim_payload(claim, payload.as_mut_ptr().cast(), 8, null_mut())
                }
            }
        };
        self.judge(alive, status);
    }
}
