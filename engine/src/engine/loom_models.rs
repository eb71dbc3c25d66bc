//! Models of what host and lane do together: a seat that is left while its lane is replaced, tokens through a
//! ring that is full, and an end that is published when everything has been given back.

use std::time::Instant;

use latchless::{AgentHandle, BlockPool, ModelSpec, OwnedLease, PoolConfig};
use loom::thread;

use super::completion::FinishReason;
use super::control::{Control, Front};
use super::event::Event;
use super::piece::Piece;
use super::stream::{Outlet, TokenStream, stream};
use super::ticket::Ticket;
use crate::backend::Token;
use crate::sync::explore;

/// A lane for one request.
fn control() -> std::sync::Arc<Control> {
    std::sync::Arc::new(Control::new(std::sync::Arc::new(Front::new(1)), 1, 0, 0))
}

fn pool() -> (std::sync::Arc<BlockPool>, AgentHandle) {
    let config = PoolConfig::new(1, ModelSpec::new(1, 1, 1, 1).unwrap()).max_agents(1).stripes(1);
    let pool = std::sync::Arc::new(BlockPool::new(config).unwrap());
    let agent = pool.open_account().unwrap();
    (pool, agent)
}

/// The last request of a lane leaves while its model is replaced: the lane, which sleeps when it has nothing to
/// do, finds that nobody will come any more.
#[test]
fn loom_a_deserted_lane_ends() {
    explore("control: a deserted lane", Some(3), 200, || {
        let control = control();
        let seat = control.take_seat().unwrap();
        let leaves = thread::spawn(move || drop(seat));
        let retired = std::sync::Arc::clone(&control);
        let retires = thread::spawn(move || retired.retire());
        loop {
            let heard = control.bell.heard();
            if control.gate.is_deserted() {
                break;
            }
            control.bell.sleep(heard);
        }
        leaves.join().unwrap();
        retires.join().unwrap();
    });
}

/// Sends tokens as a lane does: when there is no room it sleeps until the reader rings.
fn send(control: &Control, outlet: &mut Outlet, tokens: i32) {
    for token in 0..tokens {
        loop {
            let heard = control.bell.heard();
            if outlet.has_room() {
                break;
            }
            control.bell.sleep(heard);
        }
        outlet.send(Event::Token { token: Token(token), text: Piece::from("") });
    }
}

fn read(mut stream: TokenStream) -> i32 {
    let mut read = 0;
    while let Some(event) = stream.recv() {
        if let Event::Token { token, .. } = event {
            assert_eq!(token, Token(read), "in order, each once");
            read += 1;
        }
    }
    read
}

/// Room for one token and two that come: the lane pauses and goes on, the reader sleeps and is woken, and
/// neither sleeps for ever. The lane goes without a word, which ends the stream, too.
#[test]
fn loom_a_reader_that_is_behind() {
    explore("stream: a reader that is behind", Some(3), 200, || {
        let control = control();
        let (_pool, agent) = pool();
        let seat = control.take_seat().unwrap();
        let (mut outlet, stream) = stream(seat.id, agent, &control, Instant::now(), 1);
        let lane = thread::spawn(move || {
            send(&control, &mut outlet, 2);
            drop(outlet);
            // Behind what is modelled.
            drop(seat);
        });
        assert_eq!(read(stream), 2);
        lane.join().unwrap();
    });
}

fn lease(pool: &std::sync::Arc<BlockPool>, agent: AgentHandle) -> OwnedLease {
    pool.allocate_sequence_owned(agent, 1).unwrap()
}

/// A host that has read the end of its request finds the only block and the only seat free.
#[test]
fn loom_the_end_is_said_when_everything_is_given_back() {
    explore("ticket: the end of a request", None, 50, || {
        let control = control();
        let (pool, agent) = pool();
        let now = Instant::now();
        let seat = control.take_seat().unwrap();
        let (outlet, mut stream) = stream(seat.id, agent, &control, now, 1);
        let ticket = Ticket::new(seat, lease(&pool, agent), outlet, agent, now, 1);
        let lane = thread::spawn(move || ticket.finish(String::new(), FinishReason::Length));
        while stream.recv().is_some() {}
        let ended = stream.completion().expect("it was said");
        assert_eq!((&ended.reason, ended.blocks_freed), (&FinishReason::Length, 1));
        assert_eq!(pool.usage().used, 0);
        let _next = (control.take_seat().expect("the seat is free"), lease(&pool, agent));
        lane.join().unwrap();
    });
}
