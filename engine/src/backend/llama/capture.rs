//! Why llama.cpp returned nothing: it tells only its log.
//!
//! llama-cpp-2 hands each line of that log to the dispatcher of the thread that it comes from. Making a dispatcher
//! takes a lock of the process (tracing-core has a list of them), under which a host may be frozen; so there is one for
//! all threads, made when the first model is loaded, and what it has to know is the thread's own.

use std::cell::RefCell;
use std::fmt;
use std::sync::LazyLock;

use tracing::dispatcher::{self, Dispatch};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// The target under which llama-cpp-2 sends llama.cpp's log.
const TARGET: &str = "llama-cpp-2";

static TEE: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Tee));

thread_local! {
    /// What this thread listens for, while it does.
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

struct Here {
    /// The host's dispatcher.
    outer: Dispatch,
    errors: Vec<String>,
}

/// Puts back what the thread listened for before, also when a panic unwinds.
struct Listening {
    before: Option<Here>,
}

impl Listening {
    fn begin() -> Self {
        let before = HERE.take();
        let outer = before.as_ref().map(|here| here.outer.clone());
        let outer = outer.unwrap_or_else(|| dispatcher::get_default(Clone::clone));
        HERE.set(Some(Here { outer, errors: Vec::new() }));
        Self { before }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        HERE.set(self.before.take());
    }
}

/// Does `work`, and returns with its result the first error that llama.cpp logged on this thread
/// meanwhile. The host's own subscriber sees everything as before.
pub(super) fn with_reason<T>(work: impl FnOnce() -> T) -> (T, String) {
    let listening = Listening::begin();
    let result = dispatcher::with_default(&TEE, work);
    let here = HERE.take();
    drop(listening);
    let reason = here.and_then(|here| here.errors.into_iter().next());
    (result, reason.unwrap_or_else(|| "it gave no reason".into()))
}

/// Passes everything on, and keeps the text of llama.cpp's errors.
struct Tee;

/// The host's dispatcher. Not asked for its answer under the borrow: it is the host's code.
fn outer() -> Dispatch {
    HERE.with_borrow(|here| here.as_ref().map_or_else(Dispatch::none, |here| here.outer.clone()))
}

fn is_error_of_llama(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET && *metadata.level() == Level::ERROR
}

impl Subscriber for Tee {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // For all times and threads. The host's subscribers say for themselves what they want; together with a
        // "never" of ours that means: ask, at each event.
        if is_error_of_llama(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_error_of_llama(metadata) || outer().enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // The outer subscriber is registered too and gives its own hint; the highest one counts.
        Some(LevelFilter::ERROR)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        outer().new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        outer().record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        outer().record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        if is_error_of_llama(event.metadata()) {
            let mut text = Message(String::new());
            event.record(&mut text);
            HERE.with_borrow_mut(|here| {
                if let Some(here) = here {
                    here.errors.push(text.0);
                }
            });
        }
        let outer = outer();
        if outer.enabled(event.metadata()) {
            outer.event(event);
        }
    }

    fn enter(&self, span: &Id) {
        outer().enter(span);
    }

    fn exit(&self, span: &Id) {
        outer().exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        outer().clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        outer().try_close(span)
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

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

    /// Keeps the errors that it is told of, and counts how often it is asked what it wants: for all events anew with
    /// every dispatcher that is made, under the lock.
    #[derive(Default)]
    struct Host(Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>);

    impl Subscriber for Host {
        fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
            self.1.fetch_add(1, Ordering::Relaxed);
            Interest::sometimes()
        }

        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == Level::ERROR
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut text = Message(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn the_host_s_subscriber_still_sees_all_that_it_wants() {
        let host = Host::default();
        let seen = Arc::clone(&host.0);
        let host = Dispatch::new(host);
        let ((), reason) = dispatcher::with_default(&host, || {
            with_reason(|| {
                tracing::error!("the host's own");
                tracing::warn!("not wanted");
                tracing::error!(target: "llama-cpp-2", "the cause");
            })
        });
        assert_eq!(reason, "the cause");
        assert_eq!(*seen.lock().unwrap(), ["the host's own", "the cause"]);
    }

    #[test]
    fn who_listens_makes_no_dispatcher() {
        const TIMES: usize = 1_000;
        let host = Host::default();
        let asked = Arc::clone(&host.1);
        let host = Dispatch::new(host);
        let listen = || with_reason(|| tracing::error!(target: "llama-cpp-2", "the cause"));
        dispatcher::with_default(&host, listen);
        let before = asked.load(Ordering::Relaxed);
        assert!(before > 0, "it would be seen");
        (0..TIMES).for_each(|_| drop(dispatcher::with_default(&host, listen)));
        // Other tests of this process make one now and then.
        assert!(asked.load(Ordering::Relaxed) - before < TIMES);
    }

    #[test]
    fn who_listens_within_another_or_panics_leaves_what_was_before() {
        let ((), reason) = with_reason(|| {
            let inner = with_reason(|| tracing::error!(target: "llama-cpp-2", "within"));
            assert_eq!(inner.1, "within");
            let panics = std::panic::AssertUnwindSafe(|| with_reason(|| panic!("in the middle")));
            assert!(std::panic::catch_unwind(panics).is_err());
            tracing::error!(target: "llama-cpp-2", "without");
        });
        assert_eq!(reason, "without");
        assert!(HERE.with_borrow(Option::is_none));
    }
}
