//! A flow that is killed goes on where it was; `cargo xtask test --crash` kills more.

use latchless_engine::runtime::crash;
use latchless_engine::store::PlanId;

use crate::support;

const KILLS: u32 = 10;

/// The child: agents do plan after plan until it is killed.
#[test]
fn flowing_child() {
    let Some(path) = support::work() else { return };
    crash::work(&path, 4, |(plan, key)| support::acknowledge(format!("{plan} {key}"))).unwrap();
}

#[test]
fn a_kill_in_the_middle_of_turns_loses_nothing_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agents.db");
    let command = || support::command("flow::flowing_child", &path);
    let finished = |line: &str| {
        let (plan, key) = support::acknowledged(line)?.split_once(' ')?;
        Some((PlanId(plan.parse().ok()?), key.to_owned()))
    };
    let report = crash::torment(&path, KILLS, 36, command, finished).unwrap();
    println!("{report:?}");
    assert_eq!(report.kills, KILLS);
    assert!(report.in_the_middle > KILLS / 4, "{report:?}");
    assert!(report.completed > u64::from(KILLS), "{report:?}");
}
