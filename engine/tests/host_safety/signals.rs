//! A host's signals, without `SA_RESTART`, at threads that wait: each wait goes on, and ends by what it waits
//! for.

use std::pin::Pin;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_core::Stream;
use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig};
use latchless_engine::backend::scripted::{Gate, Script, ScriptedBackend};
use latchless_engine::{Engine, EngineConfig, Request};
use nix::libc;
use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::gettid;

/// Signals that each wait is interrupted by.
const STORM: u64 = 300;

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// One storm at a time: they count together.
fn storm() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does one atomic add, which a handler may.
    unsafe { sigaction(Signal::SIGALRM, &action) }.unwrap();
    one
}

/// Sends signals, one after the other was handled.
fn interrupt(mut send: impl FnMut()) {
    for _ in 0..STORM {
        let before = HANDLED.load(Ordering::SeqCst);
        send();
        while HANDLED.load(Ordering::SeqCst) == before {
            thread::yield_now();
        }
    }
}

/// Runs `wait` in a thread that is interrupted again and again, until `release` ends it.
fn interrupted<T: Send + 'static>(
    wait: impl FnOnce() -> T + Send + 'static,
    release: impl FnOnce(),
) -> T {
    let _one = storm();
    let (tell, told) = mpsc::channel::<Pthread>();
    let waiter = thread::spawn(move || {
        tell.send(pthread_self()).unwrap();
        wait()
    });
    let thread = told.recv().unwrap();
    // It cannot have ended: what it waits for comes with the release.
    interrupt(|| pthread_kill(thread, Signal::SIGALRM).unwrap());
    assert!(!waiter.is_finished());
    release();
    waiter.join().unwrap()
}

fn held(gate: &Gate) -> Engine {
    let script = Script::Text("It scatters.".into());
    let backend = ScriptedBackend::builder(script).gate(gate).build();
    Engine::start(backend, EngineConfig::default()).unwrap()
}

#[test]
fn a_reader_gets_its_whole_answer() {
    let gate = Gate::closed();
    let engine = held(&gate);
    let agent = engine.agent("planner").unwrap();
    let stream = engine.submit(agent, Request::text("Why?")).unwrap();
    let answer = interrupted(move || stream.wait(), || gate.open());
    assert_eq!(answer.text, "It scatters.");
}

#[test]
fn a_drain_waits_for_the_last_request() {
    let gate = Gate::closed();
    let engine = held(&gate);
    let agent = engine.agent("planner").unwrap();
    let stream = engine.submit(agent, Request::text("Why?")).unwrap();
    gate.wait_for_arrivals(1);
    let drained = {
        let engine = engine.clone();
        interrupted(move || engine.drain(Duration::MAX), || gate.open())
    };
    assert_eq!(drained, Ok(1));
    assert_eq!(stream.wait().text, "It scatters.");
}

#[test]
fn an_allocation_waits_for_its_blocks() {
    let spec = ModelSpec::new(1, 8, 128, 16).unwrap();
    let pool = Arc::new(BlockPool::new(PoolConfig::new(10, spec)).unwrap());
    let agent = pool.open_account().unwrap();
    let all = pool.allocate_owned(agent, LayerId(0), 10).unwrap();
    let waiting = Arc::clone(&pool);
    let wait =
        move || waiting.allocate_within(agent, LayerId(0), 7, Duration::MAX).map(|l| l.len());
    assert_eq!(interrupted(wait, || drop(all)), Ok(7));
    assert_eq!(pool.usage().used, 0);
}

/// The thread that wakes the reader of a stream: the lane's.
#[derive(Default)]
struct Waking(AtomicI32);

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.0.store(gettid().as_raw(), Ordering::SeqCst);
    }
}

#[test]
fn a_lane_sleeps_on_and_wakes_for_what_comes() {
    let _one = storm();
    let gate = Gate::closed();
    let engine = held(&gate);
    let agent = engine.agent("planner").unwrap();
    let mut stream = engine.submit(agent, Request::text("Who?")).unwrap();
    let waking = Arc::new(Waking::default());
    let waker = Waker::from(Arc::clone(&waking));
    assert!(Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_pending());
    gate.open();
    let lane = loop {
        match waking.0.load(Ordering::SeqCst) {
            0 => thread::yield_now(),
            lane => break lane,
        }
    };
    assert!(stream.wait().completion.reason.is_success());

    let process = libc::pid_t::try_from(std::process::id()).unwrap();
    for _ in 0..3 {
        interrupt(|| {
            // SAFETY: only numbers go in, of a thread that lives as long as the engine.
            let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, lane, libc::SIGALRM) };
            assert_eq!(sent, 0);
        });
        let before = engine.snapshot().lanes[0].steps;
        let answer = engine.submit(agent, Request::text("Why?")).unwrap().wait();
        assert_eq!(answer.text, "It scatters.");
        assert!(engine.snapshot().lanes[0].steps > before);
    }
}
