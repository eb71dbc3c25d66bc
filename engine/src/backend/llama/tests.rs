//! The real model, and every way to misuse it that llama.cpp does not survive.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;

use llama_cpp_2::sampling::LlamaSampler as RawSampler;

use super::super::{
    Backend, BackendError, Batch, BatchRow, ChatMessage, DecodeError, Draw, Model, Sampling,
    SequenceId, Token,
};
use super::*;

mod kept;
mod states;

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const GREEDY: Sampling = Sampling::greedy();

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
fn options() -> ContextOptions {
    ContextOptions { sequences: 2, threads: Some(1), ..ContextOptions::default() }
}

fn context(options: &ContextOptions) -> LlamaContext {
    model().context(options).expect("the context fits")
}

fn tokens(text: &str) -> Vec<Token> {
    model().tokenize(text, true).expect("the text can be tokenised")
}

fn question(text: &str) -> Vec<Token> {
    tokens(&model().chat_prompt(&[ChatMessage::user(text)]).expect("the model has a template"))
}

fn text(tokens: &[Token]) -> String {
    let mut bytes = Vec::new();
    for token in tokens {
        model().token_bytes(*token, &mut bytes);
    }
    String::from_utf8(bytes).expect("whole characters")
}

/// Rows for `tokens` in `sequence` from `position` on; the last one has logits.
fn rows(sequence: u32, position: u32, tokens: &[Token]) -> Vec<BatchRow> {
    let row = |(index, token): (usize, &Token)| BatchRow {
        token: *token,
        sequence: SequenceId(sequence),
        position: position + index as u32,
        logits: index + 1 == tokens.len(),
    };
    tokens.iter().enumerate().map(row).collect()
}

fn batch(rows: &[BatchRow]) -> Batch {
    let mut batch = Batch::with_capacity(rows.len());
    for row in rows {
        batch.push(*row).expect("it was made for so many");
    }
    batch
}

/// Answers all prompts side by side, one a sequence, at most `most` tokens each.
fn answer(
    context: &mut LlamaContext,
    prompts: &[Vec<Token>],
    sampling: &Sampling,
    most: usize,
) -> Vec<String> {
    let mut samplers: Vec<_> = prompts.iter().map(|_| context.sampler(sampling).unwrap()).collect();
    let mut next = prompts.to_vec();
    let mut said = vec![Vec::new(); prompts.len()];
    for _ in 0..most {
        let mut step = Vec::new();
        let mut from = Vec::new();
        for (sequence, next) in (0..).zip(&next).filter(|(_, next)| !next.is_empty()) {
            step.extend(rows(sequence, context.sequence_len(SequenceId(sequence)), next));
            from.push((sequence as usize, step.len() - 1));
        }
        if step.is_empty() {
            break;
        }
        context.decode(&batch(&step)).unwrap();
        for (sequence, row) in from {
            let token = context.sample(row, &mut samplers[sequence]).unwrap();
            next[sequence].clear();
            if !model().is_end_of_generation(token) {
                said[sequence].push(token);
                next[sequence].push(token);
            }
        }
    }
    said.iter().map(|tokens| text(tokens)).collect()
}

#[test]
fn the_header_gives_the_geometry() {
    let model = model();
    let (spec, header) = (model.spec(), model.header());
    assert_eq!((spec.layers(), spec.kv_heads(), spec.head_size()), (30, 3, 64));
    assert_eq!(spec.block_tokens(), 32);
    assert_eq!((header.architecture.as_str(), header.vocabulary), ("llama", 49_152));
    assert_eq!((model.vocabulary_size(), model.trained_context()), (49_152, 8192));
    assert!(model.name().contains("135M"), "{}", model.name());
}

#[test]
fn text_becomes_tokens_and_back() {
    let sample = "Grüße, 世界! 🦀\n\tlet x = 1;";
    let plain = model().tokenize(sample, false).unwrap();
    assert_eq!(text(&plain), sample);
    assert!(plain.len() < sample.len());
    assert_eq!(model().tokenize("", false).unwrap(), []);

    let control = tokens("<|im_end|>");
    assert_eq!(control.len(), 1, "a control token is one token when it is asked for");
    assert!(model().is_end_of_generation(control[0]));
    assert_eq!(text(&control), "", "and has no text");
    assert!(model().tokenize("<|im_end|>", false).unwrap().len() > 1, "else it is text");
}

/// A C++ exception from a vocabulary's lookup would end the process.
#[test]
fn tokens_outside_the_vocabulary_are_nothing() {
    let mut out = Vec::new();
    for token in [-1, 49_152, i32::MIN, i32::MAX] {
        model().token_bytes(Token(token), &mut out);
        assert!(!model().is_end_of_generation(Token(token)));
    }
    assert!(out.is_empty());
}

#[test]
fn a_chat_is_written_by_the_models_template() {
    let chat = [ChatMessage::system("Be brief."), ChatMessage::user("Hi!")];
    let prompt = model().chat_prompt(&chat).unwrap();
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n\
                    <|im_start|>assistant\n";
    assert_eq!(prompt, expected);
    for refused in [&[][..], &[ChatMessage::user("a\0b")]] {
        let error = model().chat_prompt(refused).unwrap_err();
        assert!(matches!(error, BackendError::ChatTemplate { .. }), "{error}");
    }
}

#[test]
fn two_sequences_in_one_batch_answer_their_own_questions() {
    let mut context = context(&options());
    let prompts =
        [question("What is the capital of France?"), question("How many legs does a spider have?")];
    let first = answer(&mut context, &prompts, &GREEDY, 32);
    assert!(first[0].contains("Paris"), "{first:?}");
    assert!(first[1].contains("legs") && !first[1].contains("Paris"), "{first:?}");

    // The same batches give the same text.
    context.truncate(SequenceId(0), 0).unwrap();
    context.truncate(SequenceId(1), 0).unwrap();
    assert_eq!(answer(&mut context, &prompts, &GREEDY, 32), first);
}

#[test]
fn a_seed_repeats_its_draw_and_another_does_not() {
    let mut context = context(&options());
    let prompt = [question("Tell me a story about a dragon.")];
    let mut draw = |seed| {
        context.truncate(SequenceId(0), 0).unwrap();
        let sampling =
            Sampling::drawn(Draw { temperature: 1.5, top_k: 0, top_p: 1.0, ..Draw::seeded(seed) });
        answer(&mut context, &prompt, &sampling, 12)
    };
    let (first, again, other) = (draw(1), draw(1), draw(2));
    assert_eq!(first, again);
    assert_ne!(first, other);
    // To llama.cpp itself this seed means "any".
    assert_eq!(draw(u32::MAX), draw(u32::MAX));
    let cold = Sampling::drawn(Draw { temperature: 0.0, ..Draw::seeded(1) });
    assert!(matches!(context.sampler(&cold), Err(BackendError::Sampling { .. })));
}

#[test]
fn greedy_draws_what_llama_cpp_draws() {
    let mut context = context(&options());
    let prompt = question("Count to five.");
    let last = prompt.len() - 1;
    context.decode(&batch(&rows(0, 0, &prompt))).unwrap();
    let mut sampler = context.sampler(&GREEDY).unwrap();
    let ours = context.sample(last, &mut sampler).unwrap();
    assert_eq!(ours.0, context.sample_raw(last, &mut RawSampler::greedy()));
}

#[test]
fn a_truncated_sequence_goes_on_as_if_nothing_had_been() {
    let mut context = context(&options());
    let mut sampler = context.sampler(&GREEDY).unwrap();
    let prompt = question("What is the capital of France?");
    let (start, end) = prompt.split_at(prompt.len() - 4);
    let (len, sequence) = (start.len() as u32, SequenceId(1));
    context.decode(&batch(&rows(1, 0, start))).unwrap();
    context.decode(&batch(&rows(1, len, end))).unwrap();
    let first = context.sample(3, &mut sampler).unwrap();

    context.truncate(sequence, 99_999).unwrap();
    assert_eq!(context.sequence_len(sequence), prompt.len() as u32, "nothing lies behind the end");
    context.decode(&batch(&rows(1, len + 4, &tokens(" a wrong turn")))).unwrap();
    context.truncate(sequence, len).unwrap();
    assert_eq!(context.sequence_len(sequence), len);
    context.decode(&batch(&rows(1, len, end))).unwrap();
    assert_eq!(context.sample(3, &mut sampler).unwrap(), first);
}

/// Out of range, too many, with gaps: llama.cpp aborts, corrupts memory or says nothing.
#[test]
fn batches_that_make_no_sense_are_refused_and_change_nothing() {
    let small = ContextOptions { cells: Some(256), batch_rows: 8, ..options() };
    let mut context = context(&small);
    assert_eq!(context.limits().batch_rows, 8);
    let some = tokens("one two three four five six seven eight nine ten");
    context.decode(&batch(&rows(0, 0, &some[..4]))).unwrap();
    let word = &some[..1];
    for (bad, expected) in [
        (vec![], "no rows"),
        (rows(2, 0, word), "sequence 2 does not exist"),
        (rows(u32::MAX, 0, word), "does not exist"),
        (rows(1, 0, &some[..9]), "9 rows, this context takes 8"),
        (rows(0, 5, word), "position 5"),
        (rows(0, 3, word), "position 3"),
        (rows(1, 1, word), "position 1"),
        (rows(1, 0, &[Token(49_152)]), "outside the vocabulary"),
        (rows(1, 0, &[Token(-1)]), "outside the vocabulary"),
        (rows(0, u32::MAX, word), "position 4294967295"),
    ] {
        match context.decode(&batch(&bad)) {
            Err(DecodeError::BadBatch { reason }) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{expected}: {other:?}"),
        }
        let lens = [0, 1].map(|sequence| context.sequence_len(SequenceId(sequence)));
        assert_eq!(lens, [4, 0]);
    }
    let unknown = SequenceId(2);
    assert_eq!(context.sequence_len(unknown), 0);
    assert!(matches!(context.truncate(unknown, 0), Err(BackendError::UnknownSequence { .. })));
    context.decode(&batch(&rows(0, 4, word))).unwrap();
}

/// llama.cpp ends the process when asked for logits that are not there.
#[test]
fn rows_without_logits_are_refused() {
    let mut context = context(&options());
    let mut sampler = context.sampler(&GREEDY).unwrap();
    let mut refused = |context: &mut LlamaContext, row| {
        matches!(context.sample(row, &mut sampler), Err(BackendError::NoLogits { .. }))
    };
    assert!(refused(&mut context, 0), "before any batch");
    let some = tokens("one two three");
    let last = some.len() - 1;
    context.decode(&batch(&rows(0, 0, &some))).unwrap();
    assert!(refused(&mut context, 0), "it wanted none");
    assert!(refused(&mut context, last + 1) && refused(&mut context, usize::MAX));
    assert!(!refused(&mut context, last));
    context.decode(&batch(&rows(0, 0, &some))).unwrap_err();
    assert!(refused(&mut context, last), "after a refused batch");
}

#[test]
fn a_full_context_has_no_room_until_a_sequence_goes() {
    let small = ContextOptions { cells: Some(256), batch_rows: 512, ..options() };
    let mut context = context(&small);
    assert_eq!((context.limits().cells, context.limits().tokens_per_sequence), (256, 256));
    assert_eq!(context.limits().batch_rows, 256, "no more rows than cells");
    let many = vec![tokens(" a")[0]; 200];
    context.decode(&batch(&rows(0, 0, &many))).unwrap();
    let second = batch(&rows(1, 0, &many[..57]));
    assert_eq!(context.decode(&second), Err(DecodeError::NoRoom));
    assert!(matches!(
        context.sample(56, &mut context.sampler(&GREEDY).unwrap()),
        Err(BackendError::NoLogits { .. })
    ));
    let lens = [0, 1].map(|sequence| context.sequence_len(SequenceId(sequence)));
    assert_eq!(lens, [200, 0], "nothing was computed");
    context.decode(&batch(&rows(1, 0, &many[..56]))).unwrap();
    context.truncate(SequenceId(0), 0).unwrap();
    context.decode(&batch(&rows(1, 56, &many))).unwrap();
    assert_eq!(context.sequence_len(SequenceId(1)), 256);
    let full = context.decode(&batch(&rows(1, 256, &many[..1])));
    assert!(matches!(full, Err(DecodeError::BadBatch { .. })), "{full:?}");
}

/// With cells of its own a sequence cannot be crowded out, nor use what others leave.
#[test]
fn divided_cells_leave_each_sequence_its_own() {
    let divided = ContextOptions { cells: Some(512), layout: CellLayout::Divided, ..options() };
    let mut context = context(&divided);
    assert_eq!((context.limits().cells, context.limits().tokens_per_sequence), (512, 256));
    let many = vec![tokens(" a")[0]; 257];
    let crowded = context.decode(&batch(&rows(0, 0, &many)));
    assert!(matches!(crowded, Err(DecodeError::BadBatch { .. })), "{crowded:?}");
    let mut both = rows(0, 0, &many[..256]);
    both.extend(rows(1, 0, &many[..256]));
    context.decode(&batch(&both)).unwrap();
    let mut sampler = context.sampler(&GREEDY).unwrap();
    let drawn = [255, 511].map(|row| context.sample(row, &mut sampler).unwrap());
    assert_eq!(drawn[0], drawn[1], "the same prompt, each in its own cells");
    context.truncate(SequenceId(1), 0).unwrap();
    let lens = [0, 1].map(|sequence| context.sequence_len(SequenceId(sequence)));
    assert_eq!(lens, [256, 0]);
}

/// A batch of more rows than llama.cpp computes at once.
#[test]
fn a_large_batch_is_computed_in_parts() {
    let large = ContextOptions { cells: Some(1024), batch_rows: 1024, ..options() };
    let mut context = context(&large);
    let mut sampler = context.sampler(&GREEDY).unwrap();
    let many = vec![tokens(" a")[0]; 600];
    context.decode(&batch(&rows(0, 0, &many))).unwrap();
    let in_parts = context.sample(599, &mut sampler).unwrap();
    context.truncate(SequenceId(0), 0).unwrap();
    context.decode(&batch(&rows(0, 0, &many[..512]))).unwrap();
    context.decode(&batch(&rows(0, 512, &many[512..]))).unwrap();
    assert_eq!(context.sample(87, &mut sampler).unwrap(), in_parts);
}

/// Making two contexts of one model at once writes to the model without a lock inside llama.cpp.
#[test]
fn contexts_are_made_from_several_threads_and_outlive_their_handle() {
    let own = LlamaModel::load(model_path(), &ModelOptions { block_tokens: 16 }).unwrap();
    assert_eq!(own.spec().block_tokens(), 16);
    let makers: Vec<_> = (0..4)
        .map(|_| {
            let own = Arc::clone(&own);
            thread::spawn(move || own.context(&options()).unwrap())
        })
        .collect();
    drop(own);
    for maker in makers {
        let mut context = maker.join().unwrap();
        context.decode(&batch(&rows(0, 0, &tokens("still there")))).unwrap();
        assert!(context.model().spec().layers() == 30 && context.threads() == 1);
    }
}

/// Elsewhere the system does not tell how much memory is available.
#[cfg(target_os = "linux")]
#[test]
fn a_context_larger_than_memory_says_what_fits() {
    let options = ContextOptions { cells: Some(2_000_000_000), ..options() };
    match model().context(&options) {
        Err(LoadError::TooLarge { needed, available, fits, .. }) => {
            assert!(needed > available && fits > 0, "{needed} {available} {fits}");
        }
        other => panic!("46 TB were granted: {other:?}"),
    }
}

#[test]
fn options_are_checked_before_llama_cpp_sees_them() {
    let none = ContextOptions { sequences: 0, ..ContextOptions::default() };
    assert!(matches!(model().context(&none), Err(LoadError::Option { value: 0, .. })));
}

fn load(path: &std::path::Path) -> LoadError {
    LlamaModel::load(path, &ModelOptions::default()).expect_err("it is no model")
}

#[test]
fn half_a_download_is_found_before_llama_cpp_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.gguf");
    let whole = fs::read(model_path()).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = load(&path);
    let LoadError::File { problem: GgufError::Truncated { expected, found }, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((expected, found), (whole.len() as u64, whole.len() as u64 / 2));
}

/// A header of these text pairs and two numbers, without tensors.
fn header(architecture: &str, tokenizer: Option<&str>) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    let string = |file: &mut Vec<u8>, text: &str| {
        file.extend((text.len() as u64).to_le_bytes());
        file.extend(text.as_bytes());
    };
    file.extend(3_u32.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend((3 + u64::from(tokenizer.is_some())).to_le_bytes());
    let texts = [("general.architecture", Some(architecture)), ("tokenizer.ggml.model", tokenizer)];
    for (key, value) in texts {
        let Some(value) = value else { continue };
        string(&mut file, key);
        file.extend(8_u32.to_le_bytes());
        string(&mut file, value);
    }
    for key in ["block_count", "context_length"] {
        string(&mut file, &format!("{architecture}.{key}"));
        file.extend([4_u32, 16].map(u32::to_le_bytes).concat());
    }
    file
}

#[test]
fn files_that_are_no_language_model_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made-up.gguf");
    let refusal = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        load(&path)
    };
    let error = refusal(&header("bert", Some("bert")));
    assert!(matches!(error, LoadError::Unsupported { .. }), "{error}");
    for tokenizer in [None, Some("none"), Some("no_vocab")] {
        let error = refusal(&header("llama", tokenizer)).to_string();
        assert!(error.contains("tokenizer.ggml.model"), "{error}");
    }
    // Whole as far as the header goes; only llama.cpp can tell that it has no weights.
    let error = refusal(&header("llama", Some("gpt2")));
    let LoadError::Refused { reason, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("error loading model"), "{reason}");
    let error = refusal(&header("of-the-future", Some("gpt2"))).to_string();
    assert!(error.contains("unknown model architecture: 'of-the-future'"), "{error}");

    assert!(matches!(load(&folder.path().join("none.gguf")), LoadError::NotFound { .. }));
    assert!(matches!(load(folder.path()), LoadError::NotAFile { .. }));
    let zero = LlamaModel::load(model_path(), &ModelOptions { block_tokens: 0 });
    assert!(matches!(zero, Err(LoadError::Geometry { .. })));
}
