//! What an engine's handles and one lane have in common.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{JoinHandle, ThreadId};

use latchless::BlockPool;

use super::accounts::Accounts;
use super::completion::FinishReason;
use super::control::Control;
use super::error::RequestError;
use super::mailbox::{Mailbox, Posted};
use super::running::Arrival;
use crate::backend::{Limits, Model};

pub(crate) struct Shared {
    pub(crate) control: Arc<Control>,
    pub(crate) model: Arc<dyn Model>,
    pub(crate) limits: Limits,
    pub(crate) pool: Arc<BlockPool>,
    pub(crate) accounts: Accounts,
    pub(crate) inbox: Mailbox<Arrival>,
    pub(crate) max_requests: u32,
    pub(crate) stream_events: u32,
    /// The lane panicked; written before the gate is closed, read by those who found it closed.
    pub(crate) broken: AtomicBool,
    /// Who the lane's thread is, if it has one: it must not wait for itself.
    pub(crate) thread_id: OnceLock<ThreadId>,
    /// The lane's thread, to be joined once. Locked where a thread is started and where one is joined, which
    /// waits anyway.
    pub(crate) thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("model", &self.model.name())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Ends what is in the inbox of a lane that is closed: the lane calls it after it has seen the gate closed,
    /// a submitting thread when its arrival came too late.
    pub(crate) fn end_arrivals(&self) -> u32 {
        let reason = if self.broken.load(Ordering::Relaxed) {
            FinishReason::Failed(RequestError::LaneGone)
        } else {
            FinishReason::Shutdown
        };
        let mut ended = 0;
        for arrival in self.inbox.take_rest() {
            arrival.end(reason.clone());
            ended += 1;
        }
        ended
    }

    /// Hands an arrival to the lane. `false` when the inbox is full, which the gate's limit rules out.
    pub(crate) fn deliver(&self, arrival: Arrival) -> bool {
        match self.inbox.post(arrival, &self.control.gate) {
            Ok(Posted::InTime) => self.control.bell.ring(),
            Ok(Posted::TooLate) => drop(self.end_arrivals()),
            Err(_) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::queue::Priority;
    use super::super::stream::stream;
    use super::super::ticket::Ticket;
    use super::super::warm::Stored;
    use super::super::{Engine, EngineConfig, Event};
    use super::*;
    use crate::backend::scripted::{Script, ScriptedBackend};
    use crate::backend::{Sampling, Token};

    /// The lane goes between a submit's way through the gate and its push: nobody steps any more, and
    /// the stream ends all the same.
    #[test]
    fn an_arrival_after_the_lane_s_end_is_ended_by_its_own_thread() {
        let backend = ScriptedBackend::builder(Script::Echo).build();
        let (engine, lane) = Engine::new(backend, EngineConfig::default()).unwrap();
        let agent = engine.agent("late").unwrap();
        let generation = engine.handle().live.load_full();
        let shared = &generation.lanes()[0];
        let seat = shared.control.take_seat().unwrap();
        let now = Instant::now();
        let (outlet, mut reader) = stream(seat.id, agent, &shared.control, now, 1);
        let lease = shared.pool.allocate_sequence_owned(agent, 2).unwrap();
        let ticket = Ticket::new(seat, lease, outlet, agent, now, 1);
        drop(lane);
        assert!(shared.deliver(Arrival {
            ticket,
            prompt: vec![Token(65)],
            max_tokens: 1,
            sampling: Sampling::greedy(),
            stops: Vec::new(),
            priority: Priority::Normal,
            deadline: None,
            name: None,
            stored: Stored::Unknown,
        }));
        let Ok(Event::Finished(completion)) = reader.try_recv() else { panic!("not ended") };
        assert_eq!(completion.reason, FinishReason::Shutdown);
        assert!(completion.blocks_freed > 0);
        assert_eq!((shared.pool.usage().used, engine.pending().len()), (0, 0));
    }
}
