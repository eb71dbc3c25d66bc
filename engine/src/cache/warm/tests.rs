//! Files: whole, ours, under the budget, and found again.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use latchless::{KvBits, ModelSpec};
use tempfile::TempDir;

use super::*;
use crate::cache::{HotCache, IdProblem};

fn spec() -> ModelSpec {
    ModelSpec::new(4, 8, 128, 32).unwrap()
}

fn tag() -> ModelTag {
    ModelTag::new("b 1", "m", &spec(), 100)
}

fn open(folder: &TempDir, budget: u64) -> WarmCache {
    WarmCache::open(folder.path(), tag(), budget).unwrap()
}

fn id(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

fn tokens(ids: std::ops::Range<i32>) -> Vec<Token> {
    ids.map(Token).collect()
}

fn names(cache: &WarmCache) -> String {
    cache.agents().iter().map(AgentId::as_str).collect::<Vec<_>>().join(" ")
}

/// Bytes of a file with a state of 1,000 bytes and one token, for an id of one letter.
fn file_len() -> u64 {
    1_000 + Header::encode(&id("a"), &tag(), &tokens(0..1), &[]).len() as u64
}

fn save(cache: &WarmCache, name: &str) {
    cache.save(&id(name), &tokens(0..1), &[7; 1_000]).unwrap();
}

/// Case 24, on disk.
#[test]
fn room_for_three() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, 3 * file_len());
    for name in ["a", "b", "c", "d"] {
        save(&cache, name);
    }
    assert_eq!(names(&cache), "b c d");
    cache.load(&id("b")).unwrap();
    save(&cache, "e");
    assert_eq!(names(&cache), "d b e");
    let pin = cache.pin(&id("d"));
    save(&cache, "f");
    assert_eq!(names(&cache), "d e f");
    assert_eq!(pin.agent(), &id("d"));
    drop(pin);
    save(&cache, "g");
    assert_eq!(names(&cache), "e f g");
    assert_eq!(cache.bytes(), 3 * file_len());
    let on_disk = cache.inner.folder.contents().unwrap();
    assert_eq!((on_disk.finished.len(), on_disk.partial.len()), (3, 0));
    assert!(matches!(cache.load(&id("a")), Err(CacheError::Missing { .. })));
}

/// Case 24: room for two in memory, ten saved.
#[test]
fn what_is_no_longer_hot_is_warm() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, mut hot) = (open(&folder, 1 << 20), HotCache::new(2, u64::MAX));
    for number in 0..10 {
        let (agent, tokens) = (id(&number.to_string()), tokens(number..number + 3));
        cache.save(&agent, &tokens, &[number as u8; 100]).unwrap();
        hot.insert(agent, &tokens, 100, number).unwrap();
    }
    assert_eq!((hot.len(), cache.len()), (2, 10));
    assert_eq!(hot.agents().map(AgentId::as_str).collect::<String>(), "89");
    assert_eq!(hot.longest_prefix(&tokens(3..9)), None);
    let cold = cache.longest_prefix(&tokens(3..9)).unwrap();
    assert_eq!(cache.load(&cold.agent).unwrap().state, [3; 100]);
}

/// Case 25.
#[test]
fn only_what_was_found_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, 1 << 20);
    cache.save(&id("second"), &tokens(1..6), b"5").unwrap();
    cache.save(&id("first"), &tokens(1..4), b"3").unwrap();
    let found = cache.longest_prefix(&tokens(1..7)).unwrap();
    assert_eq!((found.agent, found.common, found.stored), (id("second"), 5, 5));
    assert_eq!(names(&cache), "first second");
    assert_eq!(cache.longest_prefix(&tokens(2..7)), None);
}

/// Case 27: a restart finds what was saved, in the order of use.
#[test]
fn a_restart_finds_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let long = "ü".repeat(128);
    let state: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
    {
        let cache = open(&folder, 1 << 20);
        cache.save(&id("Case"), &tokens(0..9), &state).unwrap();
        cache.save(&id("case"), &tokens(0..5), b"other").unwrap();
        cache.save(&id(&long), &[], b"").unwrap();
        cache.save(&id("gone"), &[], b"x").unwrap();
        assert!(cache.remove(&id("gone")).unwrap());
        assert!(!cache.remove(&id("gone")).unwrap());
        // The clock of a file may tick slowly: say when each was used.
        for (age, name) in [(3, "case"), (2, "Case"), (1, &long)] {
            let path = cache.inner.folder.file(&id(name)).unwrap();
            let used = SystemTime::now() - Duration::from_secs(60 * age);
            File::options().write(true).open(path).unwrap().set_modified(used).unwrap();
        }
        // Using it now makes it the youngest.
        cache.load(&id("Case")).unwrap();
    }
    let cache = open(&folder, 1 << 20);
    let report = cache.report();
    assert_eq!((report.usable, report.foreign, report.partial), (3, 0, 0));
    assert_eq!(names(&cache), format!("case {long} Case"));
    let found = cache.load(&id("Case")).unwrap();
    assert_eq!(found, SavedSequence { tokens: tokens(0..9), state });
    assert_eq!(cache.load(&id("case")).unwrap().state, b"other");
    assert_eq!(cache.longest_prefix(&tokens(0..7)).unwrap().agent, id("Case"));
}

#[test]
fn a_smaller_budget_lets_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, 1 << 20);
    for (age, name) in [(3, "a"), (2, "b"), (1, "c")] {
        save(&cache, name);
        let path = cache.inner.folder.file(&id(name)).unwrap();
        let used = SystemTime::now() - Duration::from_secs(60 * age);
        File::options().write(true).open(path).unwrap().set_modified(used).unwrap();
    }
    drop(cache);
    let cache = open(&folder, file_len());
    assert_eq!((cache.report().usable, cache.report().evicted), (1, 2));
    assert_eq!(names(&cache), "c");
}

/// Case 26: whatever field differs; the file stays for the model that it belongs to.
#[test]
fn the_states_of_other_models_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let quantised = spec().with_bits(KvBits::new(4, 64).unwrap()).unwrap();
    let other = ModelTag::new("b 1", "m", &quantised, 100);
    {
        let cache = WarmCache::open(folder.path(), other.clone(), 1 << 20).unwrap();
        cache.save(&id("a"), &tokens(0..3), b"4 bits").unwrap();
    }
    {
        let cache = open(&folder, 1 << 20);
        assert_eq!((cache.report().usable, cache.report().foreign), (0, 1));
        let error = cache.load(&id("a")).unwrap_err();
        assert!(error.to_string().contains("bits is 4, not 16; prefill"), "{error}");
        assert_eq!(cache.longest_prefix(&tokens(0..3)), None, "nothing that cannot be used");
        assert_eq!(names(&cache), "a", "it takes room");
    }
    let cache = WarmCache::open(folder.path(), other, 1 << 20).unwrap();
    assert_eq!(cache.load(&id("a")).unwrap().state, b"4 bits");
}

/// Two models see one folder: each finds its own, and an agent's file is of the one that saved last.
#[test]
fn two_models_share_a_folder_and_its_budget() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(&folder, 3 * file_len());
    save(&old, "a");
    save(&old, "b");
    let new = old.for_model(&ModelTag::new("b 1", "n", &spec(), 100));
    old.supersede();
    assert!(old.is_superseded() && !new.is_superseded());
    assert_eq!((old.peek(&tokens(0..1)).unwrap().common, new.peek(&tokens(0..1))), (1, None));
    let error = new.load(&id("a")).unwrap_err();
    assert!(error.to_string().contains("model is m, not n"), "{error}");
    save(&new, "a");
    assert_eq!(new.peek(&tokens(0..1)).unwrap().agent, id("a"));
    assert_eq!(old.peek(&tokens(0..1)).unwrap().agent, id("b"));
    assert!(new.has(&id("a"), &tokens(0..1)) && !new.has(&id("b"), &tokens(0..1)));
    assert!(!new.has(&id("a"), &tokens(0..2)));
    save(&new, "c");
    save(&new, "d");
    assert_eq!(names(&old), "a c d", "one budget: the oldest went, whosever it was");
    assert_eq!(old.peek(&tokens(0..1)), None);
    assert!(!old.for_model(old.tag()).is_superseded(), "it is back");
}

/// A file that somebody else removed is not looked for again.
#[test]
fn a_lost_file_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, 1 << 20);
    save(&cache, "a");
    fs::remove_file(cache.inner.folder.file(&id("a")).unwrap()).unwrap();
    assert!(matches!(cache.load(&id("a")), Err(CacheError::Missing { .. })));
    assert_eq!((cache.len(), cache.peek(&tokens(0..1))), (0, None));
}

type Damage = fn(&mut Vec<u8>);

/// Case 27: every way a file can be wrong is typed, and the agent starts cold.
#[test]
fn damaged_files_are_told_and_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, 1 << 20);
    let damages: [(Damage, &str); 6] = [
        (Vec::clear, "is cut off: 0 bytes"),
        (|file| file.truncate(30), "is cut off: 30 bytes"),
        (|file| file.truncate(file.len() - 1), "is cut off"),
        (|file| file.push(0), "has 1 bytes too many"),
        (|file| file[0] = 0, "is no stored sequence"),
        (|file| *file.last_mut().unwrap() ^= 1, "the checksum of its payload differs"),
    ];
    for (damage, expected) in damages {
        save(&cache, "a");
        let path = cache.inner.folder.file(&id("a")).unwrap();
        let mut file = fs::read(&path).unwrap();
        damage(&mut file);
        fs::write(&path, &file).unwrap();
        let error = cache.load(&id("a")).unwrap_err();
        assert!(matches!(error, CacheError::File { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!path.exists());
        assert!(matches!(cache.load(&id("a")), Err(CacheError::Missing { .. })));
        assert_eq!(cache.bytes(), 0);
    }
}

#[test]
fn what_a_crash_or_somebody_else_left_is_sorted_out_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let (path, newer) = {
        let cache = open(&folder, 1 << 20);
        for name in ["a", "b", "c", "d"] {
            save(&cache, name);
        }
        let path = |name| cache.inner.folder.file(&id(name)).unwrap();
        fs::write(path("a"), b"short").unwrap();
        let mut file = fs::read(path("b")).unwrap();
        file[50] ^= 1;
        fs::write(path("b"), file).unwrap();
        let mut newer = fs::read(path("c")).unwrap();
        newer[8] = 9;
        fs::write(path("c"), newer).unwrap();
        let renamed = folder.path().join(format!("{}.sequence", "0".repeat(32)));
        fs::rename(path("d"), renamed).unwrap();
        (path("a"), path("c"))
    };
    fs::write(path.with_extension("partial"), b"half").unwrap();
    let strangers = [folder.path().join("notes.txt"), folder.path().join("short.sequence")];
    for stranger in &strangers {
        fs::write(stranger, b"mine").unwrap();
    }

    let cache = open(&folder, 1 << 20);
    let report = cache.report();
    assert_eq!((report.usable, report.foreign, report.partial), (0, 1, 1));
    let mut problems: Vec<_> = report.damaged.iter().map(|(_, it)| it.to_string()).collect();
    problems.sort();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].starts_with("holds the sequence of agent d"), "{problems:?}");
    assert!(problems[1].contains("cut off") && problems[2].contains("header"), "{problems:?}");
    assert!(newer.exists() && strangers.iter().all(|stranger| stranger.exists()));
    assert!(!path.exists() && !path.with_extension("partial").exists());
}

/// Case 27: no id leads out of the folder.
#[test]
fn ids_that_could_lead_elsewhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, 1 << 20);
    for (name, expected) in [
        ("../a", IdProblem::Separator),
        ("a/b", IdProblem::Separator),
        ("a\\b", IdProblem::Separator),
        ("..", IdProblem::Parent),
        (".", IdProblem::Parent),
        ("a..b", IdProblem::Parent),
        ("a\0b", IdProblem::Control),
        ("a\n", IdProblem::Control),
    ] {
        let refused = |outcome: Result<(), CacheError>| match outcome {
            Err(CacheError::Id { id, problem }) => assert_eq!((&*id, problem), (name, expected)),
            other => panic!("{name:?}: {other:?}"),
        };
        refused(cache.save(&id(name), &[], b""));
        refused(cache.load(&id(name)).map(drop));
        refused(cache.remove(&id(name)).map(drop));
    }
    assert!(AgentId::new("x".repeat(257)).is_err());
    assert!(cache.is_empty());
}

#[test]
fn a_folder_has_one_cache() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder, 1);
    let refused = WarmCache::open(folder.path(), tag(), 1).unwrap_err();
    assert!(matches!(refused, CacheError::InUse { .. }), "{refused}");
    let clone = first.clone();
    drop(first);
    assert!(WarmCache::open(folder.path(), tag(), 1).is_err(), "a clone still has it");
    drop(clone);
    open(&folder, 1);
}

#[test]
fn what_does_not_fit_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, 2 * file_len());
    save(&cache, "a");
    save(&cache, "b");
    let error = cache.save(&id("c"), &[], &[0; 9_999]).unwrap_err();
    assert!(matches!(error, CacheError::NoRoom(_)), "{error}");
    let _pins = [cache.pin(&id("a")), cache.pin(&id("b"))];
    let error = cache.save(&id("c"), &[], b"").unwrap_err();
    let CacheError::NoRoom(full) = error else { panic!("{error}") };
    assert_eq!(full.pinned, 2 * file_len());
    assert_eq!(names(&cache), "a b");
    assert_eq!(cache.inner.folder.contents().unwrap().partial.len(), 0);
    save(&cache, "a");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = WarmCache::open(&file, tag(), 1).unwrap_err();
    assert!(matches!(error, CacheError::Io { .. }), "{error}");
    let cache = open(&folder, 1 << 20);
    save(&cache, "a");
    fs::remove_dir_all(folder.path()).unwrap();
    let error = cache.save(&id("b"), &[], b"").unwrap_err();
    assert!(matches!(error, CacheError::Io { doing: "writing", .. }), "{error}");
    assert!(matches!(cache.load(&id("a")), Err(CacheError::Missing { .. })));
}

/// Row 15: a save takes no memory for the state, a load takes it once.
#[test]
fn payload_memory_never_doubles() {
    const STATE: usize = 8 << 20;
    const SMALL: u64 = 64 << 10;
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, 1 << 30);
    let state = vec![3; STATE];
    let (agent, tokens) = (id("a"), tokens(0..1_000));
    for _ in 0..2 {
        let mut saved = Ok(());
        let peak = measure(|| saved = cache.save(&agent, &tokens, &state)).bytes_max;
        saved.unwrap();
        assert!(peak < SMALL, "{peak} bytes for a save");
    }
    let mut loaded = None;
    let peak = measure(|| loaded = cache.load(&agent).ok()).bytes_max;
    assert_eq!(loaded.unwrap().state.len(), STATE);
    assert!(peak < STATE as u64 + SMALL, "{peak} bytes for a load");

    // In memory: what was there goes before the new state is made.
    let mut hot = HotCache::new(1, STATE as u64);
    let peak = measure(|| {
        for agent in [&agent, &agent, &id("b"), &id("c")] {
            drop(hot.make_room(agent, STATE as u64));
            drop(hot.insert(agent.clone(), &tokens, STATE as u64, vec![1_u8; STATE]));
        }
    });
    assert_eq!(hot.len(), 1);
    assert!(peak.bytes_max < STATE as u64 + SMALL, "{} bytes", peak.bytes_max);
    assert!(peak.bytes_total > 4 * STATE as u64, "the counter sees the states");
}

/// Readers and writers of the same agents at once: every state that is read is one that was written.
#[test]
fn readers_never_see_half_a_file() {
    const SAVES: u32 = 300;
    let folder = tempfile::tempdir().unwrap();
    let cache = open(&folder, 2 * (20_000 + file_len()));
    let done = AtomicBool::new(false);
    let reads = thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0;
                    // At least one look after the last save, when something is there for sure.
                    let mut last = false;
                    while !last {
                        last = done.load(Ordering::Acquire);
                        for name in ["a", "b", "c"] {
                            match cache.load(&id(name)) {
                                Ok(SavedSequence { tokens, state }) => {
                                    let number = tokens[0].0 as u32;
                                    let len = 10_000 + number as usize * 30;
                                    assert_eq!(state, vec![number as u8; len]);
                                    reads += 1;
                                }
                                Err(CacheError::Missing { .. }) => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                    }
                    reads
                })
            })
            .collect();
        for number in 0..SAVES {
            let name = ["a", "b", "c"][number as usize % 3];
            let state = vec![number as u8; 10_000 + number as usize * 30];
            cache.save(&id(name), &[Token(number as i32)], &state).unwrap();
        }
        done.store(true, Ordering::Release);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u32>()
    });
    assert!(reads >= 4, "{reads} reads");
    assert_eq!(cache.len(), 2, "room for two of three");
    let on_disk: u64 = cache
        .inner
        .folder
        .contents()
        .unwrap()
        .finished
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!(on_disk, cache.bytes());
}
