//! Nothing that was acknowledged is lost, doubled or unreadable; `cargo xtask test --crash` kills more.

use latchless_engine::store::crash;

use crate::support;

const KILLS: u32 = 20;

/// The child: claims, records and completes until it is killed.
#[test]
fn working_child() {
    let Some(path) = support::work() else { return };
    crash::work(&path, 4, support::acknowledge).unwrap();
}

#[test]
fn a_kill_loses_nothing_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agents.db");
    let command = || support::command("store::working_child", &path);
    let acknowledged = |line: &str| support::acknowledged(line)?.parse().ok();
    let report = crash::torment(&path, KILLS, 7, command, acknowledged).unwrap();
    println!("{report:?}");
    assert_eq!(report.kills, KILLS);
    assert!(report.in_the_middle > KILLS / 4, "{report:?}");
    assert!(report.completed > u64::from(KILLS), "{report:?}");
}
