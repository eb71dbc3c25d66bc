//! The list of what is measured.

use crate::baseline::{EventQueue, LockedPort, MutexBare, MutexOwner, ParkingLot, Std};
use crate::latchless_pool::{Handles, Leases};
use crate::peer::ArrayQueuePlain;
use crate::{Churn, Contender};

/// Does the same with each contender of a list: contenders are types, so that their code is inlined
/// into the loops that measure them.
pub trait Visitor {
    /// Does it with one.
    fn visit<C: Contender + 'static>(&mut self);
}

/// The same for contenders that have more to do than take and give back.
pub trait ChurnVisitor {
    /// Does it with one.
    fn visit<C: Churn + 'static>(&mut self);
}

/// Every contender, ours first. `kvbm_logical` is among them with the feature `kvbm`.
pub fn all(visitor: &mut impl Visitor) {
    visitor.visit::<Leases>();
    visitor.visit::<Handles>();
    visitor.visit::<MutexOwner>();
    visitor.visit::<MutexBare<ParkingLot>>();
    visitor.visit::<MutexBare<Std>>();
    visitor.visit::<LockedPort>();
    visitor.visit::<EventQueue>();
    visitor.visit::<ArrayQueuePlain>();
    #[cfg(feature = "kvbm")]
    visitor.visit::<crate::peer::KvbmLogical>();
}

/// Those whose worst latencies are of interest: ours, each kind of mutex, one thread that owns everything,
/// and the queue that passes for lock-free.
pub fn tails(visitor: &mut impl ChurnVisitor) {
    visitor.visit::<Leases>();
    visitor.visit::<MutexOwner>();
    visitor.visit::<MutexBare<ParkingLot>>();
    visitor.visit::<MutexBare<Std>>();
    visitor.visit::<EventQueue>();
    visitor.visit::<ArrayQueuePlain>();
}

/// Names of [`all`], in order.
pub fn names() -> Vec<&'static str> {
    struct Names(Vec<&'static str>);
    impl Visitor for Names {
        fn visit<C: Contender + 'static>(&mut self) {
            self.0.push(C::NAME);
        }
    }
    let mut names = Names(Vec::new());
    all(&mut names);
    names.0
}

/// Names for a picture's legend: each has the same colour in all pictures.
pub fn coloured(wanted: &[&str]) -> Vec<(String, usize)> {
    let names = names().into_iter().enumerate();
    names.filter(|(_, name)| wanted.contains(name)).map(|(i, name)| (name.to_owned(), i)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_is_the_name_s_own() {
        let few = coloured(&["mutex_owner", "latchless"]);
        assert_eq!(few, [("latchless".to_owned(), 0), ("mutex_owner".to_owned(), 2)]);
    }

    #[test]
    fn names_are_words_of_their_own() {
        let mut names = names();
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
