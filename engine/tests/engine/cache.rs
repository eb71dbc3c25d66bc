//! What agents keep on disk, through the engine: cases 24 to 27, and that no trouble with the disk harms a
//! request.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use latchless::{AgentId, ModelSpec};
use latchless_engine::backend::SequenceId;
use latchless_engine::backend::scripted::{Probe, ScriptedBuilder, ScriptedModel};
use latchless_engine::cache::CacheError;
use latchless_engine::{
    Answer, CacheConfig, Engine, EngineConfig, EngineError, Priority, Request, SwapError, Token,
};
use tempfile::TempDir;

use super::support::{ENOUGH, alone, assert_nothing_held, babble, stepped_with};

const GENERATED: u32 = 10;
/// The state of a script has 4 bytes a token; with its header a file of these tests is below this.
const FILE: u64 = 1_000;

fn config(folder: &TempDir) -> EngineConfig {
    with_budget(folder, 1 << 30)
}

fn with_budget(folder: &TempDir, budget: u64) -> EngineConfig {
    EngineConfig::default().cache(CacheConfig::new(folder.path(), budget))
}

fn start(folder: &TempDir, backend: ScriptedBuilder) -> (Engine, Probe) {
    start_with(config(folder), backend)
}

fn start_with(config: EngineConfig, backend: ScriptedBuilder) -> (Engine, Probe) {
    let backend = backend.build();
    let probe = backend.probe();
    (Engine::start(backend, config).unwrap(), probe)
}

fn ask(engine: &Engine, agent: &str, prompt: &str) -> Answer {
    let agent = engine.agent(agent).unwrap();
    let answer = engine.submit(agent, Request::text(prompt)).unwrap().wait();
    assert!(answer.completion.reason.is_success(), "{:?}", answer.completion);
    assert_eq!(answer.text, alone(babble(GENERATED).build(), Request::text(prompt)).text);
    answer
}

fn resumed(answer: &Answer) -> u32 {
    answer.completion.usage.resumed_tokens
}

fn prompt(of: &str) -> String {
    format!("{of} has a long story to tell, and this is how it begins")
}

/// The files of a cache's folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|end| end == "sequence")).collect()
}

fn names(engine: &Engine) -> String {
    let agents = engine.cache().unwrap().agents();
    agents.iter().map(AgentId::as_str).collect::<Vec<_>>().join(" ")
}

/// Another process goes on where this one ended: of the conversation so far nothing is computed.
#[test]
fn a_restart_computes_only_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, probe) = start(&folder, babble(GENERATED));
    let agent = engine.agent("planner").unwrap();
    let first = engine.model().tokenize(&prompt("the planner"), true).unwrap();
    let answer = engine.submit(agent, Request::tokens(first.clone())).unwrap().wait();
    assert_eq!((resumed(&answer), probe.loaded()), (0, 0));
    drop(engine);
    assert_eq!((files(folder.path()).len(), probe.saved()), (1, 1));

    let (engine, probe) = start(&folder, babble(GENERATED));
    let agent = engine.agent("planner").unwrap();
    let mut second = first;
    second.extend(&answer.tokens);
    let known = second.len() as u32;
    second.extend("And then?".bytes().map(|byte| Token(byte.into())));
    let answer = engine.submit(agent, Request::tokens(second.clone())).unwrap().wait();
    let usage = answer.completion.usage;
    assert_eq!((usage.resumed_tokens, usage.cached_tokens), (known, known));
    assert_eq!(probe.rows(), u64::from(usage.prompt_tokens - known + GENERATED));
    assert_eq!(answer.text, alone(babble(GENERATED).build(), Request::tokens(second)).text);
    assert_nothing_held(&engine);
    // What is in the context is not read again.
    let again = engine.submit(agent, Request::text(prompt("the planner"))).unwrap().wait();
    let usage = again.completion.usage;
    assert_eq!((usage.cached_tokens, usage.resumed_tokens), (usage.prompt_tokens - 1, 0));
    assert_eq!(probe.loaded(), 1);
}

/// A stepped lane: what is new is handed over when there is nothing to compute, once, and the last step of a
/// closed lane hands over what is left.
#[test]
fn a_turn_is_saved_once() {
    let folder = tempfile::tempdir().unwrap();
    let backend = babble(GENERATED).build();
    let probe = backend.probe();
    let (engine, mut lane, agent) = stepped_with(backend, config(&folder));
    let stream = engine.submit(agent, Request::text(prompt("it"))).unwrap();
    let mut saved = 0;
    for _ in 0..50 {
        let report = lane.step();
        assert!(report.saved == 0 || report.decode_rows == 0, "while it generates");
        saved += report.saved;
    }
    assert_eq!((saved, probe.saved()), (1, 1));
    let report = engine.flush_cache().unwrap();
    assert_eq!((report.saved, report.failed), (1, 0));
    drop(stream);
    // The same turn again ends with the same tokens: there is nothing new to save.
    let stream = engine.submit(agent, Request::text(prompt("it"))).unwrap();
    lane.run_until_idle(ENOUGH);
    assert_eq!(probe.saved(), 1);
    drop(stream);
    let agent = engine.agent("another").unwrap();
    let stream = engine.submit(agent, Request::text(prompt("another"))).unwrap();
    while lane.step().running > 0 {}
    engine.shutdown();
    assert!(lane.step().closed);
    drop((stream, lane, engine));
    assert_eq!((probe.saved(), files(folder.path()).len()), (2, 2));
}

/// While others generate all the time a state is copied out now and then.
#[test]
fn a_busy_lane_saves_now_and_then() {
    let folder = tempfile::tempdir().unwrap();
    let backend = babble(500).build();
    let (engine, mut lane, agent) = stepped_with(backend, config(&folder));
    let _long = engine.submit(agent, Request::text("for a long time").max_tokens(400)).unwrap();
    let mut streams = Vec::new();
    for index in 0..4 {
        let agent = engine.agent(&format!("agent {index}")).unwrap();
        let asked = Request::text(prompt(&index.to_string())).max_tokens(2);
        streams.push(engine.submit(agent, asked).unwrap());
    }
    let mut saves = Vec::new();
    for step in 0..200_u32 {
        if lane.step().saved > 0 {
            saves.push(step);
        }
    }
    assert_eq!(saves.len(), 4, "{saves:?}");
    assert!(saves.windows(2).all(|two| two[1] - two[0] >= 16), "{saves:?}");
}

/// More agents than sequences: who has to go is found on disk when it comes back.
#[test]
fn what_the_context_forgets_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, probe) = start(&folder, babble(GENERATED).sequences(2));
    let agents = ["a", "b", "c", "d"];
    for agent in agents {
        assert_eq!(resumed(&ask(&engine, agent, &prompt(agent))), 0);
    }
    engine.flush_cache();
    for agent in ["a", "b", "c", "d", "a"] {
        let answer = ask(&engine, agent, &prompt(agent));
        let usage = answer.completion.usage;
        assert_eq!(usage.resumed_tokens, usage.prompt_tokens - 1, "{agent}");
        engine.flush_cache();
    }
    assert_eq!((probe.loaded(), probe.saved()), (5, 4), "what came from disk is there");
    assert_nothing_held(&engine);
}

/// With no idle sequences each turn goes to disk and comes from there, whoever else is running.
#[test]
fn eight_threads_share_two_sequences_and_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder).idle_tokens(0);
    let (engine, probe) = start_with(config, babble(GENERATED).sequences(2));
    let hosts: Vec<_> = (0..8)
        .map(|host| {
            let engine = engine.clone();
            thread::spawn(move || {
                let name = format!("agent {host}");
                let mut from_disk = 0;
                for turn in 0..6 {
                    let answer = ask(&engine, &name, &format!("{} {turn}", prompt(&name)));
                    from_disk += u32::from(resumed(&answer) > 0);
                    engine.flush_cache();
                }
                from_disk
            })
        })
        .collect();
    let from_disk: u32 = hosts.into_iter().map(|host| host.join().unwrap()).sum();
    assert_eq!(from_disk, 8 * 5, "every turn but the first");
    assert_eq!(probe.loaded(), u64::from(from_disk));
    assert_nothing_held(&engine);
}

/// Case 24, through the engine: room for two files.
#[test]
fn the_least_recently_used_file_goes_and_a_pinned_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    // With nothing kept in the context a turn is handed over before its end is published.
    let config = with_budget(&folder, 2 * FILE).idle_tokens(0);
    let (engine, _) = start_with(config, babble(GENERATED).sequences(1));
    let turn = |agent| {
        let answer = ask(&engine, agent, &prompt(agent));
        engine.flush_cache();
        resumed(&answer) > 0
    };
    for agent in ["a", "b", "c"] {
        assert!(!turn(agent));
    }
    assert_eq!(names(&engine), "b c");
    assert!(turn("b"), "it is used");
    assert!(!turn("d"));
    assert_eq!(names(&engine), "b d");
    let pin = engine.cache().unwrap().pin(&AgentId::new("b").unwrap());
    assert!(!turn("e"));
    assert!(!turn("f"));
    assert_eq!(names(&engine), "b f");
    drop(pin);
    assert!(!turn("a"));
    assert!(engine.cache().unwrap().bytes() <= 2 * FILE);
    assert_eq!(names(&engine), "f a");
}

/// Case 25, through the engine: a new agent begins with what another one has on disk, the longest.
#[test]
fn a_new_agent_begins_with_another_one_s_file() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "the rules are these: be brief, be kind, and say what you know";
    let (engine, _) = start(&folder, babble(GENERATED));
    ask(&engine, "short", &rules[..30]);
    ask(&engine, "long", rules);
    drop(engine);
    let (engine, probe) = start(&folder, babble(GENERATED).divided());
    let answer = ask(&engine, "new", &format!("{rules}. Why?"));
    assert_eq!(resumed(&answer) as usize, 1 + rules.len(), "the start, and all rules");
    assert_eq!(resumed(&ask(&engine, "other", "nothing that anybody ever said")), 0);
    assert_eq!(probe.loaded(), 1);
}

/// Case 27, through the engine: whatever is wrong with the file, the request is computed and answered.
#[test]
fn a_damaged_file_is_a_cold_start() {
    let damages: [fn(&Path); 4] = [
        |path| fs::write(path, b"").unwrap(),
        |path| {
            let mut bytes = fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        },
        |path| fs::write(path, &fs::read(path).unwrap()[..200]).unwrap(),
        |path| fs::remove_file(path).unwrap(),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        // Damaged before the folder is opened, and while it is open.
        for open in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (engine, _) = start(&folder, babble(GENERATED));
            ask(&engine, "a", &prompt("a"));
            drop(engine);
            let opened = open.then(|| start(&folder, babble(GENERATED)));
            damage(&files(folder.path())[0]);
            let (engine, probe) = opened.unwrap_or_else(|| start(&folder, babble(GENERATED)));
            let usage = ask(&engine, "a", &prompt("a")).completion.usage;
            assert_eq!((usage.cached_tokens, probe.loaded()), (0, 0), "{number} {open}");
            assert_eq!(probe.rows(), u64::from(usage.prompt_tokens + GENERATED));
            drop(engine);
            // It was written anew.
            let (engine, _) = start(&folder, babble(GENERATED));
            assert!(resumed(&ask(&engine, "a", &prompt("a"))) > 0, "{number} {open}");
        }
    }
}

/// A context that can neither copy states out nor in, or has no room for one.
#[test]
fn a_state_that_cannot_be_copied_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let stuck = || (0..8).fold(babble(GENERATED), |b, s| b.fail_state(SequenceId(s)));
    let (engine, probe) = start(&folder, stuck());
    ask(&engine, "a", &prompt("a"));
    drop(engine);
    assert_eq!((files(folder.path()).len(), probe.saved()), (0, 0));
    let (engine, _) = start(&folder, babble(GENERATED));
    let tokens = ask(&engine, "a", &prompt("a")).completion.usage.prompt_tokens;
    drop(engine);

    // The second has fewer cells than the file has tokens, and room for the prompt.
    let small = babble(GENERATED).cells(tokens + 2).tokens_per_sequence(tokens + 1);
    let cut = (0..8).fold(babble(GENERATED), |b, s| b.fail_truncate(SequenceId(s)));
    for backend in [stuck(), small, cut] {
        let (engine, probe) = start_with(config(&folder).blocks(1_000), backend);
        let agent = engine.agent("a").unwrap();
        let asked = Request::text(prompt("a")).max_tokens(1);
        let answer = engine.submit(agent, asked).unwrap().wait();
        assert!(answer.completion.reason.is_success(), "{:?}", answer.completion);
        assert_eq!(answer.completion.usage.cached_tokens, 0);
        assert_eq!(probe.rows(), u64::from(tokens));
        assert_nothing_held(&engine);
    }
}

/// The disk fails: the folder is gone, or the budget is too small, or an agent's name is no file's.
#[test]
fn a_failing_disk_harms_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = start(&folder, babble(GENERATED).sequences(1));
    fs::remove_dir_all(folder.path()).unwrap();
    for agent in ["a", "b", "a"] {
        assert_eq!(resumed(&ask(&engine, agent, &prompt(agent))), 0);
        // What has not failed yet is found in memory.
        engine.flush_cache();
    }
    let report = engine.flush_cache().unwrap();
    assert!(report.saved == 0 && report.failed >= 2, "{report:?}");

    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = start_with(with_budget(&folder, 100), babble(GENERATED).sequences(1));
    for agent in ["a", "../../b", "a"] {
        assert_eq!(resumed(&ask(&engine, agent, &prompt(agent))), 0);
        engine.flush_cache();
    }
    let report = engine.flush_cache().unwrap();
    assert_eq!(report.saved, 0);
    assert!(files(folder.path()).is_empty());
}

/// A folder that cannot be used is told when the engine is made, not when it is needed.
#[test]
fn a_folder_that_cannot_be_used_is_told_early() {
    let folder = tempfile::tempdir().unwrap();
    let refused =
        |backend: ScriptedBuilder, config| Engine::start(backend.build(), config).unwrap_err();
    let error = refused(babble(1), with_budget(&folder, 0));
    assert!(error.to_string().contains("cache budget"), "{error}");
    let error = refused(babble(1).fail_tag(), config(&folder));
    assert!(matches!(error, EngineError::StateTag(_)), "{error}");
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = refused(babble(1), EngineConfig::default().cache(CacheConfig::new(&file, 1)));
    assert!(matches!(error, EngineError::Cache(CacheError::Io { .. })), "{error}");
    let _first = start(&folder, babble(1));
    let error = refused(babble(1), config(&folder));
    assert!(matches!(error, EngineError::Cache(CacheError::InUse { .. })), "{error}");
}

/// One state has been read, and as many as may be in memory are, when a more urgent request comes that is on
/// disk as well: the first one is admitted, and then there is room for the other's state.
#[test]
fn a_state_in_memory_does_not_wait_for_one_that_has_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, _) = start(&folder, babble(GENERATED));
    for agent in ["urgent", "patient"] {
        ask(&engine, agent, &prompt(agent));
    }
    drop(engine);
    for _ in 0..20 {
        let backend = babble(GENERATED).sequences(1).build();
        let (engine, mut lane, _) = stepped_with(backend, config(&folder));
        let submit = |agent: &str, priority| {
            let handle = engine.agent(agent).unwrap();
            engine.submit(handle, Request::text(prompt(agent)).priority(priority)).unwrap()
        };
        let patient = submit("patient", Priority::Low);
        lane.step();
        // Long enough, as a rule, for the state to be there in the next step.
        thread::sleep(Duration::from_millis(1));
        let urgent = submit("urgent", Priority::High);
        let begun = Instant::now();
        while !engine.pending().is_empty() {
            lane.step();
            assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", engine.pending());
        }
        for stream in [patient, urgent] {
            assert!(resumed(&stream.wait()) > 0);
        }
    }
}

/// What the model before leaves behind would only take the place of what its successor saves.
#[test]
fn a_replaced_model_saves_nothing_unless_its_successor_is_the_same() {
    let other = ScriptedModel::new().with_spec(ModelSpec::new(3, 1, 8, 16).unwrap());
    for (model, saved) in [(ScriptedModel::new(), 1), (other, 0)] {
        let folder = tempfile::tempdir().unwrap();
        let backend = babble(GENERATED).build();
        let probe = backend.probe();
        let (engine, mut lane, agent) = stepped_with(backend, config(&folder));
        let _stream = engine.submit(agent, Request::text(prompt("it"))).unwrap();
        while lane.step().running > 0 {}
        // Nothing was saved yet: the last step computed something.
        let new = babble(GENERATED).model(model).build();
        let (_, _lanes) = engine.swap_stepped([new]).unwrap();
        assert!(lane.step().closed);
        assert_eq!(probe.saved(), saved);
    }
}

/// Case 26, through the engine: after a swap to another model agents are computed again; after one to the
/// same model they go on from disk.
#[test]
fn a_swap_to_another_model_computes_agents_again() {
    let folder = tempfile::tempdir().unwrap();
    // With nothing kept in the context a turn is handed over before its end is published.
    let (engine, _) = start_with(config(&folder).idle_tokens(0), babble(GENERATED));
    ask(&engine, "a", &prompt("a"));
    let swap = |model: ScriptedModel| {
        let backend = babble(GENERATED).model(model).build();
        let probe = backend.probe();
        let old = engine.swap(|| Ok::<_, EngineError>([backend])).unwrap();
        old.wait(std::time::Duration::MAX).unwrap();
        engine.flush_cache();
        probe
    };
    let probe = swap(ScriptedModel::new());
    assert!(resumed(&ask(&engine, "a", &prompt("a"))) > 0, "the same model");
    assert_eq!(probe.loaded(), 1);

    let other = ScriptedModel::new().with_spec(ModelSpec::new(3, 1, 8, 16).unwrap());
    let probe = swap(other.clone());
    let usage = ask(&engine, "a", &prompt("a")).completion.usage;
    assert_eq!((usage.cached_tokens, probe.loaded()), (0, 0));
    engine.flush_cache();
    // The file is now the new model's.
    let probe = swap(ScriptedModel::new());
    assert_eq!(resumed(&ask(&engine, "a", &prompt("a"))), 0);
    assert_eq!(probe.loaded(), 0);

    // A swap that is refused leaves the folder to the model that serves on.
    let failing = babble(GENERATED).model(other).fail_tag().build();
    let refused = engine.swap(|| Ok::<_, EngineError>([failing]));
    assert!(matches!(refused, Err(SwapError::Engine(EngineError::StateTag(_)))));
    ask(&engine, "b", &prompt("b"));
    engine.flush_cache();
    assert_eq!(names(&engine), "a b");
}
