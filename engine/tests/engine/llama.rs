//! The engine on a real model.

use std::collections::HashSet;
use std::env;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;

use latchless_engine::backend::Token;
use latchless_engine::backend::llama::{
    CellLayout, ContextOptions, LlamaContext, LlamaModel, ModelOptions, runtime,
};
use latchless_engine::{
    Answer, CacheConfig, ChatMessage, Draw, Engine, EngineConfig, FinishReason, Penalties, Request,
    Sampling, SubmitError,
};
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel as PlainModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;

use super::support::{assert_nothing_held, started};

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const CELLS: u32 = 1024;

fn model_path() -> PathBuf {
    let cache = || {
        let xdg =
            env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = xdg.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
        Some(cache.join("latchless").join(FILE))
    };
    let path = env::var_os("LATCHLESS_MODEL").map(PathBuf::from).or_else(cache);
    path.filter(|path| path.is_file()).unwrap_or_else(|| {
        panic!(
            "the test model {FILE} is not there: `cargo xtask test` fetches it and runs the tests"
        )
    })
}

/// One model for all tests of the process.
fn model() -> &'static Arc<LlamaModel> {
    static MODEL: OnceLock<Arc<LlamaModel>> = OnceLock::new();
    MODEL.get_or_init(|| {
        LlamaModel::load(model_path(), &ModelOptions::default()).expect("the test model loads")
    })
}

/// One thread each: the tests run side by side, and ggml's threads spin.
fn context(sequences: u32) -> LlamaContext {
    let options = ContextOptions {
        cells: Some(CELLS),
        sequences,
        threads: Some(1),
        ..ContextOptions::default()
    };
    model().context(&options).expect("the context fits")
}

fn question(text: &str) -> Request {
    Request::chat([ChatMessage::user(text)]).max_tokens(32)
}

/// Greedy tokens of a loop around llama.cpp without anything of ours: the prompt in one batch, then a
/// token a batch.
fn plain_loop(prompt: &[Token], max_tokens: usize) -> Vec<Token> {
    let runtime = runtime().unwrap();
    let plain =
        PlainModel::load_from_file(runtime, model_path(), &LlamaModelParams::default()).unwrap();
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(CELLS))
        .with_n_threads(1)
        .with_n_threads_batch(1);
    let mut context = plain.new_context(runtime, params).unwrap();
    let mut batch = LlamaBatch::new(512, 1);
    let mut sampler = LlamaSampler::greedy();
    let mut position = 0;
    let mut next: Vec<LlamaToken> = prompt.iter().map(|token| LlamaToken(token.0)).collect();
    let mut said = Vec::new();
    while said.len() < max_tokens {
        batch.clear();
        for (index, token) in next.iter().enumerate() {
            batch.add(*token, position, &[0], index + 1 == next.len()).unwrap();
            position += 1;
        }
        context.decode(&mut batch).unwrap();
        let token = sampler.sample(&context, batch.n_tokens() - 1);
        if plain.vocab().is_eog(token) {
            break;
        }
        said.push(Token(token.0));
        next = vec![token];
    }
    said
}

/// Case 21: the tokens of a plain llama.cpp loop with the same batches, ten times, pool unchanged.
#[test]
fn greedy_answers_are_those_of_a_plain_loop() {
    let (engine, agent) = started(context(2));
    let asked = "What is the capital of France?";
    let text = engine.model().chat_prompt(&[ChatMessage::user(asked)]).unwrap();
    let prompt = engine.model().tokenize(&text, true).unwrap();
    let expected = plain_loop(&prompt, 32);
    assert!(expected.len() > 3);
    for _ in 0..10 {
        let answer = engine.submit(agent, question(asked)).unwrap().wait();
        assert_eq!(answer.tokens, expected);
        assert_eq!(answer.completion.usage.prompt_tokens as usize, prompt.len());
        assert!(answer.text.contains("Paris"), "{}", answer.text);
        assert_nothing_held(&engine);
    }
}

/// Eight agents on eight threads, more than there are sequences.
#[test]
fn eight_agents_are_answered_at_once() {
    let engine = Engine::start(context(4), EngineConfig::default()).unwrap();
    let countries = ["France", "Italy", "Spain", "Japan", "Germany", "Russia", "China", "Egypt"];
    let agents: Vec<_> = countries
        .map(|country| {
            let engine = engine.clone();
            thread::spawn(move || {
                let agent = engine.agent(country).unwrap();
                let asked = question(&format!("What is the capital of {country}?"));
                engine.submit(agent, asked).unwrap().wait()
            })
        })
        .into();
    let answers: Vec<Answer> = agents.into_iter().map(|agent| agent.join().unwrap()).collect();
    for (answer, country) in answers.iter().zip(countries) {
        assert!(answer.completion.reason.is_success(), "{country}: {:?}", answer.completion);
        assert!(answer.text.contains(country), "{country}: {}", answer.text);
    }
    assert!(answers[0].text.contains("Paris"), "{}", answers[0].text);
    let requests: HashSet<_> = answers.iter().map(|answer| answer.completion.request).collect();
    assert_eq!(requests.len(), 8);
    assert_nothing_held(&engine);
}

/// A prompt that is computed in several batches answers as sensibly as in one.
#[test]
fn a_prompt_in_chunks_is_understood() {
    let config = EngineConfig::default().prefill_rows(7);
    let engine = Engine::start(context(2), config).unwrap();
    let agent = engine.agent("reader").unwrap();
    let answer = engine.submit(agent, question("What is the capital of France?")).unwrap().wait();
    assert!(answer.text.contains("Paris"), "{}", answer.text);
}

#[test]
fn a_stop_string_ends_a_real_answer() {
    let (engine, agent) = started(context(1));
    let asked = question("What is the capital of France?").stop("Paris");
    let answer = engine.submit(agent, asked).unwrap().wait();
    assert_eq!(answer.completion.reason, FinishReason::Stop { index: 0 });
    assert!(!answer.text.contains("Paris") && answer.text.contains("capital"), "{}", answer.text);
}

#[test]
fn a_seed_repeats_a_real_draw() {
    let (engine, agent) = started(context(1));
    let draw = |seed| {
        let hot =
            Sampling::drawn(Draw { temperature: 1.5, top_k: 0, top_p: 1.0, ..Draw::seeded(seed) });
        let asked = question("Tell me a story.").sampling(hot);
        engine.submit(agent, asked).unwrap().wait().tokens
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn a_cancel_ends_a_real_answer_and_the_sequence_is_used_again() {
    let (engine, agent) = started(context(1));
    let story = question("Tell me a very long story about the sea.").max_tokens(500);
    let mut stream = engine.submit(agent, story).unwrap();
    assert!(stream.recv().is_some());
    assert!(stream.cancel());
    let completion = stream.wait().completion;
    assert_eq!(completion.reason, FinishReason::Cancelled);
    assert!(completion.blocks_freed > 0);
    assert_nothing_held(&engine);
    let answer = engine.submit(agent, question("What is the capital of France?")).unwrap().wait();
    assert!(answer.text.contains("Paris"), "{}", answer.text);
}

#[test]
fn a_prompt_longer_than_the_context_names_both_lengths() {
    let (engine, agent) = started(context(1));
    let refused = engine.submit(agent, Request::text("word ".repeat(2_000))).unwrap_err();
    assert!(matches!(refused, SubmitError::PromptTooLong { .. }));
    let refused = refused.to_string();
    assert!(refused.contains("1024") && refused.contains("200"), "{refused}");
    assert_nothing_held(&engine);
}

/// A grammar holds whatever the model would rather say, and the answer ends where the grammar does.
#[test]
fn a_grammar_is_followed() {
    let (engine, agent) = started(context(2));
    let choice = Sampling::greedy().grammar(r#"root ::= "No" | "Perhaps not""#);
    let asked = question("Is Paris the capital of France?").sampling(choice);
    let answer = engine.submit(agent, asked).unwrap().wait();
    assert!(matches!(answer.text.as_str(), "No" | "Perhaps not"), "{:?}", answer.text);
    assert_eq!(answer.completion.reason, FinishReason::EndOfGeneration);
    let digits = Sampling::seeded(3).grammar("root ::= [0-9] [0-9] [0-9]");
    let asked = question("Tell me a story.").sampling(digits);
    let answer = engine.submit(agent, asked).unwrap().wait();
    assert!(answer.text.len() == 3 && answer.text.bytes().all(|b| b.is_ascii_digit()));
    for bad in ["root ::= (", "root ::= other", "start ::= \"a\"", "root ::= root \"a\"", ""] {
        let asked = question("Hi").sampling(Sampling::greedy().grammar(bad));
        let refused = engine.submit(agent, asked).unwrap().wait().completion.reason.to_string();
        assert!(refused.contains("the grammar is refused"), "{bad:?}: {refused}");
    }
    assert_nothing_held(&engine);
}

/// Penalties and the limits of a draw reach llama.cpp.
#[test]
fn penalties_and_limits_change_what_is_drawn() {
    let (engine, agent) = started(context(1));
    let draw = |sampling| {
        let asked = Request::text("one two one two one two one two").max_tokens(24);
        engine.submit(agent, asked.sampling(sampling)).unwrap().wait().tokens
    };
    let greedy = draw(Sampling::greedy());
    let repeated = |tokens: &[Token]| tokens.len() - tokens.iter().collect::<HashSet<_>>().len();
    let varied = draw(Sampling::greedy().penalties(Penalties {
        repeat: 1.5,
        frequency: 1.0,
        presence: 1.0,
        ..Penalties::NONE
    }));
    assert!(repeated(&varied) < repeated(&greedy), "{greedy:?} {varied:?}");
    // A draw that keeps only the likeliest token is the greedy one, by each of its limits.
    let hot = Draw { temperature: 2.0, top_k: 0, top_p: 1.0, ..Draw::seeded(5) };
    assert_ne!(draw(Sampling::drawn(hot)), greedy);
    assert_eq!(draw(Sampling::drawn(Draw { top_k: 1, ..hot })), greedy);
    assert_eq!(draw(Sampling::drawn(Draw { top_p: 1e-6, ..hot })), greedy);
    assert_eq!(draw(Sampling::drawn(Draw { min_p: 1.0, ..hot })), greedy);
}

/// The instructions of three agents are computed once, and each is answered.
#[test]
fn real_agents_share_their_instructions() {
    let engine = Engine::start(context(4), EngineConfig::default()).unwrap();
    let rules = "You answer questions about geography in one short sentence. ".repeat(4);
    let countries = [("France", "Paris"), ("Italy", "Rome"), ("Japan", "Tokyo")];
    let streams = countries.map(|(country, _)| {
        let agent = engine.agent(country).unwrap();
        let asked = ChatMessage::user(format!("What is the capital of {country}?"));
        let asked = Request::chat([ChatMessage::system(&rules), asked]).max_tokens(24);
        engine.submit(agent, asked).unwrap()
    });
    let answers = streams.map(latchless_engine::TokenStream::wait);
    for (answer, (_, capital)) in answers.iter().zip(countries) {
        assert!(answer.text.contains(capital), "{}", answer.text);
    }
    let cached = answers.map(|answer| answer.completion.usage.cached_tokens);
    assert_eq!(cached[0], 0);
    assert!(cached[1] > 40 && cached[2] > 40, "{cached:?}");
    assert_nothing_held(&engine);
}

/// More requests than cells: they give way to each other and are all answered.
#[test]
fn real_requests_give_way_and_come_back() {
    // Cells for three of them; blocks for all.
    let config = EngineConfig::default().blocks(30 * 1_000);
    let small = ContextOptions {
        cells: Some(256),
        sequences: 6,
        threads: Some(1),
        ..ContextOptions::default()
    };
    let engine = Engine::new(model().context(&small).expect("the context fits"), config);
    let (engine, mut lane) = engine.unwrap();
    let streams: Vec<_> = (0..6)
        .map(|index| {
            let agent = engine.agent(&format!("teller {index}")).unwrap();
            let story = question(&format!("Tell me a story about {index} lions."));
            engine.submit(agent, story.max_tokens(60)).unwrap()
        })
        .collect();
    let mut parked = 0;
    loop {
        let report = lane.step();
        parked += report.parked;
        if report.running + report.waiting == 0 {
            break;
        }
    }
    assert!(parked > 0);
    for stream in streams {
        let answer = stream.wait();
        assert!(answer.completion.reason.is_success(), "{:?}", answer.completion);
        assert!(answer.tokens.len() > 10);
    }
    assert_nothing_held(&engine);
}

/// The model is replaced by itself, loaded again with another context, while it answers.
#[test]
fn a_real_model_is_replaced_under_way() {
    let engine = Engine::start(context(2), EngineConfig::default()).unwrap();
    let agent = engine.agent("traveller").unwrap();
    let story = question("Tell me a very long story about the sea.").max_tokens(60);
    let mut before = engine.submit(agent, story).unwrap();
    assert!(before.recv().is_some());
    let old = engine
        .swap(|| {
            let model = LlamaModel::load(model_path(), &ModelOptions { block_tokens: 64 })?;
            let options = ContextOptions {
                cells: Some(512),
                sequences: 1,
                threads: Some(1),
                ..ContextOptions::default()
            };
            model.context(&options).map(|context| [context])
        })
        .unwrap();
    let after = engine.submit(agent, question("What is the capital of France?")).unwrap().wait();
    assert!(after.text.contains("Paris"), "{}", after.text);
    assert_eq!((after.completion.generation, engine.limits().cells), (1, 512));
    let story = before.wait();
    assert!(story.completion.reason.is_success() && story.completion.generation == 0);
    old.wait(std::time::Duration::MAX).unwrap();
    let nothing = LlamaModel::load("no such file.gguf", &ModelOptions::default());
    let failed = engine.swap(|| nothing.map(|_| [context(1)]));
    assert!(failed.unwrap_err().to_string().contains("no such file.gguf"));
    let again = engine.submit(agent, question("What is the capital of Italy?")).unwrap().wait();
    assert!(again.text.contains("Rome"), "{}", again.text);
    assert_nothing_held(&engine);
}

/// Another engine, as after a restart, goes on from disk with the tokens that it would have said anyway.
#[test]
fn a_real_agent_resumes_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let config = EngineConfig::default().cache(CacheConfig::new(folder.path(), 1 << 30));
        Engine::start(context(2), config).unwrap()
    };
    let rules = "You answer questions about geography in one short sentence. ".repeat(8);
    let chat = |more: &[ChatMessage]| {
        let first =
            [ChatMessage::system(&rules), ChatMessage::user("What is the capital of France?")];
        Request::chat(first.into_iter().chain(more.iter().cloned())).max_tokens(24)
    };
    let engine = start();
    let traveller = |engine: &Engine| engine.agent("traveller").unwrap();
    let first = engine.submit(traveller(&engine), chat(&[])).unwrap().wait();
    assert!(first.text.contains("Paris"), "{}", first.text);
    let more = [ChatMessage::assistant(&first.text), ChatMessage::user("And of Italy?")];
    let expected = engine.submit(traveller(&engine), chat(&more)).unwrap().wait();
    drop(engine);

    // The turn that was saved is longer than what is asked now: it is cut.
    let engine = start();
    let resumed = engine.submit(traveller(&engine), chat(&more)).unwrap().wait();
    let usage = resumed.completion.usage;
    assert_eq!(usage.resumed_tokens, usage.prompt_tokens - 1, "{usage:?}");
    assert_eq!(resumed.tokens, expected.tokens);
    assert!(resumed.text.contains("Rome"), "{}", resumed.text);
    assert_nothing_held(&engine);
    drop(engine);

    // A context that is laid out otherwise cannot use it.
    let divided = ContextOptions {
        cells: Some(2 * CELLS),
        sequences: 2,
        layout: CellLayout::Divided,
        threads: Some(1),
        ..ContextOptions::default()
    };
    let config = EngineConfig::default().cache(CacheConfig::new(folder.path(), 1 << 30));
    let engine = Engine::start(model().context(&divided).unwrap(), config).unwrap();
    let computed = engine.submit(traveller(&engine), chat(&more)).unwrap().wait();
    assert_eq!(computed.completion.usage.cached_tokens, 0);
    assert!(computed.text.contains("Rome"), "{}", computed.text);
}
