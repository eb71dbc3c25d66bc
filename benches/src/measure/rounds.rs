//! Rounds in turn, and what is told of them.

use serde::Serialize;

/// Something that is measured again and again.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    round: Box<dyn Fn() -> f64>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Entry {
    /// `round` measures once and returns the figure.
    pub fn new(name: &'static str, round: impl Fn() -> f64 + 'static) -> Self {
        Self { name, round: Box::new(round) }
    }
}

/// Lets all entries take turns for so many rounds, and returns each one's figures, a figure a round. A
/// machine that speeds up or slows down meanwhile does so for all of them, and each round begins with
/// another entry, so that nobody always follows the same neighbour.
pub fn interleave(entries: &[Entry], rounds: usize) -> Vec<Vec<f64>> {
    let mut figures = vec![Vec::with_capacity(rounds); entries.len()];
    for round in 0..rounds {
        for turn in 0..entries.len() {
            let i = (round + turn) % entries.len();
            figures[i].push((entries[i].round)());
        }
    }
    figures
}

/// The middle of a number of figures, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The lower quartile.
    pub q1: f64,
    /// The median.
    pub median: f64,
    /// The upper quartile.
    pub q3: f64,
}

impl Summary {
    /// Of these figures; between two of them by linear interpolation. Not a number when there are none.
    pub fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * sorted.len().saturating_sub(1) as f64;
            let below = sorted.get(place.floor() as usize).copied().unwrap_or(f64::NAN);
            let above = sorted.get(place.ceil() as usize).copied().unwrap_or(f64::NAN);
            below + (above - below) * place.fract()
        };
        Self { q1: at(0.25), median: at(0.5), q3: at(0.75) }
    }
}

/// The median alone.
pub fn median(figures: &[f64]) -> f64 {
    Summary::of(figures).median
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn quartiles_lie_between_the_figures() {
        let odd = Summary { q1: 1.5, median: 2.0, q3: 2.5 };
        assert_eq!(Summary::of(&[3.0, 1.0, 2.0]), odd);
        let even = Summary { q1: 2.0, median: 3.0, q3: 4.0 };
        assert_eq!(Summary::of(&[5.0, 1.0, 3.0, 2.0, 3.0, 4.0, 1.0, 5.0, 3.0]), even);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn entries_take_turns() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let entry = |name, figure| {
            let order = Rc::clone(&order);
            Entry::new(name, move || {
                order.borrow_mut().push(name);
                figure
            })
        };
        let figures = interleave(&[entry("a", 1.0), entry("b", 2.0)], 3);
        assert_eq!(figures, [[1.0; 3], [2.0; 3]]);
        assert_eq!(*order.borrow(), ["a", "b", "b", "a", "a", "b"]);
    }
}
