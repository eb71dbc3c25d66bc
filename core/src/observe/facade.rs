//! Handing snapshots to the recorder that the host has installed with the crate `metrics`.

use metrics::{Key, KeyName, Label, Level, Metadata, SharedString, with_recorder};

use super::{Kind, Observe, Sample, Unit, Value, samples};

const METADATA: Metadata<'static> = Metadata::new("latchless", Level::INFO, Some(module_path!()));

impl From<Unit> for metrics::Unit {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::Count => Self::Count,
            Unit::Seconds => Self::Seconds,
            Unit::Nanoseconds => Self::Nanoseconds,
            Unit::Bytes => Self::Bytes,
        }
    }
}

/// Tells the recorder names, units and meanings of the metrics of a kind of snapshots. For once, after the
/// recorder was installed.
pub fn describe<S: Observe>() {
    with_recorder(|recorder| {
        for metric in super::metrics::<S>() {
            let tell = |suffix: &str| {
                let name = KeyName::from(format!("{}{suffix}", metric.name));
                let unit = Some(metrics::Unit::from(metric.unit));
                let meaning = SharedString::const_str(metric.meaning);
                match metric.kind {
                    Kind::Gauge => recorder.describe_gauge(name, unit, meaning),
                    Kind::Counter | Kind::Histogram => {
                        recorder.describe_counter(name, unit, meaning);
                    }
                }
            };
            if metric.kind == Kind::Histogram {
                tell("_bucket");
                tell("_count");
            } else {
                tell("");
            }
        }
    });
}

/// Hands the numbers of a snapshot to the recorder, each with these labels beside its own. Without a
/// recorder nothing happens.
///
/// It runs the recorder's code and allocates the keys: for a thread that may wait, as often as somebody
/// looks.
///
/// ```
/// use latchless::observe::{PoolSnapshot, describe, export};
/// use latchless::{BlockPool, ModelSpec, PoolConfig};
/// use metrics_exporter_prometheus::PrometheusBuilder;
///
/// let pool = BlockPool::new(PoolConfig::new(20, ModelSpec::new(4, 8, 128, 16)?))?;
/// let recorder = PrometheusBuilder::new().build_recorder();
/// metrics::with_local_recorder(&recorder, || {
///     describe::<PoolSnapshot>();
///     export(&pool.snapshot(), &[("pool", "main")]);
/// });
/// let page = recorder.handle().render();
/// assert!(page.contains("latchless_pool_blocks_free{pool=\"main\"} 20"), "{page}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn export<S: Observe>(snapshot: &S, labels: &[(&'static str, &str)]) {
    with_recorder(|recorder| {
        samples(snapshot, |Sample { name, label, value }| {
            let labels = labels.iter().copied().chain(label);
            let labels = labels.map(|(key, value)| Label::new(key, value.to_owned()));
            let key = Key::from_parts(name.to_owned(), labels.collect::<Vec<_>>());
            match value {
                Value::Counter(count) => {
                    recorder.register_counter(&key, &METADATA).absolute(count);
                }
                Value::Gauge(value) => recorder.register_gauge(&key, &METADATA).set(value),
            }
        });
    });
}
