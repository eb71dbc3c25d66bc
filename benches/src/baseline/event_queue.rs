//! The alternative that the prototypes name for their state machine, for a pool: a single event queue. Nothing
//! is locked, because one thread owns the list; the others send it events and wait for its answers.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use crate::contender::{Churn, Contender, Exhausted, ReturnError};

/// The list of free blocks belongs to one thread behind a channel.
///
/// Taking is an event and an answer; giving back is an event that nobody waits for, and its buffer
/// serves a later answer, so that the steady state allocates nothing here. As bare as
/// [`MutexBare`](super::MutexBare): whatever is given back is believed.
#[derive(Debug)]
pub struct EventQueue {
    /// `None` only while the pool is dropped.
    requests: Option<Sender<Request>>,
    owner: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Request {
    Join(SyncSender<Answer>),
    Take { hand: usize, blocks: u32 },
    Reconfigure { hand: usize },
    Leave { hand: usize },
    GiveBack(Vec<u32>),
    CountFree { hand: usize },
}

#[derive(Debug)]
enum Answer {
    Number(usize),
    Blocks(Result<Vec<u32>, Exhausted>),
    Free(u32),
    Reconfigured(bool),
}

/// The way back from the owner, and the blocks. It leaves when it is dropped.
#[derive(Debug)]
pub struct EventHand<'pool> {
    pool: &'pool EventQueue,
    number: usize,
    answers: Receiver<Answer>,
    blocks: Vec<u32>,
}

/// What the owning thread does until nobody can ask any more.
fn own(blocks: u32, requests: &Receiver<Request>) {
    let mut free: Vec<u32> = (0..blocks).rev().collect();
    let mut hands: Vec<Option<SyncSender<Answer>>> = Vec::new();
    let mut vacant: Vec<usize> = Vec::new();
    let mut buffers: Vec<Vec<u32>> = Vec::new();
    let answer = |hands: &[Option<SyncSender<Answer>>], hand: usize, answer| {
        // A hand that was dropped meanwhile wants no answer.
        let _gone = hands[hand].as_ref().map(|hand| hand.send(answer));
    };
    while let Ok(request) = requests.recv() {
        match request {
            Request::Join(hand) => {
                let number = vacant.pop().unwrap_or(hands.len());
                hands.resize(hands.len().max(number + 1), None);
                hands[number] = Some(hand);
                answer(&hands, number, Answer::Number(number));
            }
            Request::Take { hand, blocks: requested } => {
                let available = free.len() as u32;
                let taken = available.checked_sub(requested).map(|rest| {
                    let mut taken = buffers.pop().unwrap_or_default();
                    taken.extend(free.drain(rest as usize..));
                    taken
                });
                let allocated = blocks - available;
                let refused = Exhausted { requested, available, total: blocks, allocated };
                answer(&hands, hand, Answer::Blocks(taken.ok_or(refused)));
            }
            Request::GiveBack(mut blocks) => {
                free.append(&mut blocks);
                buffers.push(blocks);
            }
            Request::Reconfigure { hand } => {
                let nothing_is_out = free.len() == blocks as usize;
                answer(&hands, hand, Answer::Reconfigured(nothing_is_out));
            }
            Request::Leave { hand } => {
                hands[hand] = None;
                vacant.push(hand);
            }
            Request::CountFree { hand } => answer(&hands, hand, Answer::Free(free.len() as u32)),
        }
    }
}

impl EventQueue {
    fn send(&self, request: Request) {
        let requests = self.requests.as_ref().expect("the pool is not being dropped");
        requests.send(request).expect("the owner lives as long as the pool");
    }
}

impl EventHand<'_> {
    fn answer(&self) -> Answer {
        self.answers.recv().expect("the owner lives as long as the pool")
    }
}

impl Drop for EventHand<'_> {
    fn drop(&mut self) {
        let Some(requests) = &self.pool.requests else { return };
        // An owner that has panicked has shown at whoever asked it.
        if !self.blocks.is_empty() {
            let _gone = requests.send(Request::GiveBack(std::mem::take(&mut self.blocks)));
        }
        let _gone = requests.send(Request::Leave { hand: self.number });
    }
}

impl Contender for EventQueue {
    const NAME: &'static str = "event_queue";
    type Hand<'pool> = EventHand<'pool>;

    fn new(blocks: u32) -> Self {
        let (sender, requests) = channel();
        let owner = thread::spawn(move || own(blocks, &requests));
        Self { requests: Some(sender), owner: Some(owner) }
    }

    fn hand(&self) -> EventHand<'_> {
        let (sender, answers) = sync_channel(1);
        self.send(Request::Join(sender));
        match answers.recv().expect("the owner lives as long as the pool") {
            Answer::Number(number) => EventHand { pool: self, number, answers, blocks: Vec::new() },
            other => unreachable!("one question, one answer: {other:?}"),
        }
    }

    #[inline]
    fn take(&self, hand: &mut EventHand<'_>, blocks: u32) -> Result<(), Exhausted> {
        self.send(Request::Take { hand: hand.number, blocks });
        match hand.answer() {
            Answer::Blocks(blocks) => hand.blocks = blocks?,
            other => unreachable!("one question, one answer: {other:?}"),
        }
        Ok(())
    }

    #[inline]
    fn give_back(&self, hand: &mut EventHand<'_>) -> Result<(), ReturnError> {
        self.send(Request::GiveBack(std::mem::take(&mut hand.blocks)));
        Ok(())
    }

    fn free(&self) -> u32 {
        let hand = self.hand();
        self.send(Request::CountFree { hand: hand.number });
        match hand.answer() {
            Answer::Free(free) => free,
            other => unreachable!("one question, one answer: {other:?}"),
        }
    }
}

impl Churn for EventQueue {
    /// An agent is a hand. Owners, quotas and shares are unknown here; a new geometry is the owner's to take
    /// up, which it does between two events when every block is there.
    fn churn(&self, blocks: u32) -> bool {
        let mut hand = self.hand();
        if self.take(&mut hand, blocks).is_ok() {
            self.give_back(&mut hand).expect("whatever is given back is believed");
        }
        self.send(Request::Reconfigure { hand: hand.number });
        match hand.answer() {
            Answer::Reconfigured(done) => done,
            other => unreachable!("one question, one answer: {other:?}"),
        }
    }
}

impl Drop for EventQueue {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(owner) = self.owner.take() {
            // A panic of the owner has shown at whoever asked it.
            let _ended = owner.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::tests::{churns, loses_nothing, takes_all_or_nothing};

    #[test]
    fn is_a_contender() {
        takes_all_or_nothing::<EventQueue>();
        loses_nothing::<EventQueue>();
        churns::<EventQueue>();
    }

    #[test]
    fn a_hand_that_leaves_makes_room() {
        let pool = EventQueue::new(10);
        let mut first = pool.hand();
        pool.take(&mut first, 4).unwrap();
        let number = first.number;
        drop(first);
        assert_eq!((pool.hand().number, pool.free()), (number, 10));
    }

    #[test]
    fn a_buffer_comes_back() {
        let pool = EventQueue::new(10);
        let mut hand = pool.hand();
        pool.take(&mut hand, 4).unwrap();
        let buffer = hand.blocks.as_ptr();
        pool.give_back(&mut hand).unwrap();
        pool.take(&mut hand, 4).unwrap();
        assert_eq!(hand.blocks.as_ptr(), buffer);
    }
}
