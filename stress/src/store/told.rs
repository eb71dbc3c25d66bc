//! What a child tells its parent, a line each. A line is written by one call, so that lines of several threads
//! do not mix, and a child that is killed leaves at most one that is not whole.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::phases::Action;
use super::warm::Kept;

/// Something that a child did. What is durable is told after the store has said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
    /// It is at work.
    Ready,
    /// A decision was carried out.
    Did(usize),
    /// A plan with so many tasks is durable.
    Plan { plan: i64, tasks: usize },
    /// A claim is durable; nanoseconds unless the thread was frozen meanwhile.
    Claimed { task: i64, attempt: u32, ns: Option<u64> },
    /// A task's end is durable, with all that its turn left behind.
    Finished { task: i64, attempt: u32, changeset: i64, ns: Option<u64> },
    /// A task is given up, durably.
    Failed { task: i64, attempt: u32 },
    /// Changes under a mark are durable.
    Recorded { mark: String, ns: Option<u64> },
    /// A line was added to the document that all share, durably.
    Noted { mark: String },
    /// An output is durable.
    PutOut { mark: String },
    /// A fault or a refusal, of the kind.
    Came(Incident),
    /// Of the cache.
    Kept(Kept),
    /// Threads were frozen, so many since it was last told.
    Froze(u64),
    /// The child itself saw what must not be.
    Broken(String),
    /// The machine did not give what the child needs.
    Lacks(String),
}

/// What may happen to a child that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Incident {
    /// A result came after the task had been taken back, and was refused.
    Stale,
    /// A write was refused because the database had all the room that it may have.
    Full,
    /// A read or a write failed because the system refused it.
    Io,
    /// The clock jumped.
    Jump,
    /// An agent's thread panicked with a claim in hand.
    Panic,
}

/// The way to the parent.
pub(super) struct Teller {
    pipe: File,
    /// Nobody listens: then there is nothing left to do.
    pub(super) gone: AtomicBool,
}

impl Teller {
    /// To the standard output.
    pub(super) fn new() -> io::Result<Self> {
        // Not through the standard library's lock: who is frozen in it would stop the others.
        let pipe = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { pipe, gone: AtomicBool::new(false) })
    }

    pub(super) fn tell(&self, told: &Told) {
        let mut line = serde_json::to_vec(told).unwrap_or_default();
        line.push(b'\n');
        if (&self.pipe).write_all(&line).is_err() {
            self.gone.store(true, Ordering::Release);
        }
    }

    pub(super) fn did(&self, action: Action) {
        self.tell(&Told::Did(action as usize));
    }
}

impl Told {
    /// What a line says; none for one that says something else, or was cut off by a kill.
    pub(super) fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}
