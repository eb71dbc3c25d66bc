//! A checker of histories: is there an order of steps that explains what every thread saw?
//!
//! A history is *linearizable* if each operation can be given an instant between its invocation and its
//! response so that a sequential object would have given the same answers (M. Herlihy and J. Wing,
//! *Linearizability: a correctness condition for concurrent objects*, 1990). The search is that of J. Wing
//! and C. Gong (1993) with the memory of G. Lowe (2017): a state that was reached by another order of the
//! same operations is not searched again.
//!
//! An operation may have several steps, each with an instant of its own: the pool's layers are changed one
//! after the other, and its documentation says in which order.

use std::collections::HashSet;
use std::hash::Hash;

/// A sequential object, whose operations are sequences of steps.
pub(crate) trait Spec {
    /// An operation with its response.
    type Operation;
    /// What the object knows.
    type State: Clone + Eq + Hash;
    /// Between which steps an operation is.
    type Stage: Clone + Eq + Hash + Default;

    /// Every way in which the next step of `call` can go: the state after it, and the stage that the
    /// operation is in then, `None` when it is over. None at all when its response cannot be explained
    /// from here. `pending` are the other threads' operations that are not over.
    fn step(
        &self,
        state: &Self::State,
        stage: &Self::Stage,
        call: &Call<Self::Operation>,
        pending: &[&Call<Self::Operation>],
    ) -> Vec<(Self::State, Option<Self::Stage>)>;
}

/// An operation that a thread carried out, and when: two times that are equal are in no order.
#[derive(Debug)]
pub(crate) struct Call<O> {
    pub(crate) operation: O,
    pub(crate) invoked: u64,
    pub(crate) responded: u64,
}

impl<O> Call<O> {
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.invoked <= other.responded && other.invoked <= self.responded
    }
}

/// What is known of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is an order.
    Accepted,
    /// There is none.
    Rejected,
    /// Too many orders to try all.
    Undecided,
}

/// Configurations tried before a history is given up as undecided.
const PATIENCE: usize = 2_000_000;

/// Where a search is: how far each thread has come, in an object's state.
type Place<S> = (Vec<(usize, <S as Spec>::Stage)>, <S as Spec>::State);

/// Looks for an order of the calls of some threads, each thread's in their own.
pub(crate) fn check<S: Spec>(
    spec: &S,
    initial: S::State,
    threads: &[Vec<Call<S::Operation>>],
) -> Verdict {
    let start = (vec![(0, S::Stage::default()); threads.len()], initial);
    let mut seen: HashSet<Place<S>> = HashSet::from([start.clone()]);
    let mut open = vec![start];
    while let Some((places, state)) = open.pop() {
        let next: Vec<_> =
            threads.iter().zip(&places).map(|(calls, (at, _))| calls.get(*at)).collect();
        if next.iter().all(Option::is_none) {
            return Verdict::Accepted;
        }
        for (thread, call) in
            next.iter().enumerate().filter_map(|(i, call)| call.map(|call| (i, call)))
        {
            let others = next.iter().enumerate().filter(|(i, _)| *i != thread);
            let pending: Vec<_> = others.filter_map(|(_, other)| *other).collect();
            // One that was over before this one began comes first.
            if pending.iter().any(|other| other.responded < call.invoked) {
                continue;
            }
            let (at, stage) = &places[thread];
            for (state, stage) in spec.step(&state, stage, call, &pending) {
                let mut places = places.clone();
                places[thread] = stage.map_or((at + 1, S::Stage::default()), |stage| (*at, stage));
                let place = (places, state);
                if seen.insert(place.clone()) {
                    open.push(place);
                }
            }
        }
        if seen.len() > PATIENCE {
            return Verdict::Undecided;
        }
    }
    Verdict::Rejected
}

/// A register that is read and written, as an example.
#[cfg(test)]
mod tests {
    use super::*;

    struct Register;

    enum Access {
        Write(u32),
        Read(u32),
    }

    impl Spec for Register {
        type Operation = Access;
        type State = u32;
        type Stage = ();

        fn step(
            &self,
            state: &u32,
            (): &(),
            call: &Call<Access>,
            _: &[&Call<Access>],
        ) -> Vec<(u32, Option<()>)> {
            match call.operation {
                Access::Write(value) => vec![(value, None)],
                Access::Read(value) if value == *state => vec![(*state, None)],
                Access::Read(_) => Vec::new(),
            }
        }
    }

    fn call(operation: Access, invoked: u64, responded: u64) -> Call<Access> {
        Call { operation, invoked, responded }
    }

    #[test]
    fn calls_that_overlap_may_come_in_either_order() {
        for read in [0, 1] {
            let threads = [
                vec![call(Access::Write(1), 0, 10)],
                vec![call(Access::Read(read), 5, 15), call(Access::Read(1), 20, 25)],
            ];
            assert_eq!(check(&Register, 0, &threads), Verdict::Accepted);
        }
    }

    #[test]
    fn calls_that_do_not_overlap_may_not() {
        let threads = [vec![call(Access::Write(1), 0, 4)], vec![call(Access::Read(0), 5, 15)]];
        assert_eq!(check(&Register, 0, &threads), Verdict::Rejected);
    }

    #[test]
    fn nobody_sees_the_new_value_and_then_the_old_one() {
        let threads = [
            vec![call(Access::Write(1), 0, 100)],
            vec![call(Access::Read(1), 10, 20)],
            vec![call(Access::Read(0), 30, 40)],
        ];
        assert_eq!(check(&Register, 0, &threads), Verdict::Rejected);
    }
}
