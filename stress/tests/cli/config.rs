//! `run --config`: a file's options, with the command line above them.

use std::fs;
use std::path::Path;

use crate::run;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/long-mix.toml");

#[test]
fn the_example_runs_and_the_command_line_counts_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report");
    let path = path.to_str().unwrap();
    let short = ["--rounds", "1", "--only", "pool", "--freeze-time", "1ms", "--report", path];
    let (code, out, err) = run(&[&["run", "--config", EXAMPLE], &short[..]].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(Path::new(path).join("report.json")).unwrap()).unwrap();
    let plan = &report["plan"];
    assert_eq!((&plan["seed"], &plan["blocks"]), (&2026.into(), &4_096.into()));
    assert_eq!((&plan["duration"], &plan["rounds"]), (&"8h".into(), &1.into()));
    assert_eq!(plan["freezes"]["time"], "1ms", "the command line's");
    assert_eq!(plan["stall_after"], "2m", "the file's");
    assert_eq!(plan["rates"], serde_json::json!({"backend": 0.5, "spoil": 3.0}));
    let phases: Vec<_> =
        plan["phases"].as_array().unwrap().iter().filter_map(|p| p.as_str()).collect();
    assert_eq!((phases.len(), &phases[..2]), (7, &["calm=2m", "near-exhaustion=10m"][..]));

    // What the file said is in the report.
    let (code, out, _) = run(&["replay", path]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.starts_with("seed 2026\n"), "{out}");
}

#[test]
fn a_file_that_is_wrong_ends_with_2_and_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mix.toml");
    let path = file.to_str().unwrap();
    fs::write(&file, "seed = 1\nthread = 4\n").unwrap();
    let (code, out, err) = run(&["run", "--config", path]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(
        err.contains("mix.toml, line 2: there is no `thread`") && err.contains("threads"),
        "{err}"
    );
    let (code, _, err) = run(&["run", "--config", "/no/such/mix.toml"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("stress/examples/long-mix.toml"), "{err}");
}
