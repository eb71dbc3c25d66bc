//! Children: started, listened to, and killed at random instants.

use std::hint;
use std::io::{self, BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Instant;

use super::life::{Death, Life};
use super::told::Told;
use crate::crew::roll::Present;
use crate::stop::Stop;
use crate::violation::Violation;

/// Where a child of the tests finds its life.
#[cfg(test)]
pub(super) const LIFE: &str = "LATCHLESS_STRESS_LIFE";

/// A child at work. It is killed when this is dropped.
pub(super) struct Living {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Drop for Living {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Living {
    pub(super) fn start(life: &Life) -> io::Result<Self> {
        let text = serde_json::to_string(life)?;
        let mut command = command(&text)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// Listens until the child's death. `true`: it was killed.
    pub(super) fn listen(
        mut self,
        death: Death,
        present: &Present<'_>,
        stop: &Stop,
        mut hear: impl FnMut(Told) -> Result<(), Violation>,
    ) -> Result<bool, Violation> {
        let mut heard = 0;
        loop {
            let enough = matches!(death, Death::Killed { lines, .. } if heard >= lines);
            if enough || stop.is_stopped() {
                break;
            }
            // It beats with each line: a child that says nothing more is a stall.
            present.beat();
            let Some(told) = self.next() else {
                let status = self.child.wait();
                return match (death, status) {
                    (Death::Itself, Ok(status)) if status.success() => Ok(false),
                    (_, status) => Err(ended(&status)),
                };
            };
            // The instant is by what the store does; the cache is at whatever it is.
            heard += u64::from(!matches!(told, Told::Kept(_)));
            hear(told)?;
        }
        if let Death::Killed { longer, .. } = death {
            // The instant is to be anywhere; nothing waits for it.
            let begun = Instant::now();
            while begun.elapsed() < longer {
                hint::spin_loop();
            }
        }
        if let Err(error) = self.child.kill() {
            return Err(Violation::answer("a child is killed", error.to_string()));
        }
        // What it had told before counts.
        while let Some(told) = self.next() {
            present.beat();
            hear(told)?;
        }
        Ok(true)
    }

    /// What it tells next; none at its end.
    fn next(&mut self) -> Option<Told> {
        // A line that is no text was cut off.
        self.lines.by_ref().map_while(Result::ok).find_map(|line| Told::read(&line))
    }
}

fn ended(status: &io::Result<ExitStatus>) -> Violation {
    Violation::answer("a child that owns the store goes on", status)
}

/// What starts a child.
#[cfg(not(test))]
fn command(life: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["store-child", life]);
    Ok(command)
}

/// The same, where the program is that of the tests.
#[cfg(test)]
fn command(life: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", "store::child::tests::child", "--nocapture"]).env(LIFE, life);
    Ok(command)
}
