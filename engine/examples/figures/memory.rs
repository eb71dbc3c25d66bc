//! What stays in memory when models have been replaced.
//!
//! In a process of its own whose C++ allocations come from one arena, and the large ones from the system:
//! glibc gives each thread another arena, and each keeps what the largest model in it took, so that a process
//! with several threads looks as if it kept models. Small pieces, a vocabulary's strings, leave holes all the
//! same.

use std::error::Error;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use latchless_engine::backend::llama::{LlamaModel, LoadError, ModelOptions};
use latchless_engine::{Engine, EngineConfig, Event, Request, Token};

use crate::Bench;
use crate::report::Report;

pub(crate) const GROUP: &str = "memory";

/// Settings of glibc's allocator; it reads them when a process starts.
const SETTINGS: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
];

/// Memory of this process that is not a mapped file, in MiB.
fn anonymous_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("RssAnon:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
    });
    kib.unwrap_or(f64::NAN) / 1024.0
}

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
    if SETTINGS.iter().all(|(name, value)| env::var(name).is_ok_and(|is| is == *value)) {
        return replaced(bench, report);
    }
    let file = tempfile::NamedTempFile::new()?;
    let mut child = Command::new(env::current_exe()?);
    child.envs(SETTINGS).args(["--only", GROUP, "--silent"]);
    child.arg("--model").arg(&bench.path).arg("--json").arg(file.path());
    if bench.quick {
        child.arg("--quick");
    }
    if let Some(threads) = bench.threads {
        child.args(["--threads", &threads.to_string()]);
    }
    let ended = child.status()?;
    if !ended.success() {
        return Err(format!("the process that measures memory ended with {ended}").into());
    }
    report.take_over(&fs::read(file.path())?)
}

/// One more model a round, in place of the one before.
fn replaced(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let load = || -> Result<_, LoadError> {
        let model = LlamaModel::load(&bench.path, &ModelOptions::default())?;
        Ok([model.context(&bench.options(4096, 4))?])
    };
    let engine = Engine::start_lanes(load()?, EngineConfig::default())?;
    let agent = engine.agent("host")?;
    let ask = |tokens: u32| {
        let prompt = (0..200).map(|index| Token(3000 + index));
        engine.submit(agent, Request::tokens(prompt).max_tokens(tokens))
    };
    drop(ask(20)?.wait());
    let one = anonymous_mib();
    let (mut both, mut after) = (0.0_f64, Vec::new());
    let swaps = bench.rounds(8, 3);
    for _ in 0..swaps {
        // The old one is still answering when the new one is there.
        let mut last = ask(1_000)?;
        while !matches!(last.recv(), Some(Event::Token { .. }) | None) {}
        let old = engine.swap(load)?;
        drop(ask(20)?.wait());
        both = both.max(anonymous_mib());
        last.cancel();
        drop(last);
        old.wait(Duration::MAX)?;
        after.push(anonymous_mib());
    }
    report.add(GROUP, "one model, and its first answer", one, "MiB", None);
    report.add(GROUP, format!("the most with two of them, {swaps} swaps"), both, "MiB", None);
    let wanted = Some("at most 2");
    report.add(GROUP, "two models ÷ one", both / one, "", wanted);
    for (which, after) in [("first", after.first()), ("last", after.last())] {
        let figure = format!("after the {which} swap ÷ before");
        report.add(GROUP, figure, after.map_or(f64::NAN, |after| after / one), "", Some("about 1"));
    }
    Ok(())
}
