//! What a figure is to be, in the words that its program has for it.

/// How far a figure may be from what it is to be about: a fifth.
const ABOUT: f64 = 0.2;

/// Whether a figure is not what is wanted. What is wanted in other words is for a reader to judge.
pub(crate) fn falls_short(value: f64, wanted: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    let after = |words: &str| wanted.strip_prefix(words).and_then(number);
    let met = if let Some(least) = after("at least ") {
        value >= least
    } else if let Some(most) = after("at most ") {
        value <= most
    } else if let Some(bound) = after("more than ") {
        value > bound
    } else if let Some(middle) = after("about ") {
        (value - middle).abs() <= ABOUT * middle.abs()
    } else if let Some(exactly) = number(wanted) {
        (value - exactly).abs() < f64::EPSILON
    } else {
        true
    };
    !met
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_want_has_a_figure_that_meets_it_and_one_that_falls_short() {
        let cases = [
            ("at least 0.98", 0.98, 0.979),
            ("at most 1.5", 1.5, 1.51),
            ("more than 2", 2.01, 2.0),
            ("0", 0.0, 1.0),
            ("about 1", 1.11, 1.3),
            ("about 1", 0.9, 0.7),
        ];
        for (wanted, good, bad) in cases {
            assert!(!falls_short(good, wanted), "{good} is {wanted}");
            assert!(falls_short(bad, wanted), "{bad} is not {wanted}");
        }
    }

    #[test]
    fn what_is_said_in_other_words_is_left_alone() {
        for wanted in ["one step", "as at rest", "at least as before", ""] {
            assert!(!falls_short(1e9, wanted), "{wanted}");
        }
    }
}
