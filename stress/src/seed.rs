//! Where decisions come from.
//!
//! A run is a sequence of rounds, each in one phase for all threads of its part. A thread's decisions come
//! from its own generator, seeded from the run's seed, the part, the round and the thread, and do not depend
//! on what came out of earlier ones: the same seed gives the same decisions. How the threads interleave is
//! the machine's part.

use fastrand::Rng;

use crate::part::Kind;

/// The generator of a thread in a round.
pub(crate) fn generator(seed: u64, part: Kind, round: u64, thread: u16) -> Rng {
    let below = |seed: u64, number: u64| {
        let mut seeds = Rng::with_seed(seed);
        let [a, b] = [seeds.u64(..), seeds.u64(..)];
        a ^ number.wrapping_mul(b | 1)
    };
    Rng::with_seed(below(below(below(seed, part as u64), round), thread.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_of_every_round_of_every_part_decides_for_itself() {
        let draw = |seed, part, round, thread| generator(seed, part, round, thread).u64(..);
        let one = draw(1, Kind::Pool, 2, 3);
        assert_eq!(one, draw(1, Kind::Pool, 2, 3));
        let others = [
            draw(2, Kind::Pool, 2, 3),
            draw(1, Kind::Agents, 2, 3),
            draw(1, Kind::Pool, 6, 3),
            draw(1, Kind::Pool, 2, 0),
        ];
        assert!(others.iter().all(|other| *other != one));
    }
}
