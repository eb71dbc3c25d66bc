//! A mix: what a thread may decide to do, each with its name and its weights in the phases.

use fastrand::Rng;

use crate::phase::{PHASES, Phase};

/// All actions of a part, in the order of their declaration. Weight 0: not in this phase.
pub(crate) struct Mix<A: 'static, const N: usize>(pub(crate) [(A, &'static str, [u16; PHASES]); N]);

impl<A: Copy, const N: usize> Mix<A, N> {
    /// Names, in the order of the actions.
    pub(crate) const fn names(&self) -> [&'static str; N] {
        let mut names = [""; N];
        let mut action = 0;
        while action < N {
            names[action] = self.0[action].1;
            action += 1;
        }
        names
    }

    /// One of the actions of a phase, each as often as its weight says.
    ///
    /// # Panics
    /// When all weights of the phase are 0.
    pub(crate) fn draw(&self, phase: Phase, rng: &mut Rng) -> A {
        let weights =
            || self.0.iter().map(|(action, _, weights)| (*action, weights[phase as usize]));
        let mut at = rng.u16(0..weights().map(|(_, weight)| weight).sum());
        let drawn = weights().find(|(_, weight)| {
            let hit = at < *weight;
            at = at.saturating_sub(*weight);
            hit
        });
        drawn.map(|(action, _)| action).expect("the number is below the sum of the weights")
    }
}

/// For the tests of a part's table.
#[cfg(test)]
impl<A: Copy + PartialEq + std::fmt::Debug, const N: usize> Mix<A, N> {
    /// Every action with a weight is drawn in its phase, and no other; and each stands at its place.
    #[track_caller]
    pub(crate) fn check(&self, place: impl Fn(A) -> usize) {
        for (i, (action, ..)) in self.0.iter().enumerate() {
            assert_eq!(place(*action), i, "{action:?}");
        }
        for phase in Phase::ALL {
            let mut rng = Rng::with_seed(1);
            let mut drawn = [0; N];
            (0..20_000).for_each(|_| drawn[place(self.draw(phase, &mut rng))] += 1);
            for ((_, name, weights), drawn) in self.0.iter().zip(drawn) {
                assert_eq!(weights[phase as usize] > 0, drawn > 0, "{name}, {phase:?}");
            }
        }
    }
}
