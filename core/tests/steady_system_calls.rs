//! Allocating and freeing makes no system call.
//!
//! The test runs itself once more as a child and traces the child's thread (`ptrace`), which stops it at
//! the beginning and at the end of every system call. The child marks sections by raising a signal, which
//! the tracer sees. A mark makes system calls of its own: an empty section tells how many.
#![cfg(all(target_os = "linux", not(latchless_loom)))]

use std::env;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use latchless::{AgentHandle, BlockPool, LayerId, ModelSpec, PoolConfig};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getppid, gettid};

const LAYER: LayerId = LayerId(0);
const ROUNDS: u32 = 10_000;
const REQUESTS: [u32; 4] = [1, 8, 48, 512];

/// Requests that never need memory, however scattered the free blocks are: where threads meet, the
/// allocator's system calls are not ours.
const PIECES: [u32; 2] = [1, 8];

/// Set for the child.
const CHILD: &str = "LATCHLESS_TRACED_CHILD";

/// What the child says before the number of its thread.
const GREETING: &str = "trace thread ";

/// Ends a section and begins the next. Does nothing where nobody traces.
const MARK: Signal = Signal::SIGURG;

/// Stops of a section with one system call more: at its beginning and at its end.
const ONE_CALL: u32 = 2;

#[test]
fn allocate_and_free_make_no_system_call() {
    const NAME: &str = "allocate_and_free_make_no_system_call";
    if env::var_os(CHILD).is_some() {
        return sections(&pool(), &REQUESTS, None);
    }
    let [empty, pairs, planted] = stops(NAME)[..] else { panic!("three sections") };
    assert_eq!(pairs, empty, "a system call in the steady state");
    assert_eq!(planted, empty + ONE_CALL, "the tracer does not see a system call");
}

/// The same while another thread, which is not traced, allocates and frees in the same pool.
#[test]
fn threads_that_meet_make_no_system_call() {
    const NAME: &str = "threads_that_meet_make_no_system_call";
    if env::var_os(CHILD).is_some() {
        let (pool, stop, begin) = (pool(), AtomicBool::new(false), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                let agent = pool.open_account().unwrap();
                begin.wait();
                // Relaxed: nothing is handed over with it.
                while !stop.load(Ordering::Relaxed) {
                    pairs(&pool, agent, &PIECES, 1);
                }
            });
            sections(&pool, &PIECES, Some(&begin));
            stop.store(true, Ordering::Relaxed);
        });
        return;
    }
    let [empty, pairs, planted] = stops(NAME)[..] else { panic!("three sections") };
    assert_eq!(pairs, empty, "a system call in the steady state");
    assert_eq!(planted, empty + ONE_CALL, "the tracer does not see a system call");
}

fn pool() -> BlockPool {
    let spec = ModelSpec::new(1, 8, 128, 16).unwrap();
    BlockPool::new(PoolConfig::new(8_192, spec)).unwrap()
}

fn pairs(pool: &BlockPool, agent: AgentHandle, requests: &[u32], rounds: u32) {
    for _ in 0..rounds {
        for blocks in requests {
            drop(black_box(pool.allocate(agent, LAYER, *blocks).unwrap()));
        }
    }
}

/// The child's part: an empty section, one with pairs, and one with pairs and a system call.
fn sections(pool: &BlockPool, requests: &[u32], begin: Option<&Barrier>) {
    let agent = pool.open_account().unwrap();
    pairs(pool, agent, requests, 1);
    println!("{GREETING}{}", gettid());
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).unwrap();
    if let Some(begin) = begin {
        begin.wait();
    }
    raise(MARK).unwrap();
    raise(MARK).unwrap();
    pairs(pool, agent, requests, ROUNDS);
    raise(MARK).unwrap();
    pairs(pool, agent, requests, ROUNDS);
    black_box(getppid());
    raise(MARK).unwrap();
}

/// Runs a test as a child and returns how often each of its sections was stopped at a system call.
fn stops(test: &str) -> Vec<u32> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let thread = greeted(&mut stdout);
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL;
    ptrace::seize(thread, options).expect("a child can be traced; a container must allow ptrace");
    ptrace::interrupt(thread).unwrap();
    let sections = trace(thread, &mut child);
    // What else it prints is read, so that it is not stopped by a full pipe.
    let _rest = stdout.lines().count();
    assert!(child.wait().unwrap().success());
    sections
}

fn greeted(stdout: &mut impl BufRead) -> Pid {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "the child ended without a word");
        // The test harness may have written to the same line before.
        if let Some((_, number)) = line.split_once(GREETING) {
            return Pid::from_raw(number.trim().parse().unwrap());
        }
    }
}

/// Lets the thread run from stop to stop until it ends.
fn trace(thread: Pid, child: &mut Child) -> Vec<u32> {
    let mut go_on = child.stdin.take();
    let mut sections = Vec::new();
    let mut stops = None;
    loop {
        let mut pass_on = None;
        match waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return sections,
            WaitStatus::PtraceSyscall(_) => stops = stops.map(|stops: u32| stops + 1),
            WaitStatus::Stopped(_, MARK) => {
                sections.extend(stops);
                stops = Some(0);
            }
            WaitStatus::Stopped(_, other) => pass_on = Some(other),
            // The stop that was asked for: from here on it is stopped at system calls, and may begin.
            _ => {
                if let Some(mut stdin) = go_on.take() {
                    stdin.write_all(b"go on\n").unwrap();
                }
            }
        }
        ptrace::syscall(thread, pass_on).unwrap();
    }
}
