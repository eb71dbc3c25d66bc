//! One request after another: what is refused, what comes back, and why it ends.

use latchless::{AllocateError, RequestId};
use latchless_engine::backend::Token;
use latchless_engine::backend::scripted::{Script, ScriptedBackend, ScriptedModel};
use latchless_engine::{
    AgentError, ChatMessage, Draw, Engine, EngineConfig, Event, FinishReason, Request, Sampling,
    StepReport, SubmitError, TokenStream,
};

use super::support::{
    ENOUGH, alone, assert_nothing_held, babble, endless, ready, started, stepped, stepped_with,
    text, text_of,
};

/// Case 15: an empty prompt, an empty agent id, no tokens asked for: typed errors, nothing taken.
#[test]
fn an_empty_request_takes_nothing() {
    let (engine, mut lane, agent) = stepped(text("hi").build());
    let submit = |request| engine.submit(agent, request).unwrap_err();
    assert!(matches!(submit(Request::text("")), SubmitError::EmptyPrompt));
    assert!(matches!(submit(Request::chat([])), SubmitError::EmptyPrompt));
    assert!(matches!(submit(Request::tokens([])), SubmitError::EmptyPrompt));
    assert!(matches!(submit(Request::text("a").max_tokens(0)), SubmitError::ZeroMaxTokens));
    assert!(matches!(submit(Request::text("a").stop("")), SubmitError::EmptyStop { index: 0 }));
    let cold = Sampling::drawn(Draw { temperature: 0.0, top_k: 0, top_p: 1.0, ..Draw::seeded(0) });
    assert!(matches!(submit(Request::text("a").sampling(cold)), SubmitError::Sampling(_)));
    for token in [Token(-1), Token(1_000_000)] {
        let refused = submit(Request::tokens([Token(65), token]));
        assert!(
            matches!(refused, SubmitError::UnknownToken { token: named, .. } if named == token)
        );
    }
    assert!(matches!(engine.agent(""), Err(AgentError::Name(_))));
    assert_nothing_held(&engine);
    assert_eq!(lane.step(), StepReport::default());
}

/// Case 15: a prompt longer than a sequence can be names both lengths.
#[test]
fn a_prompt_that_cannot_fit_names_both_lengths() {
    let (engine, mut lane, agent) = stepped(endless().tokens_per_sequence(16).build());
    let prompt = |tokens: usize| Request::tokens(vec![Token(65); tokens]).max_tokens(9);
    let refused = engine.submit(agent, prompt(16)).unwrap_err();
    assert!(matches!(
        refused,
        SubmitError::PromptTooLong { prompt_tokens: 16, sequence_tokens: 16 }
    ));
    assert!(refused.to_string().contains("16 tokens"), "{refused}");
    let refused = engine.submit(agent, prompt(4_000)).unwrap_err().to_string();
    assert!(refused.contains("4000") && refused.contains("16"), "{refused}");
    assert_nothing_held(&engine);

    // One token shorter there is room for one token, whatever was asked.
    let mut stream = engine.submit(agent, prompt(15)).unwrap();
    lane.run_until_idle(ENOUGH);
    assert_eq!(ready(&mut stream).len(), 2);
    let completion = stream.completion().unwrap();
    assert_eq!((completion.usage.generated_tokens, &completion.reason), (1, &FinishReason::Length));
    assert_nothing_held(&engine);
}

#[test]
fn a_submit_without_blocks_is_refused_whole() {
    let config = EngineConfig::default().blocks(2);
    let (engine, mut lane, agent) = stepped_with(endless().build(), config);
    let block = engine.model().spec().block_tokens();
    let taking = |blocks: u32| Request::tokens([Token(65)]).max_tokens(blocks * block - 1);
    let layers = engine.model().spec().blocks_for(1) as u32;
    assert_eq!(engine.pool().usage().total, 2);
    let refused = engine.submit(agent, taking(3)).unwrap_err();
    assert!(matches!(refused, SubmitError::Blocks(AllocateError::Exhausted { .. })), "{refused}");
    assert_nothing_held(&engine);
    let fitting = 2 / layers;
    let stream = engine.submit(agent, taking(fitting)).unwrap();
    let refused = engine.submit(agent, taking(1)).unwrap_err();
    assert!(matches!(refused, SubmitError::Blocks(AllocateError::Exhausted { .. })), "{refused}");
    drop(stream);
    lane.run_until_idle(ENOUGH);
    assert_nothing_held(&engine);
}

#[test]
fn more_requests_than_the_engine_takes_are_refused_not_delayed() {
    let config = EngineConfig::default().max_requests(2);
    let (engine, mut lane, agent) = stepped_with(text("hi").build(), config);
    let submit = || engine.submit(agent, Request::text("a").max_tokens(4));
    let _first = submit().unwrap();
    let second = submit().unwrap();
    assert!(matches!(submit(), Err(SubmitError::TooManyRequests { limit: 2 })));
    drop(second);
    lane.step();
    let _third = submit().unwrap();
    lane.run_until_idle(ENOUGH);
    assert_nothing_held(&engine);
}

/// Case 16: a step before any submit does nothing; three submits give exactly three completions.
#[test]
fn three_submits_give_three_completions() {
    let (engine, mut lane, agent) = stepped(babble(5).build());
    assert_eq!(lane.step(), StepReport::default());
    assert!(!lane.step().progressed());

    let streams: Vec<_> = ["a", "bb", "ccc"]
        .map(|prompt| engine.submit(agent, Request::text(prompt)).unwrap())
        .into();
    let submitted: Vec<RequestId> = streams.iter().map(TokenStream::id).collect();
    assert_eq!(engine.pending(), submitted);
    let report = lane.run_until_idle(ENOUGH);
    assert_eq!((report.ended, report.unfinished), (3, 0));
    let completed: Vec<RequestId> = streams
        .into_iter()
        .map(|mut stream| {
            let events = ready(&mut stream);
            let ends = events.iter().filter(|event| matches!(event, Event::Finished(_)));
            assert_eq!(ends.count(), 1);
            let completion = stream.completion().unwrap();
            assert_eq!(completion.agent, agent);
            assert_eq!(completion.usage.generated_tokens, 5);
            completion.request
        })
        .collect();
    assert_eq!(completed, submitted);
    assert_eq!(lane.step(), StepReport::default());
    assert_nothing_held(&engine);
}

/// Case 18: a backend that never finishes, with a step limit: returns, no completion.
#[test]
fn a_step_limit_ends_a_run_that_would_not_end() {
    let (engine, mut lane, agent) = stepped(endless().build());
    let mut stream = engine.submit(agent, Request::text("go").max_tokens(500)).unwrap();
    let report = lane.run_until_idle(50);
    assert_eq!((report.steps, report.ended, report.unfinished), (50, 0, 1));
    let events = ready(&mut stream);
    assert_eq!(events.len(), 50);
    assert!(events.iter().all(|event| matches!(event, Event::Token { .. })));
    assert_eq!(stream.completion(), None);
}

/// Case 20: a stop string across two tokens; the text ends before it.
#[test]
fn a_stop_string_across_tokens_ends_the_answer() {
    let request = Request::text("count").stop("never").stop("thr").stop("e");
    // "e" ends before "thr" does.
    let answer = alone(text("one two three").build(), request);
    assert_eq!(answer.text, "on");
    assert_eq!(answer.completion.reason, FinishReason::Stop { index: 2 });

    let answer = alone(text("one two three").build(), Request::text("count").stop(" thr"));
    assert_eq!(answer.text, "one two");
    assert_eq!(answer.completion.reason, FinishReason::Stop { index: 0 });
    assert_eq!(answer.completion.usage.generated_tokens, "one two thr".len() as u32);

    // The start of one that does not come is given back.
    let answer = alone(text("one two th").build(), Request::text("count").stop(" thr"));
    assert_eq!(answer.text, "one two th");
    assert_eq!(answer.completion.reason, FinishReason::EndOfGeneration);
}

/// Case 20: a stop string inside one token: what the token has before it is text, the rest is gone.
#[test]
fn a_stop_string_inside_a_token_splits_it() {
    let model = ScriptedModel::new().with_piece(b"ab END of").with_piece(b" more");
    let pieces = Script::Tokens(vec![Token(258), Token(259)]);
    let backend = ScriptedBackend::builder(pieces).model(model).build();
    let answer = alone(backend, Request::text("x").stop("END"));
    assert_eq!((answer.text.as_str(), answer.tokens.as_slice()), ("ab ", &[Token(258)][..]));
}

/// Case 20: characters of several bytes, a byte a token, come whole; a broken one is replaced.
#[test]
fn characters_across_tokens_come_whole() {
    let (engine, mut lane, agent) = stepped(text("né 🦀").build());
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    lane.run_until_idle(ENOUGH);
    let events = ready(&mut stream);
    let texts: Vec<_> = events.iter().map(Event::text).collect();
    assert_eq!(texts, ["n", "", "é", " ", "", "", "", "🦀", ""]);

    let broken = ScriptedBackend::builder(Script::Bytes(b"ok \xF0\x9F".to_vec())).build();
    assert_eq!(alone(broken, Request::text("x")).text, "ok \u{FFFD}");
    let cut = alone(text("ok 🦀").build(), Request::text("x").max_tokens(5));
    assert_eq!((cut.text.as_str(), cut.tokens.len()), ("ok \u{FFFD}", 5));
    assert_eq!(cut.completion.reason, FinishReason::Length);
}

/// Case 20: end of generation at the very first token: an answer without tokens.
#[test]
fn an_answer_may_be_empty() {
    let (engine, mut lane, agent) = stepped(text("").build());
    let mut stream = engine.submit(agent, Request::text("x")).unwrap();
    lane.run_until_idle(ENOUGH);
    let events = ready(&mut stream);
    assert!(matches!(events.as_slice(), [Event::Finished(_)]));
    let completion = stream.completion().unwrap();
    assert_eq!(completion.reason, FinishReason::EndOfGeneration);
    assert_eq!(completion.usage.generated_tokens, 0);
    assert_eq!(completion.timings.first_token, None);
    assert!(completion.timings.queued.unwrap() <= completion.timings.total);
    assert_nothing_held(&engine);
}

#[test]
fn max_tokens_ends_an_answer_with_its_exact_length() {
    let answer = alone(endless().build(), Request::text("x").max_tokens(9));
    assert_eq!((answer.text.as_str(), answer.tokens.len()), ("on and on", 9));
    assert_eq!(answer.completion.reason, FinishReason::Length);
    let usage = answer.completion.usage;
    assert_eq!((usage.prompt_tokens, usage.generated_tokens), (2, 9), "a start token and one byte");
}

#[test]
fn a_chat_is_written_by_the_model_s_template() {
    let (engine, agent) = started(ScriptedBackend::builder(Script::Echo).build());
    let chat = [ChatMessage::system("be brief"), ChatMessage::user("why?")];
    let prompt = engine.model().chat_prompt(&chat).unwrap();
    let answer = engine.submit(agent, Request::chat(chat).max_tokens(200)).unwrap().wait();
    let as_text = engine.submit(agent, Request::text(prompt).max_tokens(200)).unwrap().wait();
    assert!(answer.text.contains("why?"), "{}", answer.text);
    assert_eq!(answer.tokens, as_text.tokens);
}

/// Blocks are there for the whole answer before the lane has seen the request, and gone with it.
#[test]
fn blocks_are_reserved_at_submit_and_counted_at_the_end() {
    let (engine, mut lane, agent) = stepped(text("hi").build());
    let mut stream = engine.submit(agent, Request::tokens([Token(65)]).max_tokens(99)).unwrap();
    let blocks = engine.model().spec().blocks_for(100) as u32;
    assert_eq!(engine.pool().usage().used, blocks);
    lane.run_until_idle(ENOUGH);
    ready(&mut stream);
    assert_eq!(stream.completion().unwrap().blocks_freed, blocks);
    assert_nothing_held(&engine);
}

/// A prompt longer than a batch is computed in chunks, beside the tokens of those that run.
#[test]
fn long_prompts_are_computed_in_chunks_beside_the_decodes() {
    let backend = endless().batch_rows(8).record_batches().build();
    let probe = backend.probe();
    let config = EngineConfig::default().prefill_rows(4);
    let (engine, mut lane, agent) = stepped_with(backend, config);
    let mut first = engine.submit(agent, Request::tokens([Token(65)]).max_tokens(30)).unwrap();
    lane.step();
    let long = Request::tokens(vec![Token(66); 10]).max_tokens(30);
    let mut second = engine.submit(agent, long).unwrap();
    for (decode, prefill) in [(1, 4), (1, 4), (1, 2), (2, 0)] {
        let report = lane.step();
        assert_eq!((report.decode_rows, report.prefill_rows), (decode, prefill));
    }
    assert_eq!(text_of(&ready(&mut first)).len(), 5, "a token in every step");
    assert_eq!(text_of(&ready(&mut second)).len(), 2);
    for batch in probe.batches() {
        assert!(batch.len() <= 8);
        // Logits of a prompt are asked for its last token only.
        let wanted = batch.iter().filter(|row| row.logits && row.token == Token(66)).count();
        assert_eq!(
            wanted,
            batch.iter().filter(|row| row.position == 9 && row.token == Token(66)).count()
        );
    }
}

/// Requests beyond the sequences wait, first come first served, and answer as if they were alone.
#[test]
fn requests_wait_for_a_sequence_in_order() {
    let backend = || babble(6).sequences(2).build();
    let (engine, mut lane, agent) = stepped(backend());
    let prompts = ["one", "two", "three", "four", "five"];
    let mut streams: Vec<_> = prompts
        .iter()
        .map(|prompt| engine.submit(agent, Request::text(*prompt)).unwrap())
        .collect();
    let report = lane.step();
    assert_eq!((report.admitted, report.running, report.waiting), (2, 2, 3));
    let mut texts = vec![String::new(); prompts.len()];
    let mut admitted = vec![2];
    loop {
        for (text, stream) in texts.iter_mut().zip(&mut streams) {
            text.push_str(&text_of(&ready(stream)));
        }
        let begun = texts.iter().take_while(|text| !text.is_empty()).count();
        assert!(texts[begun..].iter().all(String::is_empty), "out of order: {texts:?}");
        if admitted.last() != Some(&begun) {
            admitted.push(begun);
        }
        if !lane.step().progressed() {
            break;
        }
    }
    assert_eq!(admitted, [2, 4, 5]);
    for (text, prompt) in texts.iter().zip(prompts) {
        assert_eq!(*text, alone(backend(), Request::text(prompt)).text);
    }
    assert_nothing_held(&engine);
}

/// Case 21: ten greedy runs give the same tokens, and the pool is as before.
#[test]
fn ten_runs_are_the_same_run() {
    let (engine, mut lane, agent) = stepped(babble(40).batch_rows(7).build());
    let mut runs = Vec::new();
    for _ in 0..10 {
        let mut streams: Vec<_> = ["a", "a longer prompt than a batch has rows", "b"]
            .iter()
            .map(|prompt| engine.submit(agent, Request::text(*prompt)).unwrap())
            .collect();
        lane.run_until_idle(ENOUGH);
        runs.push(streams.iter_mut().map(|stream| text_of(&ready(stream))).collect::<Vec<_>>());
        assert_nothing_held(&engine);
    }
    assert!(runs[0].iter().all(|text| text.len() == 40));
    assert!(runs.iter().all(|run| *run == runs[0]), "{runs:?}");
}

#[test]
fn a_seed_repeats_a_draw_and_another_does_not() {
    let (engine, agent) = started(babble(40).build());
    let draw = |seed| {
        let request = Request::text("x").sampling(Sampling::seeded(seed));
        engine.submit(agent, request).unwrap().wait().text
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn an_agent_is_registered_once() {
    let (engine, _lane) = Engine::new(text("").build(), EngineConfig::default()).unwrap();
    let agent = engine.agent("planner").unwrap();
    assert_eq!(engine.agent("planner").unwrap(), agent);
    assert_ne!(engine.agent("critic").unwrap(), agent);
}
