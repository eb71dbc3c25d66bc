//! Handing an engine's snapshot to the recorder that the host has installed with the crate `metrics`.

use latchless::observe::{self, PoolSnapshot};

use crate::cache::WriterReport;
use crate::engine::{EngineSnapshot, LaneSnapshot};

/// Tells the recorder names, units and meanings of all that [`export`] will hand to it. For once, after the
/// recorder was installed.
pub fn describe() {
    observe::describe::<EngineSnapshot>();
    observe::describe::<LaneSnapshot>();
    observe::describe::<PoolSnapshot>();
    observe::describe::<WriterReport>();
}

/// Hands the numbers of an engine to the recorder: those of the engine and its cache with `labels`, those of
/// each lane and its pool with the label `lane`, too. For a thread that may wait, as often as somebody looks;
/// see [`latchless::observe::export`].
///
/// ```
/// use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// use latchless_engine::{Engine, EngineConfig, observe};
/// use metrics_exporter_prometheus::PrometheusBuilder;
///
/// let backend = ScriptedBackend::builder(Script::Echo).build();
/// let (engine, _lane) = Engine::new(backend, EngineConfig::default())?;
/// let recorder = PrometheusBuilder::new().build_recorder();
/// metrics::with_local_recorder(&recorder, || {
///     observe::describe();
///     observe::export(&engine.snapshot(), &[]);
/// });
/// let page = recorder.handle().render();
/// assert!(page.contains("latchless_lane_steps_total{lane=\"0\"} 0"), "{page}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn export(snapshot: &EngineSnapshot, labels: &[(&'static str, &str)]) {
    observe::export(snapshot, labels);
    if let Some(cache) = &snapshot.cache {
        observe::export(cache, labels);
    }
    for (lane, pool) in snapshot.lanes.iter().zip(&snapshot.pools) {
        let number = lane.lane.to_string();
        let labels: Vec<_> = labels.iter().copied().chain([("lane", number.as_str())]).collect();
        observe::export(lane, &labels);
        observe::export(pool, &labels);
    }
}
