//! Children: started, listened to, and killed at random instants.

use std::hint;
use std::io::{self, BufRead, BufReader, Lines};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Instant;

use nix::sys::signal::Signal;

use super::life::{Death, Life};
use super::told::Told;
use crate::crew::roll::Present;
use crate::exit::Exit;
use crate::stop::Stop;
use crate::violation::Violation;

/// Where a child of the tests finds its life.
#[cfg(test)]
pub(super) const LIFE: &str = "LATCHLESS_STRESS_LIFE";

/// How a child came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, in order.
    Itself,
    /// By its parent, or by what was to end both.
    Killed,
    /// The machine did not give what it needs.
    Failed(String),
}

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
        let mut command = command(&text);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// Listens until the child's death.
    pub(super) fn listen(
        mut self,
        death: Death,
        present: &Present<'_>,
        stop: &Stop,
        mut hear: impl FnMut(Told) -> Result<(), Violation>,
    ) -> Result<End, Violation> {
        let mut heard = 0;
        loop {
            let enough = matches!(death, Death::Killed { lines, .. } if heard >= lines);
            if enough || stop.is_stopped() {
                break;
            }
            // It beats with each line: a child that says nothing more is a stall.
            present.beat();
            let Some(told) = self.next() else {
                return end_of(&self.child.wait(), death);
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
        Ok(End::Killed)
    }

    /// What it tells next; none at its end.
    fn next(&mut self) -> Option<Told> {
        // A line that is no text was cut off.
        self.lines.by_ref().map_while(Result::ok).find_map(|line| Told::read(&line))
    }
}

/// What the end of a child that its parent did not kill says.
fn end_of(status: &io::Result<ExitStatus>, death: Death) -> Result<End, Violation> {
    let known = status.as_ref().ok();
    let signal =
        known.and_then(ExitStatus::signal).and_then(|signal| Signal::try_from(signal).ok());
    match (known.and_then(ExitStatus::code), signal) {
        (Some(0), _) if death == Death::Itself => Ok(End::Itself),
        (Some(code), _) if code == i32::from(Exit::MachineFailed.code()) => {
            Ok(End::Failed("it could not begin; see what it said before".to_owned()))
        }
        // Whoever ends a whole group of processes, as a terminal does, means the parent, too.
        (_, Some(Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP)) => Ok(End::Killed),
        (_, Some(Signal::SIGKILL)) => Ok(End::Failed(
            "somebody killed it, as the system does when there is no memory left; free some"
                .to_owned(),
        )),
        _ => Err(Violation::answer("a child that owns the store goes on", status)),
    }
}

/// This program, also when its file has been replaced meanwhile.
const PROGRAM: &str = "/proc/self/exe";

/// What starts a child.
#[cfg(not(test))]
fn command(life: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["store-child", life]);
    command
}

/// The same, where the program is that of the tests.
#[cfg(test)]
fn command(life: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["--exact", "store::child::tests::child", "--nocapture"]).env(LIFE, life);
    command
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_of_a_child_is_the_machine_s_or_its_own_fault() {
        let (itself, killed) = (Death::Itself, Death::Killed { lines: 9, longer: Duration::ZERO });
        let end = |raw: i32, death| end_of(&Ok(ExitStatus::from_raw(raw)), death);
        let code = |code: i32| code << 8;
        assert_eq!(end(code(0), itself), Ok(End::Itself));
        assert!(end(code(0), killed).is_err(), "before its death");
        assert!(matches!(end(code(4), killed), Ok(End::Failed(_))));
        assert!(matches!(end(Signal::SIGKILL as i32, itself), Ok(End::Failed(_))));
        assert_eq!(end(Signal::SIGINT as i32, itself), Ok(End::Killed));
        assert!(end(Signal::SIGSEGV as i32, itself).is_err() && end(code(101), itself).is_err());
        assert!(end_of(&Err(io::ErrorKind::Other.into()), itself).is_err());
    }
}
