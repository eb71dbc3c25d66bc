//! Case 27: killed in the middle of a save, the previous file is whole.

use std::path::Path;
use std::time::Duration;

use latchless::{AgentId, ModelSpec};
use latchless_engine::Token;
use latchless_engine::cache::{CacheError, ModelTag, WarmCache};

use crate::support::{self, Victim};

const ROUNDS: usize = 40;
const AGENTS: [&str; 2] = ["a", "b"];

fn open(folder: &Path) -> WarmCache {
    let tag = ModelTag::new("b 1", "m", &ModelSpec::new(1, 1, 1, 1).unwrap(), 9);
    WarmCache::open(folder, tag, 1 << 30).expect("a killed process holds no lock")
}

/// The state of a version, so that any mixture of two shows.
fn state(version: i32) -> Vec<u8> {
    let len = 400_000 + (version as usize % 7) * 100_000;
    (0..len).map(|at| (at as u32).wrapping_mul(31).wrapping_add(version as u32) as u8).collect()
}

fn version(cache: &WarmCache, agent: &AgentId) -> Option<i32> {
    match cache.load(agent) {
        Ok(found) => {
            let version = found.tokens[0].0;
            assert!(found.state == state(version), "version {version} is not what was saved");
            Some(version)
        }
        Err(CacheError::Missing { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The child: saves version after version until it is killed.
#[test]
fn saving_child() {
    let Some(folder) = support::work() else { return };
    let cache = open(&folder);
    let first = AGENTS.iter().filter_map(|name| version(&cache, &AgentId::new(name).unwrap()));
    let first = first.max().unwrap_or(0) + 1;
    for version in first..first + 100_000 {
        let agent = AgentId::new(AGENTS[version as usize % 2]).unwrap();
        cache.save(&agent, &[Token(version)], &state(version)).unwrap();
        support::acknowledge(version);
    }
}

#[test]
fn a_kill_in_the_middle_of_a_save_leaves_the_previous_file_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(27);
    let (mut newest, mut in_the_middle) = ([0; 2], 0);
    for round in 0..ROUNDS {
        let victim = Victim::start("cache::saving_child", folder.path());
        let longer = Duration::from_micros(random.u64(0..4_000));
        for version in victim.kill_after(random.usize(1..4), longer) {
            let version: i32 = version.parse().unwrap();
            newest[version as usize % 2] = version;
        }
        let cache = open(folder.path());
        let report = cache.report();
        assert!(report.damaged.is_empty(), "round {round}: {report:?}");
        in_the_middle += report.partial;
        let acknowledged = newest.into_iter().max().unwrap();
        for (newest, name) in newest.iter_mut().zip(AGENTS) {
            let found = version(&cache, &AgentId::new(name).unwrap()).unwrap_or(0);
            // The save after the last acknowledged one may have come through.
            assert!((*newest..=acknowledged + 1).contains(&found), "round {round}: {found}");
            *newest = found;
        }
    }
    assert!(in_the_middle > 0, "no kill came in the middle of a save");
    println!("{in_the_middle} of {ROUNDS} kills came in the middle of a save");
}
