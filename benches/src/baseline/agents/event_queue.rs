//! The alternative that seed 000 names: one thread owns the machine, and events come to it in a queue.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use latchless::AgentState;

use super::lock;

struct Event {
    to: AgentState,
    answer: SyncSender<Result<(), AgentState>>,
}

/// A state machine in a thread of its own. Nobody shares it, so nothing is locked; whoever wants to know
/// whether a transition was allowed waits for that thread's answer.
#[derive(Debug)]
pub struct EventQueueMachine {
    /// Ends the thread when it is dropped.
    events: Option<Sender<Event>>,
    owner: Mutex<Option<JoinHandle<()>>>,
}

/// A thread's way to the machine, with the queue that its answers come by.
#[derive(Debug)]
pub struct EventSender {
    events: Option<Sender<Event>>,
    answer: SyncSender<Result<(), AgentState>>,
    answers: Receiver<Result<(), AgentState>>,
}

impl Default for EventQueueMachine {
    fn default() -> Self {
        let (events, received) = channel::<Event>();
        let owner = thread::spawn(move || {
            let mut state = AgentState::UserInput;
            for Event { to, answer } in received {
                let result = if state.may_become(to) { Ok(()) } else { Err(state) };
                if result.is_ok() {
                    state = to;
                }
                // Whoever asked may have gone.
                let _heard = answer.send(result);
            }
        });
        Self { events: Some(events), owner: Mutex::new(Some(owner)) }
    }
}

impl EventQueueMachine {
    /// A way to the machine, for one thread.
    pub fn sender(&self) -> EventSender {
        let (answer, answers) = sync_channel(1);
        EventSender { events: self.events.clone(), answer, answers }
    }
}

impl EventSender {
    /// Goes to `to`, and waits until that is done or refused.
    ///
    /// # Errors
    /// The state that the machine is in, when that is no edge.
    ///
    /// # Panics
    /// When the machine's thread has ended: it panicked.
    pub fn transition_to(&self, to: AgentState) -> Result<(), AgentState> {
        let event = Event { to, answer: self.answer.clone() };
        let events = self.events.as_ref().expect("it is there until it is dropped");
        events.send(event).expect("the machine's thread runs");
        self.answers.recv().expect("the machine's thread answers")
    }
}

impl Drop for EventQueueMachine {
    fn drop(&mut self) {
        drop(self.events.take());
        if let Some(owner) = lock(&self.owner).take() {
            // It ends when the last sender has gone.
            let _ended = owner.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers() {
        let machine = EventQueueMachine::default();
        let sender = machine.sender();
        assert_eq!(sender.transition_to(AgentState::Response), Err(AgentState::UserInput));
        assert_eq!(sender.transition_to(AgentState::Assistant), Ok(()));
        drop(sender);
    }
}
