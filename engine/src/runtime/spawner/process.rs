//! An agent that is a process.

use std::fmt;
use std::io::Write;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::capture::{Capture, Line, Stream};
use super::{AgentSlot, SpawnError, Spawner};
use crate::runtime::cancel::{Cancel, CancelReason, OnCancel};

/// The longest between two looks whether the process has ended. Mostly the end of its outputs tells at once.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long is waited for the last output of a process that has ended: who left its group may hold its
/// outputs open for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// What the system says.
    pub status: ExitStatus,
    /// Why it was killed, if it was.
    pub killed: Option<CancelReason>,
}

impl Exit {
    /// Whether it ended by itself, and well.
    pub fn is_success(&self) -> bool {
        self.killed.is_none() && self.status.success()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.killed {
            Some(reason) => write!(f, "it was killed: {reason}"),
            None => write!(f, "it ended with {}", self.status),
        }
    }
}

/// The process and what is known of its end, under one lock, so that nobody sends a signal to a number that
/// the system may have given to another process.
struct Process {
    child: Child,
    exit: Option<Exit>,
    killed: Option<CancelReason>,
}

impl Process {
    /// Whether it has ended. If it has, those that it started and that are left of its group are killed.
    fn look(&mut self) -> std::io::Result<Option<Exit>> {
        if self.exit.is_none()
            && may_have_ended(&self.child)
            && let Some(status) = self.child.try_wait()?
        {
            self.exit = Some(Exit { status, killed: self.killed });
        }
        Ok(self.exit)
    }

    fn kill(&mut self, reason: CancelReason) {
        if self.exit.is_none() {
            self.killed.get_or_insert(reason);
            kill_group(&self.child);
            // Where there are no groups. It fails when the process has ended, which is what is wanted.
            let _ended = self.child.kill();
        }
    }
}

/// Whether it is to be reaped. Those that it started and left running are killed before: until it is reaped
/// its number, and that of its group, is nobody else's.
#[cfg(target_os = "linux")]
fn may_have_ended(child: &Child) -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    match waitid(Id::Pid(nix::unistd::Pid::from_raw(child.id() as i32)), flags) {
        Ok(WaitStatus::StillAlive) => false,
        Ok(_) => {
            kill_group(child);
            true
        }
        // Told by the call that reaps it.
        Err(_) => true,
    }
}

/// Elsewhere one that has ended cannot be told from one that runs without reaping it.
#[cfg(not(target_os = "linux"))]
fn may_have_ended(_child: &Child) -> bool {
    true
}

/// Only for a process that was not reaped.
#[cfg(unix)]
fn kill_group(child: &Child) {
    use nix::sys::signal::{Signal, killpg};
    // Refused when all of it is gone.
    let _gone = killpg(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGKILL);
}

#[cfg(not(unix))]
fn kill_group(_child: &Child) {}

/// A process that has a slot, and whose output is kept. Dropping this kills it and waits for it.
#[must_use = "the process is killed when this is dropped"]
pub struct AgentProcess {
    process: Arc<Mutex<Process>>,
    capture: Arc<Capture>,
    _cancelled: OnCancel,
    // Last: the slot is given back when the process is gone.
    slot: Arc<AgentSlot>,
}

impl Spawner {
    /// Starts an agent as a process. `input` is written to its standard input, which then ends; its outputs
    /// are read. It is killed when `parent` is cancelled.
    ///
    /// # Errors
    /// [`SpawnError::Slots`], [`SpawnError::NotStarted`], [`SpawnError::Thread`]: nothing runs.
    pub fn spawn_process(
        &self,
        name: &str,
        command: &mut Command,
        input: Vec<u8>,
        parent: &Cancel,
    ) -> Result<AgentProcess, SpawnError> {
        let slot = self.reserve(name, parent)?;
        AgentProcess::start(Arc::new(slot), command, input)
    }
}

impl AgentProcess {
    /// Starts a process in a slot that was reserved before.
    ///
    /// # Errors
    /// [`SpawnError::NotStarted`], [`SpawnError::Thread`]: nothing runs.
    pub fn start(
        slot: Arc<AgentSlot>,
        command: &mut Command,
        input: Vec<u8>,
    ) -> Result<Self, SpawnError> {
        let name = slot.name().to_owned();
        let program = command.get_program().to_string_lossy().into_owned();
        let not_started = |source| SpawnError::NotStarted { program: program.clone(), source };
        let no_thread = |source| SpawnError::Thread { name, source };
        let capture = Capture::new()
            .map_err(|error| not_started(std::io::Error::other(error.to_string())))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let mut child = command.spawn().map_err(&not_started)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let process = Arc::new(Mutex::new(Process { child, exit: None, killed: None }));
        let cancelled = {
            let process = Arc::clone(&process);
            slot.cancel().on_cancel(move |reason| lock(&process).kill(reason))
        };
        // From here on a failure drops it, and with it the process.
        let agent = Self { process, capture, _cancelled: cancelled, slot };
        let started = || {
            if let Some(out) = pipes.1 {
                agent.capture.read(Stream::Out, out)?;
            }
            if let Some(err) = pipes.2 {
                agent.capture.read(Stream::Err, err)?;
            }
            if let Some(mut stdin) = pipes.0 {
                // On a thread: a process that does not read must not hold us up.
                let write = move || {
                    // It may not want its input.
                    let _unread = stdin.write_all(&input);
                };
                let thread = thread::Builder::new().name("latchless-input".to_owned());
                drop(thread.spawn(write)?);
            }
            Ok(())
        };
        started().map_err(no_thread)?;
        Ok(agent)
    }

    /// Its slot.
    pub fn slot(&self) -> &AgentSlot {
        &self.slot
    }

    /// The system's number of it.
    pub fn id(&self) -> u32 {
        lock(&self.process).child.id()
    }

    /// The oldest line that was not taken yet.
    pub fn line(&self) -> Option<Line> {
        self.capture.lines().pop()
    }

    /// Lines that went because newer ones came.
    pub fn lines_dropped(&self) -> u64 {
        self.capture.lines().dropped()
    }

    /// Kills it and all that it started; it is still to be waited for, or dropped.
    pub fn kill(&self, reason: CancelReason) {
        lock(&self.process).kill(reason);
    }

    /// Waits for its end, at most so long, and gives signs of life for it meanwhile. `None` when it still
    /// runs. Once it has ended all its output is there.
    ///
    /// # Errors
    /// [`SpawnError::Wait`].
    pub fn wait(&self, at_most: Duration) -> Result<Option<Exit>, SpawnError> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let failed = |source| SpawnError::Wait { name: self.slot.name().to_owned(), source };
            if let Some(exit) = lock(&self.process).look().map_err(failed)? {
                self.capture.wait(LAST_WORDS);
                return Ok(Some(exit));
            }
            // That it runs is its sign of life: how long it may, its host decides.
            self.slot.beat();
            let left = at_most.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            self.capture.doze(pause.min(left));
            pause = (pause * 2).min(LOOK_AGAIN);
        }
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let mut process = lock(&self.process);
        process.kill(CancelReason::Over);
        if process.exit.is_none() {
            // It was killed by a signal that cannot be caught: it ends, and leaves no zombie.
            let _status = process.child.wait();
        }
    }
}

impl fmt::Debug for AgentProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentProcess")
            .field("slot", &self.slot)
            .field("exit", &lock(&self.process).exit)
            .finish_non_exhaustive()
    }
}

fn lock(process: &Mutex<Process>) -> MutexGuard<'_, Process> {
    // Nothing in there panics half way.
    process.lock().unwrap_or_else(PoisonError::into_inner)
}
