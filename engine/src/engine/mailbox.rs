//! Handing items to a lane that may be gone by then.
//!
//! A host pushes an item and then looks whether the lane is closed; whoever closes the lane does so and then
//! takes what is there. One of them sees the other: so no item is left behind, and neither waits. Either may
//! end an item, because that takes nothing of the lane's.

use latchless::{Drained, Inbox, InboxFull};

use super::gate::Gate;
use crate::sync::{Ordering, fence, mutant};

#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    inbox: Inbox<T>,
}

/// Who has an item that was posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// The lane, once it is told that there is something.
    InTime,
    /// Nobody, unless somebody else has seen it: the lane is closed, and its [rest](Mailbox::take_rest) is to
    /// be ended.
    TooLate,
}

impl<T> Mailbox<T> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { inbox: Inbox::with_capacity(capacity) }
    }

    /// Hands an item to the lane behind `gate`.
    ///
    /// # Errors
    /// [`InboxFull`] with the item.
    pub(crate) fn post(&self, item: T, gate: &Gate) -> Result<Posted, InboxFull<T>> {
        self.inbox.push(item)?;
        // SeqCst: either we see the gate closed, or whoever closed it sees our item; see `take_rest`.
        if !mutant("mailbox.post-unfenced") {
            fence(Ordering::SeqCst);
        }
        Ok(if gate.is_closed() { Posted::TooLate } else { Posted::InTime })
    }

    /// Takes what is there, oldest first.
    pub(crate) fn take_all(&self) -> Drained<T> {
        self.inbox.take_all()
    }

    /// Takes what is there, behind a gate that the caller has closed or has seen closed.
    pub(crate) fn take_rest(&self) -> Drained<T> {
        // SeqCst: pairs with the fence in `post`.
        if !mutant("mailbox.rest-unfenced") {
            fence(Ordering::SeqCst);
        }
        self.inbox.take_all()
    }
}

#[cfg(all(test, latchless_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::sync::explore;

    /// Two hosts post while the lane closes: each item is taken once, by the lane or by a host that came too
    /// late.
    #[test]
    fn loom_nothing_is_left_behind() {
        explore("mailbox: posts and a close", Some(3), 500, || {
            let lane = Arc::new((Mailbox::with_capacity(2), Gate::new(2)));
            let hosts = [1, 2].map(|item| {
                let lane = Arc::clone(&lane);
                thread::spawn(move || {
                    let (mailbox, gate) = &*lane;
                    match mailbox.post(item, gate).unwrap() {
                        Posted::InTime => 0,
                        Posted::TooLate => mailbox.take_rest().sum(),
                    }
                })
            });
            let (mailbox, gate) = &*lane;
            let mut taken: u32 = mailbox.take_all().sum();
            gate.close();
            taken += mailbox.take_rest().sum::<u32>();
            for host in hosts {
                taken += host.join().unwrap();
            }
            assert_eq!(taken, 3, "an item was lost");
        });
    }
}
