//! The engine beside the plain loop, in turns, so that a machine that slows down or speeds up meanwhile
//! does so for both.

use std::time::Duration;

use crate::agents::{self, Nobody, Round};
use crate::error::DemoError;
use crate::format::rate;
use crate::interrupt::Interrupt;
use crate::plain::{Plain, PlainError, Shape};
use crate::screen::Screen;
use crate::setup::Setup;

/// Turns of each, the round that was watched included.
const TURNS: usize = 3;
/// A batch that takes longer than this is run once by each.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tokens a second, turn by turn.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) engine: Vec<f64>,
    pub(crate) plain: Vec<f64>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    #[error("the plain loop failed: {0}")]
    Plain(#[from] PlainError),
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error(transparent)]
    Output(#[from] std::io::Error),
}

/// Runs the batch of `first` in a plain loop, then in an engine again, and so on. `None` after Ctrl-C.
///
/// Only one context exists at a time: two may not fit into memory.
pub(crate) fn compare(
    setup: &Setup,
    first: &Round,
    shape: Shape,
    interrupt: &Interrupt,
    screen: &Screen,
) -> Result<Option<Comparison>, CompareError> {
    let turns = if first.wall > PATIENCE { 1 } else { TURNS };
    let plain = Plain::load(setup.model.path())?;
    let mut comparison =
        Comparison { engine: vec![rate(first.generated(), first.wall)], plain: Vec::new() };
    for turn in 1..=turns {
        if turn > 1 {
            screen.status(&format!("comparing: the engine, turn {turn} of {turns}"))?;
            let started = setup.start()?;
            let round = agents::ask_all(
                &started.engine,
                &setup.agents,
                setup.manner,
                interrupt,
                &mut Nobody,
            )?;
            comparison.engine.push(rate(round.generated(), round.wall));
        }
        screen.status(&format!("comparing: a plain llama.cpp loop, turn {turn} of {turns}"))?;
        let measured = plain.answer(&setup.texts, setup.manner, shape, interrupt)?;
        // An engine's turn that was cut short ends here, too.
        let Some(measured) = measured else { return Ok(None) };
        comparison.plain.push(rate(measured.tokens, measured.wall));
    }
    Ok(Some(comparison))
}

impl Comparison {
    pub(crate) fn engine_median(&self) -> f64 {
        median(&self.engine)
    }

    pub(crate) fn plain_median(&self) -> f64 {
        median(&self.plain)
    }

    /// The engine's speed in parts of the plain loop's; 0 when that generated nothing.
    pub(crate) fn ratio(&self) -> f64 {
        let plain = self.plain_median();
        if plain > 0.0 { self.engine_median() / plain } else { 0.0 }
    }
}

/// The middle one; of an even number the mean of the two in the middle; 0 of none.
fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_their_ratio() {
        let of = |numbers: &[f64]| median(numbers).to_string();
        assert_eq!(
            [of(&[]), of(&[3.0]), of(&[9.0, 1.0]), of(&[9.0, 1.0, 2.0])],
            ["0", "3", "5", "2"]
        );
        let comparison = Comparison { engine: vec![90.0, 10.0, 95.0], plain: vec![100.0] };
        assert_eq!(comparison.ratio().to_string(), "0.9");
        assert_eq!(Comparison::default().ratio().to_string(), "0");
    }
}
