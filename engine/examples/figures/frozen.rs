//! Host threads that are frozen at any instruction, and what the lane's steps show of it.
//!
//! Six threads submit, cancel and read as fast as they can, and each is stopped for 200 ms again and again.
//! The lane has a core of its own, and computes with a script: a step takes microseconds, so that a wait
//! would stand out. Beside it stand the same threads with the same pauses, taken where they hold nothing,
//! and the same freezes around one mutex, which shows that the figure can see a wait. Steps in which the
//! system took the core away from the lane are left out: they say nothing of anybody's waiting.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use latchless::{AgentHandle, RequestId};
use latchless_engine::backend::scripted::{Script, ScriptedBackend};
use latchless_engine::{
    Engine, EngineConfig, Event, Lane, Request, SubmitError, TokenStream, TryRecvError,
};
use latchless_freezing::{Enlisted, Victim, times_preempted};

use crate::Bench;
use crate::report::{Report, micros, percentile};

const GROUP: &str = "frozen";

/// How long a host is stopped.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest time between two of its pauses.
const LONGEST_GAP: Duration = Duration::from_millis(30);

/// What the script says to everybody.
const SAID: &str = "on and on it goes, ";

/// Requests of the lane's own, so that there is something to compute whoever is stopped.
const TALKERS: u32 = 4;

/// What a host does all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Submits,
    Cancels,
    Reads,
}

const HOSTS: [Role; 6] =
    [Role::Submits, Role::Submits, Role::Cancels, Role::Cancels, Role::Reads, Role::Reads];

/// What is done to the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They pause where they hold nothing.
    Rest,
    /// They are stopped wherever they are.
    Freeze,
    /// As before, and hosts and lane take one mutex.
    Locked,
}

/// What the hosts and those who stop them share.
struct World {
    engine: Engine,
    mode: Mode,
    lock: Mutex<()>,
    stop: AtomicBool,
    /// Pauses that are asked of each host.
    rests: [AtomicU32; HOSTS.len()],
    /// The requests that were submitted last, to be cancelled by others.
    recent: [AtomicU64; 64],
    /// Requests that were read to their end.
    read: AtomicU64,
    /// Tokens of these that did not come, or came otherwise than they were said.
    lost: AtomicU64,
    cancelled: AtomicU64,
}

impl World {
    /// What a host does with the engine, under the mutex where there is one.
    fn locked<T>(&self, work: impl FnOnce() -> T) -> T {
        let lock = || self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let _held = (self.mode == Mode::Locked).then(lock);
        work()
    }

    fn submit(&self, agent: AgentHandle, tokens: u32) -> Option<TokenStream> {
        let asked = Request::text("go").max_tokens(tokens);
        match self.locked(|| self.engine.submit(agent, asked)) {
            Ok(stream) => {
                let place = stream.id().0 as usize % self.recent.len();
                self.recent[place].store(stream.id().0, Ordering::Relaxed);
                Some(stream)
            }
            Err(SubmitError::TooManyRequests { .. } | SubmitError::Closed) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn host(&self, place: usize, agent: AgentHandle) {
        let mut rested = 0;
        let mut dice = fastrand::Rng::with_seed(place as u64);
        while !self.stop.load(Ordering::Acquire) {
            let asked = self.rests[place].load(Ordering::Acquire);
            if asked != rested {
                thread::sleep(PAUSE);
                rested = asked;
            }
            match HOSTS[place] {
                // Dropping the stream cancels.
                Role::Submits => drop(self.submit(agent, dice.u32(1..32))),
                Role::Cancels => {
                    let id = self.recent[dice.usize(..self.recent.len())].load(Ordering::Relaxed);
                    let hit = self.locked(|| self.engine.cancel(RequestId(id)));
                    self.cancelled.fetch_add(hit.into(), Ordering::Relaxed);
                }
                Role::Reads => {
                    if let Some(stream) = self.submit(agent, dice.u32(1..32)) {
                        self.read_to_end(stream);
                    }
                }
            }
        }
    }

    fn read_to_end(&self, mut stream: TokenStream) {
        let mut text = String::new();
        loop {
            match self.locked(|| stream.try_recv()) {
                Ok(Event::Finished(completion)) => {
                    let said = completion.usage.generated_tokens as usize;
                    let right = SAID.bytes().cycle().zip(text.bytes()).take_while(|(a, b)| a == b);
                    let right = right.count().min(said);
                    self.lost.fetch_add((said.max(text.len()) - right) as u64, Ordering::Relaxed);
                    self.read.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Ok(event) => text.push_str(event.text()),
                Err(TryRecvError::Ended) => return,
                Err(TryRecvError::Empty) if self.stop.load(Ordering::Acquire) => return,
                Err(TryRecvError::Empty) => thread::yield_now(),
            }
        }
    }

    /// Stops one host `times` times.
    fn stop_again_and_again(&self, place: usize, victim: Victim, times: u32) -> io::Result<()> {
        let mut dice = fastrand::Rng::with_seed(1_000 + place as u64);
        for _ in 0..times {
            thread::sleep(Duration::from_nanos(dice.u64(..LONGEST_GAP.as_nanos() as u64)));
            if self.mode == Mode::Rest {
                self.rests[place].fetch_add(1, Ordering::Release);
                thread::sleep(PAUSE);
            } else {
                victim.freeze(PAUSE)?;
            }
        }
        Ok(())
    }
}

/// What a run showed.
struct Run {
    steps: Steps,
    world: World,
}

/// Steps of the lane.
#[derive(Default)]
struct Steps {
    /// What those took that had their core to themselves.
    times: Vec<Duration>,
    /// The others.
    preempted: u64,
    rows: u64,
}

/// Steps until the hosts have been stopped often enough.
fn steps(
    lane: &mut Lane<ScriptedBackend>,
    world: &World,
    done: &AtomicBool,
    own: AgentHandle,
) -> Result<Steps, SubmitError> {
    let mut steps = Steps::default();
    let mut talkers = Vec::new();
    while !done.load(Ordering::Acquire) {
        while talkers.len() < TALKERS as usize {
            match world.engine.submit(own, Request::text("talk").max_tokens(1_000)) {
                Ok(stream) => talkers.push(stream),
                // The hosts have filled the engine: the next step makes room.
                Err(SubmitError::TooManyRequests { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        let before = times_preempted();
        let start = Instant::now();
        let report = world.locked(|| lane.step());
        let took = start.elapsed();
        steps.rows += u64::from(report.decode_rows + report.prefill_rows);
        if times_preempted() == before {
            steps.times.push(took);
        } else {
            steps.preempted += 1;
        }
        for talker in &mut talkers {
            while talker.try_recv().is_ok() {}
        }
        talkers.retain(|talker| talker.completion().is_none());
    }
    Ok(steps)
}

fn run(mode: Mode, times: u32) -> Result<Run, Box<dyn Error>> {
    let backend = ScriptedBackend::builder(Script::Endless(SAID.into()))
        .sequences(24)
        .cells(24 * 1_100)
        .tokens_per_sequence(1_100)
        .build();
    let config = EngineConfig::default().max_requests(48).idle_tokens(0).stream_events(64);
    let (engine, mut lane) = Engine::new(backend, config)?;
    let own = engine.agent("talker")?;
    let world = World {
        engine,
        mode,
        lock: Mutex::new(()),
        stop: AtomicBool::new(false),
        rests: [const { AtomicU32::new(0) }; HOSTS.len()],
        recent: [const { AtomicU64::new(0) }; 64],
        read: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        cancelled: AtomicU64::new(0),
    };
    let agents = (0..HOSTS.len()).map(|place| world.engine.agent(&format!("host {place}")));
    let agents = agents.collect::<Result<Vec<_>, _>>()?;
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let done = AtomicBool::new(false);
    let steps = thread::scope(|scope| {
        let (world, done) = (&world, &done);
        let lane = &mut lane;
        let stepping = scope.spawn({
            let core = cores.first().copied();
            move || {
                core.map(core_affinity::set_for_current);
                steps(lane, world, done, own)
            }
        });
        let (ready, victims) = channel();
        for (place, agent) in agents.into_iter().enumerate() {
            let ready: Sender<_> = ready.clone();
            // All hosts on the others: the lane is not to wait for a core.
            let core = cores.get(1..).filter(|others| !others.is_empty());
            let core = core.map(|others| others[place % others.len()]);
            scope.spawn(move || {
                core.map(core_affinity::set_for_current);
                let enlisted = Enlisted::this_thread().expect("few threads, each enlisted once");
                let _heard = ready.send((place, enlisted.victim()));
                drop(ready);
                world.host(place, agent);
            });
        }
        drop(ready);
        let each = times.div_ceil(HOSTS.len() as u32);
        let stoppers: Vec<_> = victims
            .iter()
            .map(|(place, victim)| {
                scope.spawn(move || world.stop_again_and_again(place, victim, each))
            })
            .collect();
        let stopped: Vec<_> = stoppers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        world.stop.store(true, Ordering::Release);
        done.store(true, Ordering::Release);
        let steps = stepping.join().map_err(|_| "the lane panicked")??;
        for stopped in stopped {
            stopped.map_err(|_| "a thread that stops others panicked")??;
        }
        Ok::<_, Box<dyn Error>>(steps)
    })?;
    Ok(Run { steps, world })
}

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let times = bench.rounds(360, 12) as u32;
    for (mode, name) in [
        (Mode::Rest, "hosts at rest"),
        (Mode::Freeze, "hosts frozen"),
        (Mode::Locked, "hosts frozen, with one mutex"),
    ] {
        // With a mutex a few are enough to be seen.
        let times = if mode == Mode::Locked { times / 6 } else { times };
        let Run { mut steps, world } = run(mode, times)?;
        report.add(GROUP, format!("{name}: pauses of 200 ms"), times.into(), "", None);
        let Steps { times: steps, preempted, rows } = &mut steps;
        let count = steps.len() as f64;
        report.add(GROUP, format!("{name}: steps"), count, "", None);
        report.add(GROUP, format!("{name}: steps left out"), *preempted as f64, "", None);
        let rows = *rows as f64 / (count + *preempted as f64);
        report.add(GROUP, format!("{name}: rows a step"), rows, "", None);
        for (part, of) in [("p50", 0.5), ("p99", 0.99), ("p99.99", 0.9999), ("longest", 1.0)] {
            let wanted = (mode == Mode::Freeze).then_some("as at rest");
            let time = micros(percentile(steps, of));
            report.add(GROUP, format!("{name}: a step, {part}"), time, "µs", wanted);
        }
        let long = steps.iter().filter(|step| **step > PAUSE / 10).count() as f64;
        let wanted = (mode == Mode::Freeze).then_some("0");
        report.add(GROUP, format!("{name}: steps above 20 ms"), long, "", wanted);
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let figure = format!("{name}: requests read to their end");
        report.add(GROUP, figure, count(&world.read), "", None);
        let figure = format!("{name}: requests cancelled by others");
        report.add(GROUP, figure, count(&world.cancelled), "", None);
        report.add(GROUP, format!("{name}: tokens lost"), count(&world.lost), "", Some("0"));
    }
    Ok(())
}
