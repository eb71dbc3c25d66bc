//! Why llama.cpp returned nothing: it tells only its log.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::dispatcher::{self, Dispatch};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The target under which llama-cpp-2 sends llama.cpp's log.
const TARGET: &str = "llama-cpp-2";

/// Does `work`, and returns with its result the first error that llama.cpp logged on this thread
/// meanwhile. The host's own subscriber sees everything as before.
pub(super) fn with_reason<T>(work: impl FnOnce() -> T) -> (T, String) {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let outer = dispatcher::get_default(Clone::clone);
    let tee = Dispatch::new(Tee { outer, errors: Arc::clone(&errors) });
    let result = dispatcher::with_default(&tee, work);
    let errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
    let reason = errors.first().cloned().unwrap_or_else(|| "it gave no reason".into());
    (result, reason)
}

/// Passes everything on, and keeps the text of llama.cpp's errors.
struct Tee {
    outer: Dispatch,
    errors: Arc<Mutex<Vec<String>>>,
}

fn is_error_of_llama(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET && *metadata.level() == Level::ERROR
}

impl Subscriber for Tee {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_error_of_llama(metadata) || self.outer.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // The outer subscriber is registered too and gives its own hint; the highest one counts.
        Some(LevelFilter::ERROR)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.outer.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.outer.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.outer.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        if is_error_of_llama(event.metadata()) {
            let mut text = Message(String::new());
            event.record(&mut text);
            self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(text.0);
        }
        if self.outer.enabled(event.metadata()) {
            self.outer.event(event);
        }
    }

    fn enter(&self, span: &Id) {
        self.outer.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.outer.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.outer.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.outer.try_close(span)
    }
}

/// The text of one event.
struct Message(String);

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.trim_end().clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_of_llama_is_the_reason() {
        let (result, reason) = with_reason(|| {
            tracing::error!("not llama's");
            tracing::warn!(target: "llama-cpp-2", "a warning");
            tracing::error!(target: "llama-cpp-2", "the cause");
            tracing::error!(target: "llama-cpp-2", "the consequence");
            7
        });
        assert_eq!((result, reason.as_str()), (7, "the cause"));
        assert_eq!(with_reason(|| ()).1, "it gave no reason");
    }

    /// The host's subscriber sees llama's errors, as it did before.
    #[test]
    fn the_outer_subscriber_still_sees_them() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let outer = Tee { outer: Dispatch::none(), errors: Arc::clone(&seen) };
        let ((), reason) = dispatcher::with_default(&Dispatch::new(outer), || {
            with_reason(|| tracing::error!(target: "llama-cpp-2", "the cause"))
        });
        assert_eq!(reason, "the cause");
        assert_eq!(*seen.lock().unwrap(), ["the cause"]);
    }
}
