//! The alternative that the prototypes name: a single event queue. One thread owns the state, and everybody
//! else sends it events and waits for the answers.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use super::lock;

struct Event<Q, A> {
    question: Q,
    answer: SyncSender<A>,
}

/// Something in a thread of its own. Nobody shares it, so nothing is locked; whoever wants to know what came
/// of an event waits for that thread's answer.
#[derive(Debug)]
pub struct Owner<Q, A> {
    /// Ends the thread when it is dropped.
    events: Option<Sender<Event<Q, A>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A thread's way to the owner, with the queue that its answers come by.
#[derive(Debug)]
pub struct EventSender<Q, A> {
    events: Option<Sender<Event<Q, A>>>,
    answer: SyncSender<A>,
    answers: Receiver<A>,
}

impl<Q: Send + 'static, A: Send + 'static> Owner<Q, A> {
    /// A thread that has `state`, and does to it what `apply` makes of each event.
    pub fn new<S: Send + 'static>(
        mut state: S,
        mut apply: impl FnMut(&mut S, Q) -> A + Send + 'static,
    ) -> Self {
        let (events, received) = channel::<Event<Q, A>>();
        let thread = thread::spawn(move || {
            for Event { question, answer } in received {
                // Whoever asked may have gone.
                let _heard = answer.send(apply(&mut state, question));
            }
        });
        Self { events: Some(events), thread: Mutex::new(Some(thread)) }
    }

    /// A way to the owner, for one thread. All of them have to be dropped before the owner.
    pub fn sender(&self) -> EventSender<Q, A> {
        let (answer, answers) = sync_channel(1);
        EventSender { events: self.events.clone(), answer, answers }
    }
}

impl<Q, A> EventSender<Q, A> {
    /// Sends an event, and waits for the answer.
    ///
    /// # Panics
    /// When the owner has ended: it panicked.
    pub fn ask(&self, question: Q) -> A {
        let event = Event { question, answer: self.answer.clone() };
        let events = self.events.as_ref().expect("it is there until it is dropped");
        assert!(events.send(event).is_ok(), "the owner runs");
        self.answers.recv().expect("the owner answers")
    }
}

impl<Q, A> Drop for Owner<Q, A> {
    fn drop(&mut self) {
        drop(self.events.take());
        if let Some(thread) = lock(&self.thread).take() {
            // It ends when the last sender has gone.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_in_the_order_of_events() {
        let owner = Owner::new(0, |sum, add: u32| {
            *sum += add;
            *sum
        });
        let (one, other) = (owner.sender(), owner.sender());
        assert_eq!([one.ask(1), other.ask(2), one.ask(3)], [1, 3, 6]);
        drop((one, other));
    }
}
