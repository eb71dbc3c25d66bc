//! What the metrics are called, and that the table and the dashboard in `docs/` are of these metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use latchless::observe::{
    self, Kind, Metric, Observe, OutboxSnapshot, PoolLatencies, PoolSnapshot, SpawnSnapshot,
    TaskQueueSnapshot, Unit,
};
use latchless::{Census, DirectoryContention, PlanContention, TablePins};
use latchless_engine::cache::WriterReport;
use latchless_engine::store::StoreStats;
use latchless_engine::{EngineSnapshot, LaneSnapshot};
use serde_json::Value;

/// All parts of all metrics, in the order of the table.
fn parts() -> Vec<Metric> {
    fn of<S: Observe>() -> Vec<Metric> {
        observe::metrics::<S>().collect()
    }
    [
        of::<LaneSnapshot>(),
        of::<EngineSnapshot>(),
        of::<WriterReport>(),
        of::<PoolSnapshot>(),
        of::<PoolLatencies>(),
        of::<Census>(),
        of::<TaskQueueSnapshot>(),
        of::<SpawnSnapshot>(),
        of::<OutboxSnapshot>(),
        of::<PlanContention>(),
        of::<TablePins>(),
        of::<DirectoryContention>(),
        of::<StoreStats>(),
    ]
    .concat()
}

/// A file of this repository's `docs`.
fn docs(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn names_say_what_kind_and_unit_they_are_of() {
    for Metric { name, kind, unit, meaning, .. } in parts() {
        assert!(name.starts_with("latchless_"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        let base = name.trim_end_matches("_total");
        assert_eq!(base.ends_with("_seconds"), unit == Unit::Seconds, "{name}");
        assert_eq!(base.ends_with("_nanoseconds"), unit == Unit::Nanoseconds, "{name}");
        assert_eq!(base.ends_with("_bytes"), unit == Unit::Bytes, "{name}");
        assert!(!meaning.ends_with('.') && !meaning.contains('|'), "{name}: {meaning}");
    }
}

#[test]
fn parts_of_one_metric_differ_by_their_label_alone() {
    let mut seen: BTreeMap<&str, Metric> = BTreeMap::new();
    let mut values = BTreeSet::new();
    for part in parts() {
        assert!(values.insert((part.name, part.label)), "{part:?} is there twice");
        let first = *seen.entry(part.name).or_insert(part);
        let key = |metric: Metric| metric.label.map(|(key, _)| key);
        assert_eq!(Metric { label: None, ..first }, Metric { label: None, ..part });
        assert_eq!(key(first), key(part), "{}", part.name);
        assert_ne!(key(part), Some("lane"), "the label of all that is of a lane");
    }
}

#[test]
fn the_table_lists_every_metric() {
    let mut table =
        String::from("| metric | type | unit | label | meaning |\n|---|---|---|---|---|\n");
    let mut rows: Vec<(Metric, Vec<&str>)> = Vec::new();
    for part in parts() {
        match rows.iter_mut().find(|(metric, _)| metric.name == part.name) {
            Some((_, values)) => values.extend(part.label.map(|(_, value)| value)),
            None => rows.push((part, part.label.iter().map(|(_, value)| *value).collect())),
        }
    }
    for (Metric { name, kind, unit, meaning, label }, values) in rows {
        let (kind, unit) = (format!("{kind:?}").to_lowercase(), format!("{unit:?}").to_lowercase());
        let label = label.map(|(key, _)| format!("`{key}`: {}", values.join(", ")));
        let label = label.unwrap_or_default();
        writeln!(table, "| `{name}` | {kind} | {unit} | {label} | {meaning} |").unwrap();
    }
    let page = docs("observability.md");
    assert!(page.contains(&table), "docs/observability.md is to have this table:\n{table}");
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(&docs("grafana/latchless.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut shown = BTreeSet::new();
    for target in targets {
        let expression = target["expr"].as_str().unwrap();
        let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| word.starts_with("latchless_")) {
            shown.insert(word.trim_end_matches("_bucket").to_owned());
        }
    }
    let known: BTreeSet<_> = parts().iter().map(|part| part.name.to_owned()).collect();
    assert_eq!(shown, known);
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels with one id");
}

/// What an engine did is in its snapshot, and nowhere twice.
mod values {
    use latchless_engine::backend::scripted::{Script, ScriptedBackend};
    use latchless_engine::{Engine, EngineConfig, Request, TokenStream};

    #[test]
    fn a_lane_counts_what_its_steps_and_its_completions_say() {
        let backend = ScriptedBackend::builder(Script::Babble { tokens: 5 }).build();
        let (engine, mut lane) = Engine::new(backend, EngineConfig::default()).unwrap();
        let agent = engine.agent("planner").unwrap();
        let mut streams = ["one", "two", "three"]
            .map(|prompt| engine.submit(agent, Request::text(prompt).max_tokens(3)).unwrap());
        let mut cancelled = engine.submit(agent, Request::text("four")).unwrap();
        assert!(engine.cancel(cancelled.id()));
        let (mut steps, mut rows, mut admitted) = (0, [0, 0], 0);
        loop {
            let report = lane.step();
            steps += 1;
            rows[0] += u64::from(report.prefill_rows);
            rows[1] += u64::from(report.decode_rows);
            admitted += u64::from(report.admitted);
            if !report.progressed() {
                break;
            }
        }
        let usage_of = |stream: &mut TokenStream| {
            stream.events().for_each(drop);
            stream.completion().unwrap().usage
        };
        let usage = streams.each_mut().map(usage_of);
        let of_cancelled = usage_of(&mut cancelled);
        let snapshot = engine.snapshot();
        assert_eq!((snapshot.requests, snapshot.lanes.len(), snapshot.pools.len()), (0, 1, 1));
        let lane = &snapshot.lanes[0];
        assert_eq!(lane.steps, steps);
        assert_eq!([lane.prefill_rows, lane.decode_rows], rows);
        assert_eq!(lane.admitted, admitted);
        assert_eq!((lane.ended.length, lane.ended.cancelled, lane.ended.all()), (3, 1, 4));
        let sum = |of: fn(&latchless_engine::Usage) -> u32| -> u64 {
            usage.iter().map(|usage| u64::from(of(usage))).sum()
        };
        assert_eq!(lane.generated_tokens, sum(|usage| usage.generated_tokens));
        let prompts = sum(|usage| usage.prompt_tokens) + u64::from(of_cancelled.prompt_tokens);
        assert_eq!(lane.prompt_tokens, prompts);
        assert_eq!((lane.queued.count(), lane.first_token.count(), lane.total.count()), (3, 3, 4));
        assert!(lane.batch.count() > 0 && lane.batch.count() <= steps);
        assert_eq!((lane.running, lane.waiting), (0, 0));
        assert_eq!(lane.idle_sequences, 3, "kept for the agent's next turn");
    }

    #[test]
    fn refused_submits_are_counted_by_reason() {
        let backend = ScriptedBackend::builder(Script::Echo).build();
        let config = EngineConfig::default().max_requests(1);
        let (engine, _lane) = Engine::new(backend, config).unwrap();
        let agent = engine.agent("planner").unwrap();
        let submit = |text: &str| engine.submit(agent, Request::text(text));
        let _first = submit("a").unwrap();
        assert!(submit("b").is_err() && submit("").is_err());
        engine.shutdown();
        assert!(submit("c").is_err());
        let refused = engine.snapshot().refused;
        assert_eq!((refused.requests, refused.invalid, refused.closed), (1, 1, 1));
        assert_eq!((refused.blocks, refused.draining), (0, 0));
    }
}

/// What goes to the log, and what must not.
mod events {
    use std::fmt::{Debug, Write};
    use std::sync::{Arc, Mutex};

    use latchless_engine::backend::scripted::{Script, ScriptedBackend};
    use latchless_engine::{Engine, EngineConfig, Request};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// Writes everything down, one line for each span and each event.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }

    impl Log {
        fn note(&self, metadata: &Metadata<'_>, fields: impl FnOnce(&mut Line)) {
            let mut line = Line(format!("{} {}", metadata.level(), metadata.target()));
            fields(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, span: &Attributes<'_>) -> Id {
            self.note(span.metadata(), |line| {
                let _ = write!(line.0, " span {}", span.metadata().name());
                span.record(line);
            });
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            self.note(event.metadata(), |line| event.record(line));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_request_leaves_its_way_and_not_its_words() {
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), || {
            let backend = ScriptedBackend::builder(Script::Text("an open secret".into())).build();
            let (engine, mut lane) = Engine::new(backend, EngineConfig::default()).unwrap();
            let agent = engine.agent("planner").unwrap();
            let mut stream = engine.submit(agent, Request::text("a prompt's secret")).unwrap();
            lane.run_until_idle(100);
            stream.events().for_each(drop);
            let (_old, _lanes) =
                engine.swap_stepped([ScriptedBackend::builder(Script::Echo).build()]).unwrap();
        });
        let lines = log.0.lock().unwrap();
        for said in [
            "DEBUG latchless_engine::engine::submit span submit",
            "submitted request=1",
            "admitted request=1",
            "TRACE latchless_engine::engine::lane span batch lane=0 sequences=1",
            "request ended request=1 reason=end of generation",
            "INFO latchless_engine::engine::swap span load generation=1",
            "the model was replaced",
        ] {
            let words: Vec<_> = said.split(' ').collect();
            let found = lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
            assert!(found, "{said:?} in {lines:#?}");
        }
        assert!(!lines.iter().any(|line| line.contains("secret")), "{lines:#?}");
        let batches = lines.iter().filter(|line| line.contains("span batch")).count();
        let tokens = "an open secret".len();
        assert!(batches > tokens && lines.len() < 3 * tokens, "nothing else for each token");
    }
}
