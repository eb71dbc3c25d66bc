//! What begins alike is computed once: an agent's next turn, and the instructions that many agents have.

use latchless::AgentHandle;
use latchless_engine::backend::SequenceId;
use latchless_engine::backend::scripted::{DecodeFault, DecodeTrigger, ScriptedBuilder};
use latchless_engine::{Answer, Engine, EngineConfig, FinishReason, Lane, Request, Token};

use super::support::{
    ENOUGH, alone, assert_nothing_held, babble, ready, stepped, stepped_with, text_of,
};

/// Instructions of 256 tokens: the start token and 255 letters.
fn instructions() -> String {
    "be brief and polite. ".chars().cycle().take(255).collect()
}

fn tokens_of(engine: &Engine, text: &str) -> Vec<Token> {
    engine.model().tokenize(text, true).unwrap()
}

/// Submits, steps to the end, and reads.
fn ask<B: latchless_engine::backend::Backend>(
    engine: &Engine,
    lane: &mut Lane<B>,
    agent: AgentHandle,
    request: Request,
) -> Answer {
    let stream = engine.submit(agent, request).unwrap();
    lane.run_until_idle(ENOUGH);
    stream.wait()
}

/// The next turn begins with what was said and heard: only what is new is computed.
#[test]
fn an_agent_s_next_turn_computes_only_what_is_new() {
    let backend = babble(10).build();
    let probe = backend.probe();
    let (engine, mut lane, agent) = stepped(backend);
    let first = tokens_of(&engine, "What is a lock?");
    let answer = ask(&engine, &mut lane, agent, Request::tokens(first.clone()));
    assert_eq!(answer.completion.usage.cached_tokens, 0);
    assert_nothing_held(&engine);

    let mut second = first;
    second.extend(&answer.tokens);
    let known = second.len() as u32;
    second.extend(tokens_of(&engine, " And a latch?"));
    let rows = probe.rows();
    let answer = ask(&engine, &mut lane, agent, Request::tokens(second.clone()));
    assert_eq!(answer.completion.usage.cached_tokens, known);
    let new = second.len() as u64 - u64::from(known);
    assert_eq!(probe.rows() - rows, new + 10, "the new tokens and ten generated ones");
    assert_eq!(answer.text, alone(babble(10).build(), Request::tokens(second)).text);
    assert_nothing_held(&engine);
}

/// One token must be computed to give logits, also when all is known.
#[test]
fn the_same_prompt_again_computes_one_token() {
    let backend = babble(4).build();
    let probe = backend.probe();
    let (engine, mut lane, agent) = stepped(backend);
    let prompt = Request::text("tell me the same thing twice");
    let first = ask(&engine, &mut lane, agent, prompt.clone());
    let rows = probe.rows();
    let again = ask(&engine, &mut lane, agent, prompt);
    assert_eq!(again.text, first.text);
    let usage = again.completion.usage;
    assert_eq!(usage.cached_tokens, usage.prompt_tokens - 1);
    assert_eq!(probe.rows() - rows, 1 + 4);
}

/// Three agents with the same 256 tokens in front, at once.
fn together(
    builder: impl Fn() -> ScriptedBuilder,
    between: impl FnOnce(&Engine, usize),
) -> (u64, Vec<Answer>) {
    let backend = builder().build();
    let probe = backend.probe();
    let (engine, mut lane, _) = stepped(backend);
    let prompts = ["who?", "where?", "when?"].map(|asked| format!("{}{asked}", instructions()));
    let mut streams = Vec::new();
    for (index, prompt) in prompts.iter().enumerate() {
        let agent = engine.agent(&format!("agent {index}")).unwrap();
        streams.push(engine.submit(agent, Request::text(prompt)).unwrap());
    }
    let before = engine.pool().usage().used as usize;
    // Until the instructions are computed, in batches of 64, and shared.
    for _ in 0..6 {
        lane.step();
    }
    between(&engine, before);
    lane.run_until_idle(ENOUGH);
    let answers: Vec<_> = streams.into_iter().map(latchless_engine::TokenStream::wait).collect();
    for (answer, prompt) in answers.iter().zip(&prompts) {
        if answer.completion.reason.is_success() {
            assert_eq!(answer.text, alone(babble(8).build(), Request::text(prompt)).text);
        }
    }
    assert_nothing_held(&engine);
    (probe.rows(), answers)
}

/// The common part is prefilled once, and its blocks are held together: 16 of 16 tokens in 2 layers.
#[test]
fn what_three_agents_begin_with_is_computed_once_and_its_blocks_are_shared() {
    let (rows, answers) = together(
        || babble(8),
        |engine, before| {
            let now = engine.pool().usage().used as usize;
            assert_eq!(before - now, 2 * (16 * 2), "two agents gave back their own");
            let census = engine.pool().census();
            assert_eq!((census.shared, census.free), (2 * 16, census.total - now as u32));
        },
    );
    let tails = "who?where?when?".len() as u64;
    // Two of them have two letters more in common with the first.
    assert_eq!(rows, 256 + tails - 2 * 2 + 3 * 8);
    let cached: Vec<_> =
        answers.iter().map(|answer| answer.completion.usage.cached_tokens).collect();
    assert_eq!(cached, [0, 258, 258]);
}

/// Whoever computes for the others may go: the next takes over.
#[test]
fn a_leader_that_is_cancelled_holds_nobody_up() {
    let (_, answers) = together(
        || babble(8).batch_rows(16),
        |engine, _| {
            // In batches of 16 the instructions are half computed.
            let first = engine.pending()[0];
            assert!(engine.cancel(first));
        },
    );
    assert_eq!(answers[0].completion.reason, FinishReason::Cancelled);
    assert!(answers[1..].iter().all(|answer| answer.completion.reason.is_success()));
    assert_eq!(answers[1].completion.usage.cached_tokens, 0, "it computed for itself");
    assert_eq!(answers[2].completion.usage.cached_tokens, 259, "and for the third");
}

#[test]
fn a_leader_that_fails_takes_nobody_along() {
    // The sequence that is given out first is 0.
    let fault = |builder: ScriptedBuilder| {
        builder.fail_decode(DecodeTrigger::Sequence(SequenceId(0)), DecodeFault::Failed)
    };
    let (_, answers) = together(|| fault(babble(8)), |_, _| {});
    assert!(matches!(answers[0].completion.reason, FinishReason::Failed(_)));
    assert!(answers[1..].iter().all(|answer| answer.completion.reason.is_success()));
}

/// Where cells cannot be shared each computes its own, and says the same.
#[test]
fn without_shared_cells_everybody_computes_all() {
    let tails = "who?where?when?".len() as u64;
    for backend in [ScriptedBuilder::divided, ScriptedBuilder::fail_share] {
        let (rows, answers) = together(|| backend(babble(8)), |_, _| {});
        assert_eq!(rows, 3 * 256 + tails + 3 * 8);
        assert!(answers.iter().all(|answer| answer.completion.usage.cached_tokens == 0));
    }
}

/// With more agents than sequences the idle ones give way, the oldest first, and no agent ever finds what
/// is another one's.
#[test]
fn idle_sequences_give_way_to_requests() {
    let (engine, mut lane, _) = stepped(babble(6).sequences(2).build());
    let prompt = |index: usize| format!("{index}{index} has a prompt of its own");
    let agents: Vec<_> =
        (0..4).map(|index| engine.agent(&format!("agent {index}")).unwrap()).collect();
    let mut cached = Vec::new();
    for index in [0, 1, 0, 2, 0, 1, 3] {
        let request = Request::text(prompt(index));
        let answer = ask(&engine, &mut lane, agents[index], request.clone());
        assert_eq!(answer.text, alone(babble(6).build(), request).text);
        cached.push(answer.completion.usage.cached_tokens > 1);
    }
    // The third and the fifth find their own; agent 1 was evicted when 2 came.
    assert_eq!(cached, [false, false, true, false, true, false, false]);
    assert_nothing_held(&engine);
}

#[test]
fn with_no_room_for_idle_tokens_nothing_is_kept() {
    for (room, kept) in [(0, false), (20, false), (500, true)] {
        let config = EngineConfig::default().idle_tokens(room);
        let (engine, mut lane, agent) = stepped_with(babble(6).build(), config);
        let prompt = Request::text("thirty letters and a few more..");
        ask(&engine, &mut lane, agent, prompt.clone());
        let again = ask(&engine, &mut lane, agent, prompt);
        assert_eq!(again.completion.usage.cached_tokens > 0, kept, "{room}");
    }
}

/// A model that forgets only all at once, as a recurrent one, starts again.
#[test]
fn a_sequence_that_cannot_be_cut_is_computed_again() {
    let (engine, mut lane, agent) =
        stepped(babble(6).sequences(1).fail_truncate(SequenceId(0)).build());
    let first = Request::text("a question with one end");
    ask(&engine, &mut lane, agent, first);
    let second = Request::text("a question with two ends");
    let answer = ask(&engine, &mut lane, agent, second.clone());
    assert_eq!(answer.completion.usage.cached_tokens, 0);
    assert_eq!(answer.text, alone(babble(6).build(), second).text);
}

/// What was cancelled or failed is not kept: nobody wants the one, nobody can vouch for the other.
#[test]
fn what_was_cancelled_is_not_kept() {
    let (engine, mut lane, agent) = stepped(babble(50).build());
    let prompt = Request::text("a prompt that is given up on");
    let mut stream = engine.submit(agent, prompt.clone()).unwrap();
    lane.step();
    assert!(stream.cancel());
    lane.run_until_idle(ENOUGH);
    ready(&mut stream);
    let again = ask(&engine, &mut lane, agent, prompt.clone());
    assert_eq!(again.completion.usage.cached_tokens, 0);
    let whole = alone(babble(50).build(), prompt);
    assert_eq!(again.text, whole.text);
    assert_ne!(text_of(&ready(&mut stream)), whole.text);
}
