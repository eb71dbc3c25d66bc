//! Running the calls of one reply.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::super::cancel::{Cancel, CancelReason};
use super::super::documents::Documents;
use super::toolbox::Entry;
use super::{ANSWER_CHARACTERS, Access, Asked, Call, Tool, ToolError, Toolbox};

/// Calls that read at the same time.
const AT_ONCE: usize = 8;
/// How often the agent gives a sign of life while its tools run.
const TICK: Duration = Duration::from_millis(100);

/// What the calls run with.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    /// The tools that there are.
    pub tools: &'a Toolbox,
    /// Ends all calls.
    pub cancel: &'a Cancel,
    /// Called now and then while calls run: a sign of life.
    pub alive: &'a dyn Fn(),
}

impl fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("tools", &self.tools)
            .field("cancel", &self.cancel)
            .finish_non_exhaustive()
    }
}

/// A call that has ended, or was not begun.
#[derive(Debug)]
pub struct Ended {
    /// What was asked for.
    pub asked: Asked,
    /// The answer, or why there is none: a failure is a value.
    pub result: Result<String, ToolError>,
}

/// What a call's thread hands back: its answer, and the copy of the documents that it worked on.
type Back = (Result<String, ToolError>, Documents);

enum Message {
    Back(usize, Back),
    Wake,
}

/// Runs the calls, and puts what they wrote into `documents`. The results are in the order of the calls.
/// After an abort, or once the turn is cancelled, no further call begins.
///
/// Neighbouring calls that read run at the same time, at most eight of them; one that writes runs alone, after
/// those before it.
pub fn run(calls: Vec<Asked>, running: &Running<'_>, documents: &mut Documents) -> Vec<Ended> {
    let mut ended = Vec::with_capacity(calls.len());
    let mut calls = calls.into_iter().peekable();
    let mut aborted = false;
    while let Some(first) = calls.next() {
        if let Some(reason) = running.cancel.reason().or(aborted.then_some(CancelReason::User)) {
            ended.push(Ended { asked: first, result: Err(ToolError::Cancelled(reason)) });
            continue;
        }
        let mut group = vec![first];
        if running.access(&group[0]) == Access::Read {
            while group.len() < AT_ONCE
                && let Some(next) = calls.next_if(|it| running.access(it) == Access::Read)
            {
                group.push(next);
            }
        }
        let results = running.group(&group, documents);
        for (asked, result) in group.into_iter().zip(results) {
            aborted |= matches!(result, Err(ToolError::Aborted(_)));
            ended.push(Ended { asked, result });
        }
    }
    ended
}

impl Running<'_> {
    /// A tool that is not there changes nothing.
    fn access(&self, asked: &Asked) -> Access {
        self.tools.get(&asked.tool).map_or(Access::Read, |tool| tool.access())
    }

    /// Runs several calls that read, or one that writes.
    fn group(&self, group: &[Asked], documents: &mut Documents) -> Vec<Result<String, ToolError>> {
        let (sender, receiver) = mpsc::channel();
        let wake = sender.clone();
        let _told = self.cancel.on_cancel(move |_| drop(wake.send(Message::Wake)));
        let begun = Instant::now();
        // Dropped at the end: a call that is still under way is told that it is over.
        let over = self.cancel.child();
        let mut results: Vec<Option<Result<String, ToolError>>> = Vec::new();
        let mut limits = Vec::new();
        for (place, asked) in group.iter().enumerate() {
            let entry = self.tools.entry(&asked.tool);
            limits.push(entry.map_or(Duration::ZERO, |entry| entry.limit.now()));
            results.push(match entry {
                None => Some(Err(self.unknown(asked))),
                Some(Entry { tool, .. }) => {
                    let call = Call {
                        argument: asked.argument.clone(),
                        access: tool.access(),
                        documents: documents.clone(),
                        cancel: over.clone(),
                    };
                    start(tool, call, place, &sender).err().map(Err)
                }
            });
        }
        while results.iter().any(Option::is_none) {
            let now = begun.elapsed();
            for ((result, limit), asked) in results.iter_mut().zip(&limits).zip(group) {
                if result.is_none() && now >= *limit {
                    *result = Some(Err(ToolError::TimeLimit { limit: *limit }));
                    self.given_up(asked, *limit);
                }
            }
            if let Some(reason) = self.cancel.reason() {
                for result in results.iter_mut().filter(|result| result.is_none()) {
                    *result = Some(Err(ToolError::Cancelled(reason)));
                }
            }
            let waiting = results.iter().zip(&limits).filter(|(result, _)| result.is_none());
            let Some(next) = waiting.map(|(_, limit)| limit.saturating_sub(now)).min() else {
                break;
            };
            (self.alive)();
            match receiver.recv_timeout(next.min(TICK)) {
                Ok(Message::Back(place, (result, seen))) => {
                    if results[place].is_none() {
                        // A late one is not measured: it was given up.
                        if let Some(entry) = self.tools.entry(&group[place].tool) {
                            entry.limit.took(begun.elapsed());
                        }
                        // An abort or a failure writes nothing.
                        match (self.access(&group[place]), &result) {
                            (Access::Write, Ok(_)) => *documents = seen,
                            _ => documents.have_seen(seen),
                        }
                        results[place] = Some(result);
                    }
                }
                Ok(Message::Wake) | Err(RecvTimeoutError::Timeout) => {}
                // We have a sender ourselves.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        over.cancel(CancelReason::Over);
        let nothing = || Err(ToolError::Cancelled(CancelReason::Over));
        results.into_iter().map(|result| result.unwrap_or_else(nothing)).collect()
    }

    fn given_up(&self, asked: &Asked, limit: Duration) {
        let Some(entry) = self.tools.entry(&asked.tool) else { return };
        entry.limit.expired(limit);
        let (limit_ms, next_ms) = (limit.as_millis() as u64, entry.limit.now().as_millis() as u64);
        tracing::info!(tool = asked.tool, limit_ms, next_ms, "a call took too long");
    }

    fn unknown(&self, asked: &Asked) -> ToolError {
        let known = self.tools.names().map(str::to_owned).collect();
        ToolError::Unknown { name: asked.tool.clone(), known }
    }
}

fn start(
    tool: &Arc<dyn Tool>,
    mut call: Call,
    place: usize,
    sender: &Sender<Message>,
) -> Result<(), ToolError> {
    let (tool, sender) = (Arc::clone(tool), sender.clone());
    let work = move || {
        // Unwind safety: what the call wrote is dropped when it panics, and the tool answers for itself.
        let result = catch_unwind(AssertUnwindSafe(|| tool.call(&mut call)));
        let result = result.unwrap_or_else(|panic| Err(ToolError::Panicked(message(&*panic))));
        let result = match result {
            Ok(answer) if too_long(&answer) => Err(ToolError::TooLong),
            result => result,
        };
        // Nobody listens when it comes late.
        drop(sender.send(Message::Back(place, (result, call.documents))));
    };
    let thread = thread::Builder::new().name("latchless-tool".to_owned());
    thread.spawn(work).map(drop).map_err(ToolError::Thread)
}

fn too_long(answer: &str) -> bool {
    answer.len() > ANSWER_CHARACTERS && answer.chars().nth(ANSWER_CHARACTERS).is_some()
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a word").chars().take(1_000).collect()
}

#[cfg(test)]
mod tests;
