//! Backends of a run: each model generation has another one, sound or with some of all faults.

use fastrand::Rng;
use latchless_engine::backend::SequenceId;
use latchless_engine::backend::scripted::{
    DecodeFault, DecodeTrigger, SampleTrigger, ScriptedBackend, ScriptedBuilder,
};

use super::fleet::Made;
use super::talk;
use crate::fault::{Fault, Rates};

/// Of model generations those that fail, by themselves.
const FAULTY: f64 = 2.0 / 3.0;

/// One or two contexts. With the rates of faults, some fail.
pub(super) fn make(rng: &mut Rng, faults: Option<&Rates>) -> Made<ScriptedBackend> {
    let is_faulty = faults.is_some_and(|rates| {
        let comes = rng.u8(0..3) != 0;
        rates.strikes(Fault::Backend, comes, FAULTY, rng)
    });
    let lanes = rng.usize(1..=2);
    let backends = (0..lanes).map(|_| {
        let backend = sound(rng);
        if is_faulty { faulty(rng, backend).build() } else { backend.build() }
    });
    Made { backends: backends.collect(), is_sound: !is_faulty }
}

/// Few cells and sequences, so that requests give way to each other.
fn sound(rng: &mut Rng) -> ScriptedBuilder {
    talk::backend().sequences(rng.u32(2..8)).cells(rng.u32(400..1_200)).batch_rows(rng.u32(8..64))
}

fn faulty(rng: &mut Rng, mut backend: ScriptedBuilder) -> ScriptedBuilder {
    for _ in 0..rng.u32(1..5) {
        let when = match rng.u32(0..3) {
            0 => DecodeTrigger::Decode(rng.u64(0..2_000)),
            1 => DecodeTrigger::RowsAbove(rng.usize(4..64)),
            _ => DecodeTrigger::Decode(rng.u64(0..200)),
        };
        let how = match rng.u32(0..4) {
            0 => DecodeFault::NoRoom,
            1 => DecodeFault::BadBatch,
            2 => DecodeFault::Failed,
            _ => DecodeFault::FailedAfter { rows: rng.usize(0..12) },
        };
        backend = backend.fail_decode(when, how);
    }
    for _ in 0..rng.u32(0..4) {
        backend = backend.fail_sample(SampleTrigger::Sample(rng.u64(0..4_000)));
    }
    let rarely: [fn(ScriptedBuilder) -> ScriptedBuilder; 4] = [
        ScriptedBuilder::fail_share,
        ScriptedBuilder::fail_park,
        ScriptedBuilder::fail_unpark,
        ScriptedBuilder::divided,
    ];
    for fault in rarely {
        if rng.u32(0..4) == 0 {
            backend = fault(backend);
        }
    }
    if rng.u32(0..4) == 0 {
        backend = backend.fail_truncate(SequenceId(rng.u32(0..3)));
    }
    if rng.u32(0..4) == 0 {
        backend = backend.fail_state(SequenceId(rng.u32(0..3)));
    }
    backend
}
