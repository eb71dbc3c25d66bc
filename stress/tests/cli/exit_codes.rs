//! The binary's exit codes and what it prints first: scripts rely on both.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::{ended, run, stress};

#[test]
fn a_run_that_holds_ends_with_0_and_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let args = ["run", "--rounds", "1", "--seed", "7", "--threads", "4", "--report"];
    let args: Vec<_> = args.into_iter().chain(report.to_str()).collect();
    let (code, out, err) = run(&args);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out.lines().next(), Some("seed 7"));
    assert!(out.contains("held: "), "{out}");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(report.join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["outcome"], &report["seed"]), (&"held".into(), &7.into()));
    let parts = report["parts"].as_array().unwrap();
    let names: Vec<_> = parts.iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["pool", "agents", "engine", "store"]);
    for part in parts {
        let actions = part["actions"].as_object().unwrap();
        let sum: u64 = actions.values().filter_map(serde_json::Value::as_u64).sum();
        assert_eq!((&part["rounds"], &part["operations"]), (&1.into(), &sum.into()), "{part}");
    }
    let page = std::fs::read_to_string(folder.path().join("report/report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    // Operations; one, five, three and four times; four fills; memory, descriptors, freezes.
    assert_eq!(page.matches("<svg ").count(), 21);
    assert!(!page.contains("http://") || page.contains("http://www.w3.org/2000/svg"));
    let others = std::fs::read_dir(folder.path().join("report")).unwrap().count();
    assert_eq!(others, 2, "nothing else is left");
}

#[test]
fn a_planted_fault_ends_with_1_and_tells_how_to_repeat_it() {
    let plants = [("double", "pool"), ("leak", "pool"), ("stolen", "agents")];
    let of_the_store = ["lost", "twice", "torn", "dropped"].map(|plant| (plant, "store"));
    for (plant, part) in plants.into_iter().chain(of_the_store) {
        let (code, out, _) =
            run(&["run", "--rounds", "1", "--seed", "3", "--threads", "4", "--plant", plant]);
        assert_eq!(code, Some(1), "{out}");
        assert!(out.contains("BROKEN: "), "{out}");
        let repeat = "-- run --seed 3 --threads 4 --blocks 8192 --first-round 0 --rounds 1 --only ";
        assert!(out.contains(&format!("{repeat}{part} --plant {plant}")), "{out}");
    }
}

#[test]
fn a_run_that_stalls_ends_with_1_although_its_threads_never_end() {
    let (code, out, _) = run(&[
        "run",
        "--duration",
        "1h",
        "--seed",
        "3",
        "--plant",
        "stall",
        "--stall-after",
        "100ms",
    ]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("BROKEN: the thread has ended no operation for 100ms"), "{out}");
}

#[test]
fn a_run_whose_memory_grows_ends_with_1() {
    let args = ["run", "--only", "agents", "--seed", "3", "--threads", "4", "--duration", "6s"];
    let swells = ["--judge-after", "4s", "--plant", "swell"];
    let (code, out, _) = run(&[&args[..], &swells].concat());
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("BROKEN: memory, in bytes, grows: +"), "{out}");
}

#[test]
fn bad_arguments_end_with_2_and_say_what_to_do() {
    for (args, advice) in [
        (&["run", "--duration", "soon"][..], "write 500ms, 90s, 5m or 8h"),
        (&["run", "--duration", "0s"], "give at least 1ms"),
        (&["run", "--blocks", "0"], "1..=16777216"),
        (&["run", "--only", "lunch"], "possible values: pool"),
        (&["run", "--report", "/no/such/folder/report"], "choose another --report"),
        (
            &["run", "--chaos", "--rate", "lunch=1"],
            "there is no fault `lunch`; write one of panic, ",
        ),
        (
            &["run", "--rate", "kill=3"],
            "--rate kill=3: this fault comes only with --faults or --chaos",
        ),
        (&["run", "--freeze", "1e-30"], "from 0.001 to 1000, such as 5 or 0.2, or 0 for none"),
        (
            &["run", "--freeze", "1", "--freeze-time", "2s", "--stall-after", "2s"],
            "lower --freeze-time (freezes, time), or raise --stall-after",
        ),
        (
            &["run", "--only", "store", "--first-round", "400000000000000000"],
            "0..72057594037927936",
        ),
        (&["run", "--overwrite"], "--report <FOLDER>"),
        (&["run", "--frobnicate"], "--help"),
        (&["replay", "/no/such/report.json"], "name the report.json"),
        (&["lunch"], "--help"),
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains(advice), "{err}");
    }
}

#[test]
fn a_run_in_which_nobody_had_a_block_ends_with_2() {
    let (code, out, _) = run(&["run", "--rounds", "1", "--threads", "4", "--blocks", "3"]);
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("idle: ") && out.contains("more --blocks"), "{out}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_3_and_the_report() {
    let mut child = stress(&["run", "--duration", "1h", "--seed", "5", "--threads", "4"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The signal is caught from the first line on.
    assert_eq!(lines.next().as_deref(), Some("seed 5"));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("interrupted: ")), "{rest:?}");
}

#[test]
fn a_report_is_not_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("report.json"), "last night's").unwrap();
    let path = folder.path().to_str().unwrap();
    let args = ["run", "--rounds", "1", "--only", "pool", "--threads", "2", "--report", path];
    let (code, out, err) = run(&args);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("holds a report") && err.contains("--overwrite"), "{err}");
    let left = std::fs::read_to_string(folder.path().join("report.json")).unwrap();
    assert_eq!(left, "last night's");
    let (code, out, err) = run(&[&args[..], &["--overwrite"]].concat());
    assert_eq!(code, Some(0), "{out}{err}");
    assert_ne!(std::fs::read_to_string(folder.path().join("report.json")).unwrap(), left);
}

/// Stacks of a quarter of a GiB, in two GiB for all: the sixth thread or so is refused, and room is left for what
/// else there is to do.
#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_threads_ends_with_4_and_says_what_to_do() {
    let limited = |args: &[&str]| {
        let script = "ulimit -v 2097152; exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_latchless-stress")]).args(args);
        ended(command.env("RUST_MIN_STACK", "268435456").env("MALLOC_ARENA_MAX", "1"))
    };
    let run = ["run", "--duration", "1h", "--seed", "3", "--only", "pool", "--blocks", "256"];
    for args in [&run[..], &["compare", "--duration", "1h", "--seed", "3", "--blocks", "256"]] {
        let (code, out, err) = limited(&[args, &["--threads", "32"]].concat());
        assert_eq!(code, Some(4), "{out}{err}");
        assert!(out.contains("FAILED: the system gives no further thread"), "{out}{err}");
        assert!(out.contains("take fewer --threads") && out.contains("ulimit"), "{out}");
        assert!(out.contains("repeat: "), "the rest of the summary is told, too: {out}");
    }
}

/// Files may have 2 KiB, which the folder's trial stays below and the report does not.
#[cfg(unix)]
#[test]
fn a_report_that_finds_no_room_ends_with_4_and_leaves_the_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let args = ["run", "--rounds", "1", "--only", "pool", "--threads", "2", "--report", path];
    let limited = |limit: &str, args: &[&str]| {
        let script = format!("ulimit -f {limit}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_latchless-stress")]).args(args);
        ended(&mut command)
    };
    std::fs::write(folder.path().join("report.json"), "earlier").unwrap();
    let overwrite = [&args[..], &["--overwrite"]].concat();
    let (code, out, err) = limited("4", &overwrite);
    assert_eq!(code, Some(4), "{out}{err}");
    assert!(out.contains("held: "), "the run's result is told at all events: {out}");
    assert!(err.contains("the report was not written; make room"), "{err}");
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(files.len(), 1, "nothing half is left: {files:?}");
    assert_eq!(std::fs::read_to_string(files[0].path()).unwrap(), "earlier");
    // No room at all is seen before anything is run.
    let (code, out, err) = limited("0", &overwrite);
    assert_eq!((code, out.as_str()), (Some(4), ""), "{err}");
    // What broke is worth more than that it was not written down.
    let planted = [&overwrite[..], &["--plant", "double"]].concat();
    let (code, out, err) = limited("4", &planted);
    assert_eq!(code, Some(1), "{out}{err}");
}
