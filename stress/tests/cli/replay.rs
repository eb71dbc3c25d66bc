//! A failure is found again: by its report, and by the command that it prints.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::run;

fn report(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap()
}

/// Where it broke.
fn place(report: &Value) -> (Value, Value) {
    (report["violation"]["part"].clone(), report["violation"]["round"].clone())
}

#[test]
fn a_planted_defect_is_found_again_by_its_report_and_by_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let [night, again] = ["night", "again"].map(|name| folder.path().join(name));
    let [night_arg, again_arg] = [&night, &again].map(|path| path.to_str().unwrap());
    let (code, out, _) = run(&[
        "run",
        "--duration",
        "1h",
        "--seed",
        "3",
        "--threads",
        "4",
        "--first-round",
        "2",
        "--freeze",
        "3",
        "--rate",
        "die=2,cancel=0",
        "--plant",
        "stolen",
        "--report",
        night_arg,
    ]);
    assert_eq!(code, Some(1), "{out}");
    let found = report(&night);
    assert_eq!(found["violation"]["part"], "agents");

    let (code, out, _) = run(&["replay", night_arg, "--report", again_arg]);
    assert_eq!(code, Some(1), "{out}");
    let replayed = report(&again);
    assert_eq!(place(&replayed), place(&found));
    let (one, other) = (&replayed["plan"], &found["plan"]);
    for same in ["seed", "threads", "blocks", "freezes", "faults", "rates", "plant"] {
        assert_eq!(one[same], other[same], "{same}");
    }
    assert_eq!((&one["rounds"], &one["parts"]), (&1.into(), &serde_json::json!(["agents"])));

    // A replay's report is replayed as well, and the whole of the first run too.
    let file = again.join("report.json");
    assert_eq!(run(&["replay", file.to_str().unwrap()]).0, Some(1));
    let (code, out, _) = run(&["replay", night_arg, "--whole", "--times", "3"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("replay 1 of 3") && !out.contains("replay 2 of 3"), "{out}");

    let repeat = found["repeat"].as_str().unwrap();
    assert!(out.contains(" --plant stolen"), "{out}");
    let words: Vec<_> = repeat.split(" -- ").nth(1).unwrap().split(' ').collect();
    let (code, out, _) = run(&words);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("BROKEN: ") && out.contains(repeat), "{out}");
}

#[test]
fn a_run_that_held_is_repeated_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let args = ["--rounds", "2", "--only", "pool", "--threads", "2", "--blocks", "100"];
    let (code, out, _) = run(&[&["run", "--report", path, "--seed", "9"], &args[..]].concat());
    assert_eq!(code, Some(0), "{out}");
    let (code, out, _) = run(&["replay", path]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.starts_with("seed 9\n") && out.contains("in 2 rounds"), "{out}");
}

#[test]
fn what_is_no_report_of_this_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let path = file.to_str().unwrap();
    let good = {
        let report = folder.path().join("good");
        let args = ["run", "--rounds", "1", "--only", "pool", "--threads", "2", "--report"];
        let args: Vec<_> = args.into_iter().chain(report.to_str()).collect();
        assert_eq!(run(&args).0, Some(0));
        fs::read_to_string(report.join("report.json")).unwrap()
    };
    let later = good.replacen("\"format\": 3", "\"format\": 9999", 1);
    assert_ne!(later, good);
    let other_option = good.replacen("\"faults\": false", "\"moods\": false", 1);
    assert_ne!(other_option, good);
    for (content, advice) in [
        (later.as_str(), "repeat it with the sources that wrote it"),
        (&good[..good.len() / 2], "is damaged: line "),
        (&other_option, "unknown field `moods`"),
        ("", "is damaged: line 1"),
        ("{\"version\": 3}", "is no report of a run"),
        ("{\"program\": \"make\", \"format\": 1, \"version\": \"1\"}", "is no report of a run"),
    ] {
        fs::write(&file, content).unwrap();
        let (code, out, err) = run(&["replay", path]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains(advice) && err.contains(path), "{advice}: {err}");
    }
    fs::write(&file, [0xff, 0xfe, 0]).unwrap();
    let (code, _, err) = run(&["replay", path]);
    assert_eq!(code, Some(2));
    assert!(err.contains("is no report of a run"), "{err}");
}

#[test]
fn a_report_whose_plan_cannot_be_run_is_refused_by_the_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let args = ["run", "--rounds", "1", "--only", "pool", "--threads", "2", "--report", path];
    assert_eq!(run(&args).0, Some(0));
    let good = report(folder.path());
    let file = folder.path().join("report.json");
    let freezes = |rate: f64, time: &str| serde_json::json!({"per_second": rate, "time": time});
    for (field, value, advice) in [
        (
            "parts",
            Value::Array(Vec::new()),
            "parts: there is none; name one or more of pool, agents",
        ),
        ("threads", 0.into(), "threads: 0; give 1 to 1024"),
        ("threads", 65_535.into(), "threads: 65535; give 1 to 1024"),
        ("blocks", 0.into(), "blocks: 0; give 1 to 16777216"),
        (
            "first_round",
            400_000_000_000_000_000_u64.into(),
            "first_round: 400000000000000000; give 0",
        ),
        ("rounds", 0.into(), "rounds: 0; give 1 or more"),
        ("stall_after", "0s".into(), "stall_after: no time at all"),
        ("freezes", freezes(0.0, "1s"), "freezes, per_second: 0; give 0.001 to 1000"),
        ("freezes", freezes(-2.0, "1s"), "freezes, per_second: -2; give 0.001 to 1000"),
        ("freezes", freezes(2.0, "1m"), "raise --stall-after"),
    ] {
        let mut changed = good.clone();
        changed["plan"][field] = value;
        fs::write(&file, changed.to_string()).unwrap();
        let (code, out, err) = run(&["replay", path]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{field}: {err}");
        assert!(err.contains(advice) && err.contains(path), "{advice}: {err}");
    }
    // The round that broke is of the file as well.
    let mut changed = good;
    changed["violation"] = serde_json::json!({"part": "store", "round": u64::MAX});
    fs::write(&file, changed.to_string()).unwrap();
    let (code, _, err) = run(&["replay", path]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("first_round: 18446744073709551615; give 0 to"), "{err}");
}
