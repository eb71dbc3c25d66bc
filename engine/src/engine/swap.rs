//! Replacing the model while requests run.
//!
//! The new generation (model, contexts, pools, threads) is made beside the old one, and published by one
//! store: a submit that reads the old one finds its gate retired and reads again. What the old one has
//! accepted it finishes, on its own threads, which then drop it. Sequences never move between models.
//! Nothing is changed until all that can fail has succeeded.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, TryLockError};
use std::time::Duration;

use super::error::{Draining, EngineError, SwapError};
use super::generation::Watch;
use super::handle::{Engine, end_lanes, shutdown};
use super::lane::Lane;
use crate::backend::Backend;

/// A generation that was replaced and finishes what it has accepted.
///
/// ```
/// use latchless_engine::{Engine, EngineConfig, Request, Retiring};
/// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
/// # let backend = || ScriptedBackend::builder(Script::Text("Because.".into())).build();
/// # let engine = Engine::start(backend(), EngineConfig::default())?;
/// # let agent = engine.agent("planner")?;
/// use std::time::Duration;
///
/// let before = engine.submit(agent, Request::text("Why?"))?;
/// let old: Retiring = engine.swap(|| Ok::<_, std::io::Error>([backend()]))?;
/// assert_eq!(before.wait().text, "Because.");
/// old.wait(Duration::MAX)?;
/// assert!(old.is_gone());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Retiring(Arc<Watch>);

impl Retiring {
    /// Requests of it that have not ended.
    pub fn remaining(&self) -> u32 {
        self.0.remaining()
    }

    /// Whether it is gone: all its requests have ended, and its contexts are dropped.
    pub fn is_gone(&self) -> bool {
        self.0.is_gone()
    }

    /// Waits until it is gone, at most `timeout`.
    ///
    /// Not for the thread that steps its lane: it would wait for itself.
    ///
    /// # Errors
    /// [`Draining`] says how many requests have not ended.
    pub fn wait(&self, timeout: Duration) -> Result<(), Draining> {
        self.0.wait(timeout)
    }
}

impl fmt::Debug for Retiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retiring")
            .field("remaining", &self.remaining())
            .field("is_gone", &self.is_gone())
            .finish()
    }
}

impl Engine {
    /// Replaces the model: requests that are submitted from now on are answered by what `load` gives, those
    /// that were accepted before by what accepted them. Each lane that `load` gives a context for has a
    /// thread.
    ///
    /// The calling thread loads; nobody else waits for it, not even a submitter. Agents keep their handles.
    /// The geometry may differ. Two models are in memory until the old one has finished; it is dropped by
    /// its own thread.
    ///
    /// # Errors
    /// [`SwapError`]; everything is as before then.
    ///
    /// ```
    /// # use latchless_engine::backend::scripted::{Script, ScriptedBackend};
    /// # use latchless_engine::{Engine, EngineConfig, Request};
    /// # use std::time::Duration;
    /// # let says = |text: &str| ScriptedBackend::builder(Script::Text(text.into())).build();
    /// let engine = Engine::start(says("old"), EngineConfig::default())?;
    /// let agent = engine.agent("planner")?;
    /// let before = engine.submit(agent, Request::text("Who?"))?;
    /// let old = engine.swap(|| Ok::<_, std::io::Error>([says("new")]))?;
    /// assert_eq!(engine.submit(agent, Request::text("Who?"))?.wait().text, "new");
    /// assert_eq!(before.wait().text, "old");
    /// old.wait(Duration::MAX)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn swap<B, E, C>(
        &self,
        load: impl FnOnce() -> Result<C, E>,
    ) -> Result<Retiring, SwapError<E>>
    where
        B: Backend,
        C: IntoIterator<Item = B>,
    {
        let spawned = |lanes: Vec<Lane<B>>| lanes.into_iter().try_for_each(Lane::spawn);
        Ok(self.swap_with(load, spawned)?.0)
    }

    /// As [`swap`](Self::swap), with lanes that the host steps itself.
    ///
    /// # Errors
    /// [`SwapError`]; everything is as before then.
    pub fn swap_stepped<B: Backend>(
        &self,
        contexts: impl IntoIterator<Item = B>,
    ) -> Result<(Retiring, Vec<Lane<B>>), SwapError<Infallible>> {
        self.swap_with(|| Ok(contexts), Ok)
    }

    fn swap_with<B, E, C, L>(
        &self,
        load: impl FnOnce() -> Result<C, E>,
        place: impl FnOnce(Vec<Lane<B>>) -> Result<L, EngineError>,
    ) -> Result<(Retiring, L), SwapError<E>>
    where
        B: Backend,
        C: IntoIterator<Item = B>,
    {
        let handle = self.handle();
        handle.front.birthplace.check().map_err(SwapError::Forked)?;
        // Only swaps take it, and they do not wait for it: a load takes seconds.
        let _one_at_a_time = match handle.swapping.try_lock() {
            Ok(lock) => lock,
            // What is guarded is guarded by what follows: nothing is half done.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(SwapError::Swapping),
        };
        if handle.front.gate.is_closed() {
            return Err(SwapError::Closed);
        }
        if let Some(retiring) = handle.front.retiring.load().as_ref() {
            // Three models at once are more than anybody has room for.
            let remaining = retiring.watch().remaining();
            return Err(SwapError::Draining(Draining { remaining }));
        }
        let number = handle.live.load().number + 1;
        let contexts = {
            let _span = tracing::info_span!("load", generation = number).entered();
            load().map_err(SwapError::Load)?
        };
        let (generation, lanes) = handle.generation(number, contexts).map_err(SwapError::Engine)?;
        let lanes = place(lanes).map_err(|error| {
            // Some may have threads, which would wait for ever for requests of a generation that nobody knows.
            end_lanes(generation.lanes());
            SwapError::Engine(error)
        })?;

        // Nobody else stores it: the lock is held.
        let old = handle.live.load_full();
        let retiring = Retiring(Arc::clone(old.watch()));
        // Noted before the new one is published: who finds that looks for this one, too.
        handle.front.retiring.store(Some(Arc::clone(&old)));
        handle.live.store(Arc::new(generation));
        let live = handle.live.load();
        if let (Some(old), Some(new)) = (old.on_disk(), live.on_disk()) {
            old.replaced_by(new);
        }
        // Published before the old gates close: who finds them closed finds the new ones.
        for lane in old.lanes() {
            lane.control.retire();
        }
        retiring.0.forget_if_leaving(&handle.front);
        tracing::info!(
            generation = number,
            remaining = retiring.remaining(),
            "the model was replaced"
        );
        if handle.front.gate.is_closed() {
            // Somebody shut the engine down meanwhile, and may not have seen the new generation.
            shutdown(handle);
        }
        Ok((retiring, lanes))
    }
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::super::{EngineConfig, Request};
    use super::*;
    use crate::backend::scripted::{Script, ScriptedBackend};

    fn says(text: &str) -> ScriptedBackend {
        ScriptedBackend::builder(Script::Text(text.into())).build()
    }

    /// The system has a thread for one lane of two: that one ends again, and its context is dropped.
    #[test]
    fn lanes_that_were_spawned_for_nothing_end() {
        let engine = Engine::start(says("old"), EngineConfig::default()).unwrap();
        let mut made = None;
        let failed = engine.swap_with(
            || Ok::<_, Infallible>([says("new"), says("new")]),
            |mut lanes: Vec<Lane<_>>| {
                let lane = lanes.remove(0);
                made = Some(Arc::downgrade(&lane.shared));
                lane.spawn()?;
                Err::<(), _>(EngineError::Thread(std::io::Error::other("no thread")))
            },
        );
        assert!(matches!(failed, Err(SwapError::Engine(EngineError::Thread(_)))));
        assert!(made.unwrap().upgrade().is_none(), "a lane that nobody knows has a thread");
        let agent = engine.agent("planner").unwrap();
        assert_eq!(engine.submit(agent, Request::text("Who?")).unwrap().wait().text, "old");
    }
}
