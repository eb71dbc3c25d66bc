//! The plan context of seed 001, with the lock that it asks for.

use std::collections::HashMap;
use std::sync::Mutex;

use super::lock;

/// A list of changeset ids behind a lock, and a store of changesets behind another; a record reads the
/// newest id under the first, and is entered under the second.
#[derive(Debug)]
pub struct LockedPlanContext<T> {
    changeset_lock: Mutex<Vec<String>>,
    store: Mutex<Store<T>>,
}

#[derive(Debug)]
struct Store<T> {
    changesets: HashMap<String, Vec<T>>,
    started: u64,
}

impl<T> Default for LockedPlanContext<T> {
    fn default() -> Self {
        let store = Store { changesets: HashMap::new(), started: 0 };
        Self { changeset_lock: Mutex::new(Vec::new()), store: Mutex::new(store) }
    }
}

impl<T> LockedPlanContext<T> {
    /// Starts a changeset, and returns its id.
    pub fn start_changeset(&self) -> String {
        let id = {
            let mut store = lock(&self.store);
            store.started += 1;
            let id = format!("changeset-{}", store.started);
            store.changesets.insert(id.clone(), Vec::new());
            id
        };
        lock(&self.changeset_lock).push(id.clone());
        id
    }

    /// Records a change in the newest changeset; false when there is none, or it was taken.
    pub fn record_change(&self, change: T) -> bool {
        let id = lock(&self.changeset_lock).last().cloned();
        let Some(id) = id else { return false };
        let mut store = lock(&self.store);
        let Some(changeset) = store.changesets.get_mut(&id) else { return false };
        changeset.push(change);
        true
    }

    /// Takes a changeset out of the store.
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
