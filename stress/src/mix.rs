//! A mix: what a thread may decide to do, each with its name and its weights in the phases; and the deck that is
//! drawn from, in which faults are as frequent as a run asks for.

use fastrand::Rng;

use crate::fault::{Factor, Fault, Rates};
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

    /// What a run draws from: actions that are faults are as frequent as its rates say. Where no rate says anything,
    /// the weights are as they stand, and so the same numbers make the same decisions.
    pub(crate) fn deck(&self, rates: &Rates, fault: impl Fn(A) -> Option<Fault>) -> Deck<A, N> {
        let factor = |(action, ..): &(A, _, _)| fault(*action).map_or(Factor::ONE, |f| rates.of(f));
        let factors = self.0.each_ref().map(factor);
        let as_it_is = factors.iter().all(|factor| *factor == Factor::ONE);
        let unit = if as_it_is { Factor::ONE.thousandths() } else { 1 };
        let mut weights = [[0; N]; PHASES];
        for (action, ((.., by_phase), factor)) in self.0.iter().zip(factors).enumerate() {
            for (phase, weight) in by_phase.iter().enumerate() {
                weights[phase][action] = u32::from(*weight) * factor.thousandths() / unit;
            }
        }
        let actions = self.0.each_ref().map(|(action, ..)| *action);
        Deck { actions, weights, sums: weights.map(|weights| weights.iter().sum()) }
    }
}

/// Actions, and how frequent each is in each phase.
#[derive(Debug, Clone)]
pub(crate) struct Deck<A, const N: usize> {
    actions: [A; N],
    weights: [[u32; N]; PHASES],
    sums: [u32; PHASES],
}

impl<A: Copy, const N: usize> Deck<A, N> {
    /// One of the actions of a phase, each as often as its weight says.
    ///
    /// # Panics
    /// When all weights of the phase are 0. There are always some that are no faults: each part's tests see to it.
    pub(crate) fn draw(&self, phase: Phase, rng: &mut Rng) -> A {
        let phase = phase as usize;
        let mut at = rng.u32(0..self.sums[phase]);
        let mut weighted = self.actions.iter().zip(&self.weights[phase]);
        let drawn = weighted.find(|(_, weight)| {
            let hit = at < **weight;
            at = at.saturating_sub(**weight);
            hit
        });
        drawn.map(|(action, _)| *action).expect("the number is below the sum of the weights")
    }
}

/// For the tests of a part's table.
#[cfg(test)]
impl<A: Copy + PartialEq + std::fmt::Debug, const N: usize> Mix<A, N> {
    /// Every action with a weight is drawn in its phase, and no other; each stands at its place; and faults come
    /// as often as rates say.
    #[track_caller]
    pub(crate) fn check(
        &self,
        place: impl Fn(A) -> usize,
        fault: impl Fn(A) -> Option<Fault> + Copy,
    ) {
        use crate::fault::tests::all;
        const DRAWS: usize = 60_000;
        for (i, (action, ..)) in self.0.iter().enumerate() {
            assert_eq!(place(*action), i, "{action:?}");
        }
        for factor in [1.0, 0.0, 3.0] {
            let deck = self.deck(&all(factor), fault);
            for phase in Phase::ALL {
                let weight = |(action, _, weights): &(A, _, [u16; PHASES])| {
                    let factor = if fault(*action).is_some() { factor } else { 1.0 };
                    f64::from(weights[phase as usize]) * factor
                };
                let sum: f64 = self.0.iter().map(weight).sum();
                let mut rng = Rng::with_seed(1);
                let mut drawn = [0_usize; N];
                (0..DRAWS).for_each(|_| drawn[place(deck.draw(phase, &mut rng))] += 1);
                for (entry, drawn) in self.0.iter().zip(drawn) {
                    let what = format!("{}, {phase:?}, by {factor}", entry.1);
                    let expected = weight(entry) / sum * DRAWS as f64;
                    assert_eq!(expected > 0.0, drawn > 0, "{what}");
                    // Five standard deviations.
                    let off = (drawn as f64 - expected).abs();
                    assert!(off <= 5.0 * expected.sqrt() + 1.0, "{what}: {drawn}, not {expected}");
                }
            }
        }
        self.check_as_ever(fault);
    }

    /// Without rates the decisions of a seed are those that they were before there were any.
    #[track_caller]
    fn check_as_ever(&self, fault: impl Fn(A) -> Option<Fault>) {
        let deck = self.deck(&Rates::default(), fault);
        for phase in Phase::ALL {
            let (mut rng, mut as_ever) = (Rng::with_seed(1), Rng::with_seed(1));
            for _ in 0..1_000 {
                let weights = || self.0.iter().map(|(action, _, w)| (*action, w[phase as usize]));
                let at = as_ever.u16(0..weights().map(|(_, weight)| weight).sum());
                let mut below = 0;
                let action = weights().find(|(_, weight)| {
                    below += weight;
                    at < below
                });
                assert_eq!(Some(deck.draw(phase, &mut rng)), action.map(|(action, _)| action));
            }
        }
    }

    /// How many of a hundred decisions are a fault, by phase; none for what is not in the mix.
    pub(crate) fn percent(
        &self,
        what: Fault,
        fault: impl Fn(A) -> Option<Fault>,
    ) -> Option<[f64; PHASES]> {
        let is_it = |(action, ..): &&(A, _, _)| fault(*action) == Some(what);
        self.0.iter().find(is_it)?;
        Some(Phase::ALL.map(|phase| {
            let weight = |(.., weights): &(A, _, [u16; PHASES])| f64::from(weights[phase as usize]);
            let of = self.0.iter().filter(is_it).map(weight).sum::<f64>();
            100.0 * of / self.0.iter().map(weight).sum::<f64>()
        }))
    }
}
