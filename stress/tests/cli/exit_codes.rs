//! The binary's exit codes and what it prints first: scripts rely on both.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

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
    // Operations; one, five, three and four times; four fills; three of faults; memory, descriptors, freezes.
    assert_eq!(page.matches("<svg ").count(), 24);
    assert!(page.contains("its p99, p99.9 and longest are the worst of them"));
    // It is read without a network.
    assert!(!page.replace("http://www.w3.org/2000/svg", "").contains("http"));
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
    let temporary = tempfile::tempdir().unwrap();
    let args = ["run", "--duration", "1h", "--seed", "3", "--plant", "stall"];
    let mut command = stress(&[&args[..], &["--stall-after", "100ms"]].concat());
    let (code, out, _) = ended(command.env("TMPDIR", temporary.path()));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("BROKEN: a thread has ended no operation for 100ms"), "{out}");
    let left = std::fs::read_dir(temporary.path()).unwrap().count();
    assert_eq!(left, 0, "no temporary folder is left");
}

#[test]
fn a_run_whose_memory_grows_ends_with_1() {
    let args = ["run", "--only", "agents", "--seed", "3", "--threads", "4", "--duration", "6s"];
    let swells = ["--judge-after", "4s", "--plant", "swell"];
    let (code, out, _) = run(&[&args[..], &swells].concat());
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("BROKEN: memory in use grows: +"), "{out}");
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

/// A run that goes on, and is killed when this is dropped: also when an assertion fails.
#[cfg(unix)]
struct Going {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

#[cfg(unix)]
impl Going {
    /// Begins a run of an hour, and waits until it catches signals, which it does from its first line on.
    fn begin(args: &[&str], temporary: &Path) -> Self {
        Self::begin_as(stress(&[]), args, temporary)
    }

    fn begin_as(mut command: Command, args: &[&str], temporary: &Path) -> Self {
        command.args(["run", "--duration", "1h", "--seed", "5", "--threads", "4"]).args(args);
        command.env("TMPDIR", temporary).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut going = Self { child, lines };
        assert_eq!(going.lines.next().unwrap().unwrap(), "seed 5");
        going
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Its exit code, and what it said.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let rest = self.lines.by_ref().map(Result::unwrap).collect();
        (self.child.wait().unwrap().code(), rest)
    }
}

#[cfg(unix)]
impl Drop for Going {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_3_and_the_report() {
    // Of a terminal that goes, the system and the shell tell: twice is as good as once.
    for signals in [&["-INT"][..], &["-TERM"], &["-HUP", "-HUP"]] {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report");
        let going = Going::begin(&["--report", report.to_str().unwrap()], folder.path());
        for signal in signals {
            going.signal(signal);
        }
        let (code, rest) = going.end();
        assert_eq!(code, Some(3), "{signals:?}: {rest:?}");
        assert!(rest.iter().any(|line| line.starts_with("interrupted: ")), "{rest:?}");
        let json = std::fs::read(report.join("report.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["outcome"], "interrupted");
        assert!(report.join("report.html").exists());
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing but the report is left");
    }
}

#[cfg(unix)]
#[test]
fn what_a_terminal_sends_to_the_whole_group_breaks_nothing() {
    use std::os::unix::process::CommandExt;

    for signal in ["-INT", "-TERM", "-HUP"] {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = stress(&[]);
        command.process_group(0);
        let going = Going::begin_as(command, &["--only", "store", "--faults"], temporary.path());
        // Until there are processes that own stores, one after another.
        std::thread::sleep(std::time::Duration::from_millis(700));
        let group = format!("-{}", going.child.id());
        let sent = Command::new("kill").args([signal, "--", &group]).status();
        assert!(sent.unwrap().success());
        let (code, rest) = going.end();
        assert_eq!(code, Some(3), "{signal}: {rest:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_was_begun_with_nohup_goes_on_when_the_terminal_goes() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    let script = "trap '' HUP; exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_latchless-stress")]).stdin(Stdio::null());
    let mut going = Going::begin_as(command, &["--only", "pool"], temporary.path());
    going.signal("-HUP");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(going.child.try_wait().unwrap(), None, "it goes on");
    going.signal("-INT");
    assert_eq!(going.end().0, Some(3));
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_ends_at_once_and_leaves_no_folder() {
    let temporary = tempfile::tempdir().unwrap();
    // Its threads never end.
    let going =
        Going::begin(&["--plant", "stall", "--only", "pool", "--only", "engine"], temporary.path());
    let folders = || std::fs::read_dir(temporary.path()).unwrap().count();
    while folders() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    going.signal("-INT");
    // Two at once would be one.
    std::thread::sleep(std::time::Duration::from_millis(200));
    going.signal("-INT");
    let (code, rest) = going.end();
    assert_eq!(code, Some(3), "{rest:?}");
    assert_eq!(folders(), 0);
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

/// Each of these limits is met somewhere else: by the parent, by the child before it works, by the child at work, or
/// by nobody.
#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_descriptors_ends_with_4_and_breaks_nothing() {
    let mut codes = Vec::new();
    for limit in 6..20 {
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_latchless-stress")]);
        command.args(["run", "--rounds", "1", "--seed", "3", "--only", "store"]);
        let (code, out, err) = ended(&mut command);
        assert!(matches!(code, Some(0 | 4)), "{limit}: {code:?} {out}{err}");
        codes.push(code);
    }
    assert!(codes.contains(&Some(0)) && codes.contains(&Some(4)), "{codes:?}");
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
