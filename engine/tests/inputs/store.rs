//! Tasks, names, outputs and documents: stored as they are, or refused for something that is true of them.

use fastrand::Rng;
use latchless_engine::store::StoreError;

use self::inputs::Inputs;
use crate::{corpus, mutate};

#[path = "../../fuzz/inputs/store.rs"]
mod inputs;

#[test]
fn the_corpus_is_stored_or_refused_as_its_names_say() {
    let mut inputs = Inputs::new();
    let results: Vec<_> = corpus("store")
        .iter()
        .map(|(name, input)| {
            let result = match inputs.check(input) {
                Ok(()) => "stored".to_owned(),
                Err(StoreError::Name { what, problem, .. }) => format!("{what} {problem}"),
                Err(StoreError::DuplicateTask { .. }) => "twice".to_owned(),
                Err(StoreError::UnknownDependency { .. }) => "unknown".to_owned(),
                Err(StoreError::Circular { cycle }) => cycle.join(" "),
                Err(error) => panic!("{name}: {error}"),
            };
            format!("{name}: {result}")
        })
        .collect();
    assert_eq!(
        results,
        [
            "document: stored",
            "document-binary: stored",
            "document-empty: stored",
            "document-key-100: stored",
            "document-key-101: document is longer than 100 characters",
            "document-key-backslash: document contains a path separator",
            "document-key-dot: document could name a parent folder",
            "document-key-nul: document contains a control character",
            "document-key-parent: document could name a parent folder",
            "document-key-slash: document contains a path separator",
            "document-no-agent: agent is empty",
            "document-sql: stored",
            "empty: task is empty",
            "output: stored",
            "output-no-agent: agent contains a control character",
            "task: stored",
            "task-no-key: task is empty",
            "task-type-parent: agent type could name a parent folder",
            "tasks-chain: stored",
            "tasks-circle: b c b",
            "tasks-itself: me me",
            "tasks-twice: twice",
            "tasks-unknown: unknown",
        ]
    );
}

#[test]
fn no_mutation_of_the_corpus_is_stored_as_something_else() {
    let corpus = corpus("store");
    let mut inputs = Inputs::new();
    let mut random = Rng::with_seed(1);
    let (mut stored, mut refused) = (0, 0);
    for _ in 0..200 {
        for (_, original) in &corpus {
            let mut input = original.clone();
            mutate(&mut input, &corpus, &mut random);
            match inputs.check(&input) {
                Ok(()) => stored += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(stored > 500 && refused > 500, "{stored} stored, {refused} refused");
}
