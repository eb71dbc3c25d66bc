//! Children that are killed at random instants.

use std::env;
use std::hint;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Tells a child what to work on. A test that is a child's work returns at once without it.
const VARIABLE: &str = "LATCHLESS_CRASH_PATH";

/// Marks what a child tells its parent, among what the test harness prints.
const MARK: &str = "done ";

/// What to work on, in a child.
pub(crate) fn work() -> Option<PathBuf> {
    env::var_os(VARIABLE).map(PathBuf::from)
}

/// Tells the parent that something is done for good. Ends the child when the parent is gone.
pub(crate) fn acknowledge(what: impl std::fmt::Display) {
    println!("{MARK}{what}");
}

/// A child that is to run one test of this program, on `path`.
pub(crate) fn command(test: &str, path: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(VARIABLE, path);
    command
}

/// What a line of a child's output acknowledges. The test harness may have begun the line.
pub(crate) fn acknowledged(line: &str) -> Option<&str> {
    line.split_once(MARK).map(|(_, what)| what)
}

/// A child that runs one test of this program, until it is killed.
pub(crate) struct Victim {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) acknowledged: Vec<String>,
}

impl Victim {
    pub(crate) fn start(test: &str, path: &Path) -> Self {
        let mut child = command(test, path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts once more");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let lines = BufReader::new(stdout).lines();
        Self { child, lines, acknowledged: Vec::new() }
    }

    /// Lets it acknowledge `count` times, works it for `longer`, kills it, and takes in what it had told.
    pub(crate) fn kill_after(mut self, count: usize, longer: Duration) -> Vec<String> {
        while self.acknowledged.len() < count {
            assert!(self.read(), "the child ended after {:?}", self.acknowledged);
        }
        // The instant is meant to be anywhere: nothing waits for it.
        let start = Instant::now();
        while start.elapsed() < longer {
            hint::spin_loop();
        }
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is a child of ours");
        while self.read() {}
        self.acknowledged
    }

    fn read(&mut self) -> bool {
        let Some(Ok(line)) = self.lines.next() else { return false };
        self.acknowledged.extend(acknowledged(&line).map(str::to_owned));
        true
    }
}
