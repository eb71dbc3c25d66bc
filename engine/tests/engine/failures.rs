//! Case 17: a backend that fails. Only the requests concerned end, with a typed reason; their blocks are
//! free, the others say what they would have said, and a drain still returns.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use latchless_engine::backend::scripted::{
    DecodeFault, DecodeTrigger, SampleTrigger, Script, ScriptedBackend, ScriptedBuilder,
    ScriptedParked, ScriptedSampler,
};
use latchless_engine::backend::{
    Backend, BackendError, Batch, BatchRow, DecodeError, Limits, Model, SequenceId,
};
use latchless_engine::cache::ModelTag;
use latchless_engine::{
    Engine, EngineConfig, FinishReason, Request, RequestError, Sampling, SubmitError, Token,
};

use super::support::{
    ENOUGH, alone, assert_nothing_held, babble, endless, ready, reason, started, stepped,
    stepped_with, text, text_of,
};

/// Held by the prompts that are to fail.
const POISON: Token = Token(b'!' as i32);

/// Submits `prompts`, of which those with a `!` must fail as `expected` says and the others answer as if
/// alone. Returns the failed decodes.
fn only_the_poisoned_fail(
    faulty: impl FnOnce(ScriptedBuilder) -> ScriptedBuilder,
    prompts: &[&str],
    expected: impl Fn(&RequestError) -> bool,
) -> u64 {
    let script = || babble(12).batch_rows(16);
    let backend = faulty(script()).build();
    let probe = backend.probe();
    let (engine, mut lane, agent) = stepped(backend);
    let mut streams: Vec<_> = prompts
        .iter()
        .map(|prompt| engine.submit(agent, Request::text(*prompt)).unwrap())
        .collect();
    let report = lane.run_until_idle(ENOUGH);
    assert_eq!((report.ended as usize, report.unfinished), (prompts.len(), 0));
    for (stream, prompt) in streams.iter_mut().zip(prompts) {
        let events = ready(stream);
        let completion = stream.completion().unwrap();
        assert!(completion.blocks_freed > 0);
        match &completion.reason {
            FinishReason::Failed(error) => {
                assert!(prompt.contains('!') && expected(error), "{prompt}: {error:?}");
            }
            reason => {
                assert_eq!(*reason, FinishReason::EndOfGeneration);
                assert!(!prompt.contains('!'), "{prompt} should have failed");
                let undisturbed = alone(script().build(), Request::text(*prompt));
                assert_eq!(text_of(&events), undisturbed.text);
            }
        }
    }
    assert_nothing_held(&engine);
    assert_eq!(engine.drain(Duration::ZERO), Ok(0));
    // What failed left nothing behind in the backend either; what is kept for a next turn goes with the
    // engine.
    engine.shutdown();
    lane.step();
    assert!((0..8).all(|sequence| lane.backend().sequence_len(SequenceId(sequence)) == 0));
    probe.failed_decodes()
}

#[test]
fn a_poisoned_prompt_fails_alone() {
    let failed = only_the_poisoned_fail(
        |backend| backend.fail_decode(DecodeTrigger::Token(POISON), DecodeFault::Failed),
        &["one", "two!", "three"],
        |error| matches!(error, RequestError::Decode(DecodeError::Failed { .. })),
    );
    assert_eq!(failed, 2, "once in the batch, once alone");
}

#[test]
fn a_batch_that_fails_half_way_is_taken_back() {
    for rows in 0..12 {
        only_the_poisoned_fail(
            |backend| {
                backend.fail_decode(DecodeTrigger::Token(POISON), DecodeFault::FailedAfter { rows })
            },
            &["one", "a long one with a ! in it", "three"],
            |error| matches!(error, RequestError::Decode(DecodeError::Failed { .. })),
        );
    }
}

#[test]
fn a_refused_batch_fails_only_who_is_refused_alone() {
    only_the_poisoned_fail(
        |backend| backend.fail_decode(DecodeTrigger::Holding(POISON), DecodeFault::BadBatch),
        &["!", "two", "!!", "four", "!!!"],
        |error| matches!(error, RequestError::Decode(DecodeError::BadBatch { .. })),
    );
}

/// A failure that does not come again costs nobody anything, in company and alone.
#[test]
fn a_failure_that_passes_fails_nobody() {
    for prompts in [&["one", "two", "three"][..], &["one"]] {
        for decode in 0..6 {
            let fault = DecodeFault::FailedAfter { rows: 2 };
            let failed = only_the_poisoned_fail(
                |backend| backend.fail_decode(DecodeTrigger::Decode(decode), fault),
                prompts,
                |_| false,
            );
            assert_eq!(failed, 1);
        }
    }
}

#[test]
fn a_failed_draw_fails_its_own_request() {
    only_the_poisoned_fail(
        |backend| backend.fail_sample(SampleTrigger::Holding(POISON)),
        &["one!", "two", "three!", "four"],
        |error| matches!(error, RequestError::Sample(_)),
    );
}

#[test]
fn a_refused_sampler_fails_its_own_request() {
    let (engine, mut lane, agent) = stepped(text("hi").fail_sampler().build());
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    assert_eq!(lane.step().ended, 1);
    let failed = reason(&mut stream);
    assert!(matches!(failed, FinishReason::Failed(RequestError::Sampler(_))), "{failed}");
    assert_nothing_held(&engine);
}

/// A model that can only forget a sequence whole cannot take back half a batch: the request whose
/// sequence cannot be restored fails, the others go on.
#[test]
fn a_sequence_that_cannot_be_restored_fails_its_request() {
    let backend = babble(12)
        .fail_truncate(SequenceId(0))
        .fail_decode(DecodeTrigger::Decode(3), DecodeFault::FailedAfter { rows: 2 })
        .build();
    let (engine, mut lane, agent) = stepped(backend);
    let submit = |prompt: &str| engine.submit(agent, Request::text(prompt)).unwrap();
    let (mut first, mut second) = (submit("one"), submit("two"));
    lane.run_until_idle(ENOUGH);
    let failed = reason(&mut first);
    assert!(matches!(failed, FinishReason::Failed(RequestError::Restore(_))), "{failed}");
    assert_eq!(text_of(&ready(&mut second)), alone(babble(12).build(), Request::text("two")).text);
    assert_nothing_held(&engine);
}

/// Fewer rows where the batch does not fit: everybody still answers.
#[test]
fn a_batch_that_does_not_fit_is_halved() {
    let fault = |backend: ScriptedBuilder| {
        backend.fail_decode(DecodeTrigger::RowsAbove(3), DecodeFault::NoRoom)
    };
    let prompts = ["a prompt longer than three tokens", "b", "another long prompt", "c", "d", "e"];
    let failed = only_the_poisoned_fail(fault, &prompts, |_| false);
    assert!(failed > 0);
}

/// More blocks than cells: those that do not fit give way until others have ended.
#[test]
fn requests_wait_for_cells() {
    let backend = babble(20).cells(64).build();
    let config = EngineConfig::default().blocks(10_000);
    let (engine, mut lane, agent) = stepped_with(backend, config);
    let prompt = "a prompt that takes forty tokens or so";
    let mut streams: Vec<_> =
        (0..4).map(|_| engine.submit(agent, Request::text(prompt)).unwrap()).collect();
    lane.run_until_idle(ENOUGH);
    assert!(streams.iter_mut().map(reason).all(|reason| reason.is_success()));
    assert_nothing_held(&engine);
}

/// Where none can give way and none can move any more, the youngest goes so that the others can, and not
/// everybody.
#[test]
fn the_youngest_fails_when_no_cell_is_left_and_nobody_can_give_way() {
    let backend = endless().cells(20).fail_park().build();
    let config = EngineConfig::default().blocks(10_000);
    let (engine, mut lane, agent) = stepped_with(backend, config);
    let submit = || engine.submit(agent, Request::tokens([Token(65)]).max_tokens(15)).unwrap();
    let (mut old, mut young) = (submit(), submit());
    lane.run_until_idle(ENOUGH);
    assert_eq!(reason(&mut old), FinishReason::Length);
    let no_room = RequestError::Decode(DecodeError::NoRoom);
    assert_eq!(reason(&mut young), FinishReason::Failed(no_room));
    assert_eq!(young.completion().unwrap().usage.generated_tokens, 10);
    assert_nothing_held(&engine);
}

/// A request that can never fit fails and does not hang.
#[test]
fn a_request_that_fits_nowhere_fails() {
    let config = EngineConfig::default().blocks(10_000);
    let (engine, mut lane, agent) = stepped_with(endless().cells(8).build(), config);
    let mut stream = engine.submit(agent, Request::tokens(vec![Token(65); 9])).unwrap();
    assert_eq!(lane.run_until_idle(ENOUGH).unfinished, 0);
    let no_room = RequestError::Decode(DecodeError::NoRoom);
    assert_eq!(reason(&mut stream), FinishReason::Failed(no_room));
    assert_nothing_held(&engine);
}

/// Tokens that nobody asked for, in a sequence that is given out: logged, cleared, and the step goes on.
#[test]
fn tokens_of_nobody_are_cleared() {
    let mut backend = text("hi").build();
    let mut batch = Batch::with_capacity(1);
    let row = BatchRow { token: Token(65), sequence: SequenceId(0), position: 0, logits: false };
    batch.push(row).unwrap();
    backend.decode(&batch).unwrap();
    assert_eq!(backend.sequence_len(SequenceId(0)), 1);
    let probe = backend.probe();
    let (engine, mut lane, agent) = stepped(backend);
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    lane.run_until_idle(ENOUGH);
    assert_eq!(text_of(&ready(&mut stream)), "hi");
    assert_eq!(probe.failed_decodes(), 0, "cleared before it was used");
}

/// A backend whose sequences cannot be cleared for a while.
struct Stubborn {
    inner: ScriptedBackend,
    refusals: u32,
}

impl Backend for Stubborn {
    type Sampler = ScriptedSampler;
    type Parked = ScriptedParked;

    fn model(&self) -> Arc<dyn Model> {
        self.inner.model()
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    fn sampler(&self, sampling: &Sampling) -> Result<ScriptedSampler, BackendError> {
        self.inner.sampler(sampling)
    }
    fn decode(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        self.inner.decode(batch)
    }
    fn sample(&mut self, row: usize, sampler: &mut ScriptedSampler) -> Result<Token, BackendError> {
        self.inner.sample(row, sampler)
    }
    fn sequence_len(&self, sequence: SequenceId) -> u32 {
        self.inner.sequence_len(sequence)
    }
    fn truncate(&mut self, sequence: SequenceId, from: u32) -> Result<(), BackendError> {
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(BackendError::Failed { doing: "clearing", reason: "not now".into() });
        }
        self.inner.truncate(sequence, from)
    }

    fn shares_cells(&self) -> bool {
        self.inner.shares_cells()
    }

    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) -> Result<(), BackendError> {
        self.inner.share(from, to, tokens)
    }

    fn park(&mut self, sequence: SequenceId) -> Result<ScriptedParked, BackendError> {
        self.inner.park(sequence)
    }

    fn unpark(
        &mut self,
        sequence: SequenceId,
        parked: &ScriptedParked,
    ) -> Result<(), BackendError> {
        self.inner.unpark(sequence, parked)
    }

    fn state_tag(&self) -> Result<ModelTag, BackendError> {
        self.inner.state_tag()
    }

    fn state_bytes(&self, sequence: SequenceId) -> u64 {
        self.inner.state_bytes(sequence)
    }

    fn save_sequence(&mut self, sequence: SequenceId) -> Result<Vec<u8>, BackendError> {
        self.inner.save_sequence(sequence)
    }

    fn load_sequence(&mut self, sequence: SequenceId, state: &[u8]) -> Result<u32, BackendError> {
        self.inner.load_sequence(sequence, state)
    }
}

/// Case 17, after a completion: the answer is whole, the sequence is kept away until it can be cleared.
#[test]
fn a_sequence_that_is_not_cleared_is_not_given_out() {
    for refusals in 1..5 {
        let inner = text("hi").sequences(2).build();
        let (engine, mut lane, agent) = stepped(Stubborn { inner, refusals });
        let submit = || engine.submit(agent, Request::text("x")).unwrap();
        let mut first = submit();
        lane.run_until_idle(ENOUGH);
        assert_eq!(text_of(&ready(&mut first)), "hi");
        assert!(first.completion().unwrap().reason.is_success());
        assert_nothing_held(&engine);
        for _ in 0..8 {
            let mut next = submit();
            lane.run_until_idle(ENOUGH);
            assert_eq!(text_of(&ready(&mut next)), "hi");
        }
        assert_nothing_held(&engine);
    }
}

/// With no sequence left that can be cleared, requests fail rather than wait for ever.
#[test]
fn without_a_usable_sequence_requests_fail() {
    let inner = text("hi").sequences(1).build();
    let config = EngineConfig::default().idle_tokens(0);
    let engine = Engine::start(Stubborn { inner, refusals: 5 }, config).unwrap();
    let agent = engine.agent("planner").unwrap();
    let submit = || engine.submit(agent, Request::text("x")).unwrap().wait().completion.reason;
    assert!(submit().is_success());
    let failed = submit();
    assert!(matches!(failed, FinishReason::Failed(RequestError::NoSequence(_))), "{failed}");
    assert_nothing_held(&engine);
    // Each attempt tries twice more; in the end it can be cleared.
    assert!(!submit().is_success());
    assert!(submit().is_success());
}

/// A lane's thread that panics ends all streams, of those that run, wait and come later.
#[test]
fn a_panic_in_the_lane_ends_every_stream() {
    let script = ScriptedBackend::builder(Script::Endless("x".into()));
    let panics = DecodeTrigger::Decode(5);
    let (engine, agent) =
        started(script.sequences(2).fail_decode(panics, DecodeFault::Panic).build());
    let submit = || engine.submit(agent, Request::text("x").max_tokens(200));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let stream = submit();
            thread::spawn(move || stream.map(|stream| stream.wait().completion))
        })
        .collect();
    for reader in readers {
        match reader.join().unwrap() {
            Ok(completion) => {
                assert_eq!(completion.reason, FinishReason::Failed(RequestError::LaneGone));
            }
            // It came after the panic.
            Err(refused) => assert!(matches!(refused, SubmitError::Closed), "{refused}"),
        }
    }
    engine.shutdown();
    assert!(matches!(submit(), Err(SubmitError::Closed)));
    assert_eq!(engine.drain(Duration::ZERO), Ok(0));
    assert_nothing_held(&engine);
}

/// A host that catches the panic of a step and goes on finds every stream ended by the next step.
#[test]
fn a_lane_that_is_stepped_after_a_panic_ends_everything() {
    let fault = (DecodeTrigger::Decode(0), DecodeFault::Panic);
    let backend = babble(4).sequences(1).fail_decode(fault.0, fault.1).build();
    let (engine, mut lane, agent) = stepped(backend);
    let mut streams =
        [(), ()].map(|()| engine.submit(agent, Request::text("x").max_tokens(4)).unwrap());
    catch_unwind(AssertUnwindSafe(|| lane.step())).unwrap_err();
    let mut late = engine.submit(agent, Request::text("x")).unwrap();
    let report = lane.step();
    assert!((report.ended, report.closed) == (3, true), "{report:?}");
    for stream in streams.iter_mut().chain([&mut late]) {
        assert_eq!(reason(stream), FinishReason::Failed(RequestError::LaneGone));
    }
    assert!(lane.step().closed);
    assert_nothing_held(&engine);
    assert!(matches!(engine.submit(agent, Request::text("x")), Err(SubmitError::Closed)));
}

/// A host that steps the lane and survives its panic finds every stream ended when it drops the lane.
#[test]
fn a_panic_in_a_stepped_lane_frees_everything_when_it_is_dropped() {
    let fault = (DecodeTrigger::Decode(1), DecodeFault::Panic);
    let (engine, mut lane, agent) = stepped(endless().fail_decode(fault.0, fault.1).build());
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    let stepping = thread::spawn(move || lane.run_until_idle(ENOUGH));
    assert!(stepping.join().is_err());
    assert_eq!(reason(&mut stream), FinishReason::Failed(RequestError::LaneGone));
    assert_nothing_held(&engine);
}
