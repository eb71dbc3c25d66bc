//! Slots, threads and processes.

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use super::*;

const LONG: Duration = Duration::from_mins(10);

/// Case 32.
#[test]
fn case_32_never_above_five_with_ten_spawners_and_two_cleaners() {
    let spawner = Spawner::new(5, LONG).unwrap();
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let barrier = Barrier::new(12);
    thread::scope(|scope| {
        for number in 0..10 {
            let (spawner, running, most, barrier) = (&spawner, &running, &most, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..200 {
                    let name = format!("agent {number}");
                    let Ok(slot) = spawner.reserve(name, &Cancel::new()) else { continue };
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    assert!(slot.beat());
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..200 {
                    assert!(spawner.clean_up().is_empty(), "all of them are alive");
                }
            });
        }
    });
    assert!((1..=5).contains(&most.into_inner()));
    assert_eq!((spawner.running(), spawner.names().len()), (0, 0));
    let stats = spawner.stats();
    assert_eq!(stats.spawned + stats.refused, 2_000, "{stats:?}");
}

#[test]
fn a_panic_gives_the_slot_back_and_is_told() {
    let spawner = Spawner::new(1, LONG).unwrap();
    let agent = spawner.spawn("clumsy", |_| -> u32 { panic!("oops") }).unwrap();
    let told = agent.join().unwrap_err().to_string();
    assert_eq!(told, "the agent clumsy panicked: oops");
    assert_eq!(spawner.running(), 0);
    let full = spawner.reserve("one", &Cancel::new()).unwrap();
    let refused = spawner.spawn("two", |_| ()).unwrap_err();
    assert!(matches!(refused, SpawnError::Slots(AllSlotsTaken { limit: 1 })), "{refused}");
    drop(full);
}

#[test]
fn who_gives_no_sign_of_life_is_told_to_end_and_counts_no_more() {
    let spawner = Spawner::new(1, Duration::ZERO).unwrap();
    let (sender, told) = mpsc::channel();
    let silent = spawner.reserve("silent", &Cancel::new()).unwrap();
    let _told = silent.cancel().on_cancel(move |reason| sender.send(reason).unwrap());
    // A tick is a millisecond: sooner or later this one is over.
    while spawner.clean_up().is_empty() {
        thread::yield_now();
    }
    assert_eq!(told.recv().unwrap(), CancelReason::Silent);
    assert!(!silent.beat() && !silent.is_current());
    let next = spawner.reserve("next", &Cancel::new()).unwrap();
    drop(silent);
    assert_eq!(&*spawner.names()[0], "next", "the silent one's end is not the next one's");
    drop(next);
    assert_eq!(spawner.stats().silent, 1);
}

#[cfg(unix)]
mod processes {
    use std::process::Command;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn start(spawner: &Spawner, script: &str) -> AgentProcess {
        spawner.spawn_process("child", &mut shell(script), Vec::new(), &Cancel::new()).unwrap()
    }

    fn end(agent: &AgentProcess) -> Exit {
        agent.wait(LONG).unwrap().expect("it ends")
    }

    fn lines(agent: &AgentProcess, stream: Stream) -> Vec<String> {
        let mut of = Vec::new();
        while let Some(line) = agent.line() {
            if line.stream == stream {
                of.push(line.text);
            }
        }
        of
    }

    /// Whether the system knows a process of this number that has not ended.
    #[cfg(target_os = "linux")]
    fn runs(id: &str) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let state = status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        state.is_some_and(|state| state != 'Z' && state != 'X')
    }

    #[test]
    fn what_it_puts_out_is_kept_and_how_it_ends_is_told() {
        let spawner = Spawner::new(1, LONG).unwrap();
        let script = "read line; echo \"got $line\"; echo oops >&2; exit 3";
        let mut command = shell(script);
        let agent = spawner
            .spawn_process("child", &mut command, b"a task\n".into(), &Cancel::new())
            .unwrap();
        let exit = end(&agent);
        assert_eq!((exit.status.code(), exit.killed, exit.is_success()), (Some(3), None, false));
        assert_eq!(end(&agent), exit, "again the same");
        assert_eq!(lines(&agent, Stream::Out), ["got a task"]);
        drop(agent);
        assert_eq!(spawner.running(), 0);
    }

    #[test]
    fn a_program_that_is_not_there_takes_no_slot() {
        let spawner = Spawner::new(1, LONG).unwrap();
        let mut command = Command::new("/nowhere/no-such-program");
        let refused =
            spawner.spawn_process("child", &mut command, Vec::new(), &Cancel::new()).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("no-such-program") && said.contains("check its path"), "{said}");
        assert_eq!(spawner.running(), 0);
    }

    /// It neither waits for a reader nor fills the memory.
    #[test]
    fn a_flood_is_read_and_its_newest_lines_are_kept() {
        let spawner = Spawner::new(1, LONG).unwrap();
        let agent = start(&spawner, "seq 1 50000");
        assert!(end(&agent).is_success());
        assert_eq!(agent.lines_dropped(), 49_000);
        let kept = lines(&agent, Stream::Out);
        assert_eq!((kept.len(), &*kept[0], &*kept[999]), (1_000, "49001", "50000"));
    }

    #[test]
    fn input_that_is_not_read_holds_nobody_up() {
        let spawner = Spawner::new(1, LONG).unwrap();
        let input = vec![b'x'; 10_000_000];
        let mut command = shell("exit 0");
        let agent = spawner.spawn_process("child", &mut command, input, &Cancel::new()).unwrap();
        assert!(end(&agent).is_success());
    }

    #[test]
    fn one_that_closes_its_outputs_is_still_waited_for() {
        let spawner = Spawner::new(1, LONG).unwrap();
        let agent = start(&spawner, "exec >&- 2>&-; read nothing; exit 7");
        assert_eq!(end(&agent).status.code(), Some(7));
    }

    #[cfg(target_os = "linux")]
    type Ending = fn(AgentProcess, &Cancel) -> Option<Exit>;

    /// Dropped, killed, cancelled: each time it and those that it started are gone, and reaped.
    #[test]
    #[cfg(target_os = "linux")]
    fn it_is_killed_with_all_that_it_started() {
        let script = "sleep 1000 & echo $!; wait";
        let parent = Cancel::new();
        let endings: [(Ending, Option<CancelReason>); 3] = [
            (
                |agent, _| {
                    drop(agent);
                    None
                },
                None,
            ),
            (
                |agent, _| {
                    agent.kill(CancelReason::TimeLimit);
                    Some(end(&agent))
                },
                Some(CancelReason::TimeLimit),
            ),
            (
                |agent, parent| {
                    parent.cancel(CancelReason::User);
                    Some(end(&agent))
                },
                Some(CancelReason::User),
            ),
        ];
        let spawner = Spawner::new(1, LONG).unwrap();
        for (ending, reason) in endings {
            let agent =
                spawner.spawn_process("child", &mut shell(script), Vec::new(), &parent).unwrap();
            let grandchild = loop {
                match agent.line() {
                    Some(line) => break line.text,
                    None => thread::yield_now(),
                }
            };
            let child = agent.id().to_string();
            assert!(runs(&child) && runs(&grandchild));
            let exit = ending(agent, &parent);
            assert_eq!(exit.and_then(|exit| exit.killed), reason);
            assert!(!std::path::Path::new(&format!("/proc/{child}")).exists(), "a zombie");
            while runs(&grandchild) {
                thread::yield_now();
            }
            assert_eq!(spawner.running(), 0);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_it_leaves_running_ends_with_it() {
        let spawner = Spawner::new(1, LONG).unwrap();
        let agent = start(&spawner, "sleep 1000 & echo $!; exit 0");
        assert!(end(&agent).is_success());
        let left = lines(&agent, Stream::Out).remove(0);
        while runs(&left) {
            thread::yield_now();
        }
    }
}
