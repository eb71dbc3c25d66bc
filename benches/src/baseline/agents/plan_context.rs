//! The prototypes' plan context, with the lock that it asks for.

use std::collections::HashMap;
use std::sync::Mutex;

use super::lock;

/// Changesets by id, as whoever has them alone uses them.
#[derive(Debug)]
pub struct Changesets<T> {
    order: Vec<String>,
    store: Store<T>,
}

impl<T> Default for Changesets<T> {
    fn default() -> Self {
        Self { order: Vec::new(), store: Store::default() }
    }
}

impl<T> Changesets<T> {
    /// Starts a changeset, and returns its id.
    pub fn start(&mut self) -> String {
        let id = self.store.start();
        self.order.push(id.clone());
        id
    }

    /// Records a change in the newest changeset; false when there is none, or it was taken.
    pub fn record(&mut self, change: T) -> bool {
        self.order.last().is_some_and(|id| self.store.record(id, change))
    }

    /// Takes a changeset out of the store.
    pub fn take(&mut self, id: &str) -> Option<Vec<T>> {
        self.store.changesets.remove(id)
    }
}

#[derive(Debug)]
struct Store<T> {
    changesets: HashMap<String, Vec<T>>,
    started: u64,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { changesets: HashMap::new(), started: 0 }
    }
}

impl<T> Store<T> {
    fn start(&mut self) -> String {
        self.started += 1;
        let id = format!("changeset-{}", self.started);
        self.changesets.insert(id.clone(), Vec::new());
        id
    }

    fn record(&mut self, id: &str, change: T) -> bool {
        let Some(changeset) = self.changesets.get_mut(id) else { return false };
        changeset.push(change);
        true
    }
}

/// A list of changeset ids behind a lock, and a store of changesets behind another; a record reads the
/// newest id under the first, and is entered under the second.
#[derive(Debug)]
pub struct LockedPlanContext<T> {
    changeset_lock: Mutex<Vec<String>>,
    store: Mutex<Store<T>>,
}

impl<T> Default for LockedPlanContext<T> {
    fn default() -> Self {
        Self { changeset_lock: Mutex::new(Vec::new()), store: Mutex::new(Store::default()) }
    }
}

impl<T> LockedPlanContext<T> {
    /// As [`Changesets::start`].
    pub fn start_changeset(&self) -> String {
        let id = lock(&self.store).start();
        lock(&self.changeset_lock).push(id.clone());
        id
    }

    /// As [`Changesets::record`].
    pub fn record_change(&self, change: T) -> bool {
        let id = lock(&self.changeset_lock).last().cloned();
        id.is_some_and(|id| lock(&self.store).record(&id, change))
    }

    /// As [`Changesets::take`].
    pub fn take(&self, id: &str) -> Option<Vec<T>> {
        lock(&self.store).changesets.remove(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_go_to_the_newest() {
        let plan = LockedPlanContext::default();
        assert!(!plan.record_change(1));
        let first = plan.start_changeset();
        assert!(plan.record_change(2));
        let second = plan.start_changeset();
        assert!(plan.record_change(3));
        assert_eq!((plan.take(&first), plan.take(&second)), (Some(vec![2]), Some(vec![3])));
        assert_eq!(plan.take(&first), None);
    }
}
