//! How the next token is drawn.

use std::sync::Arc;

use super::BackendError;

/// How one request draws its tokens. The default is greedy: always the likeliest token.
///
/// The parts apply in llama.cpp's order: penalties, then the limits of [`Draw`], then its temperature. A
/// grammar is asked about the token that came out, and about all tokens only when it refuses that one.
///
/// ```
/// use latchless_engine::backend::{Draw, Penalties, Sampling};
/// let lively = Draw { temperature: 0.8, min_p: 0.05, ..Draw::seeded(7) };
/// let yes_or_no = Sampling::drawn(lively)
///     .penalties(Penalties { repeat: 1.1, ..Penalties::default() })
///     .grammar(r#"root ::= "yes" | "no""#);
/// assert!(yes_or_no.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    /// Among which tokens chance decides; `None` takes the likeliest.
    pub draw: Option<Draw>,
    /// What repeating costs.
    pub penalties: Penalties,
    /// A grammar in GBNF, llama.cpp's notation, whose rule `root` the answer follows.
    pub grammar: Option<Arc<str>>,
}

/// A draw by chance: of the `top_k` likeliest tokens the smallest set with probability `top_p`, without
/// those below `min_p` of the likeliest, at `temperature`, by a generator that starts from `seed`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Start of the random generator; the same seed repeats the draw.
    pub seed: u32,
    /// At least [`Draw::COLDEST`] and finite; 1.0 leaves the model's probabilities as they are, less
    /// makes them sharper.
    pub temperature: f32,
    /// Candidates that are kept; 0 keeps all.
    pub top_k: u32,
    /// In (0, 1]; 1.0 keeps all.
    pub top_p: f32,
    /// In [0, 1]: the least probability that is kept, as a part of the likeliest token's; 0.0 keeps all
    /// (Nguyen et al., "Turning Up the Heat", ICLR 2025).
    pub min_p: f32,
}

impl Draw {
    /// The lowest temperature of a draw. Below it a logit divided by the temperature can overflow, and
    /// the draw is greedy long before.
    pub const COLDEST: f32 = 1e-4;

    /// The values that `SmolLM2`'s authors advise: temperature 0.2, top-p 0.9; top-k 40 is llama.cpp's
    /// default.
    pub fn seeded(seed: u32) -> Self {
        Self { seed, temperature: 0.2, top_k: 40, top_p: 0.9, min_p: 0.0 }
    }
}

/// What a token costs that was generated before. The prompt does not count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalties {
    /// Generated tokens that are looked back at; 0 penalises nothing.
    pub window: u32,
    /// The logit of a repeated token is divided by this where it is positive, and multiplied where it is
    /// negative (Keskar et al., CTRL, 2019). 0.1 to 10; 1.0 does nothing.
    pub repeat: f32,
    /// Taken off the logit once for each repetition. -100 to 100; 0.0 does nothing.
    pub frequency: f32,
    /// Taken off the logit once if the token was there at all. -100 to 100; 0.0 does nothing.
    pub presence: f32,
}

impl Default for Penalties {
    /// [`Penalties::NONE`].
    fn default() -> Self {
        Self::NONE
    }
}

impl Penalties {
    /// Looks back 64 tokens and penalises nothing.
    pub const NONE: Self = Self { window: 64, repeat: 1.0, frequency: 0.0, presence: 0.0 };

    /// Whether they change any logit.
    #[expect(clippy::float_cmp, reason = "exactly these values are the neutral ones")]
    pub fn is_none(&self) -> bool {
        let neutral = self.repeat == 1.0 && self.frequency == 0.0 && self.presence == 0.0;
        self.window == 0 || neutral
    }
}

impl Sampling {
    /// The longest grammar, in bytes: it is read on the lane's thread.
    pub const LONGEST_GRAMMAR: usize = 1 << 16;
    /// The deepest nesting of parentheses in a grammar: llama.cpp reads them by recursion.
    pub const DEEPEST_GRAMMAR: usize = 64;

    /// The likeliest token; the same prompt in the same batches gives the same tokens.
    pub const fn greedy() -> Self {
        Self { draw: None, penalties: Penalties::NONE, grammar: None }
    }

    /// A draw with the values of [`Draw::seeded`].
    pub fn seeded(seed: u32) -> Self {
        Self::drawn(Draw::seeded(seed))
    }

    /// A draw by chance.
    pub fn drawn(draw: Draw) -> Self {
        Self { draw: Some(draw), ..Self::default() }
    }

    /// The same with these penalties.
    #[must_use]
    pub fn penalties(mut self, penalties: Penalties) -> Self {
        self.penalties = penalties;
        self
    }

    /// The same, following this grammar: GBNF with a rule `root`.
    #[must_use]
    pub fn grammar(mut self, grammar: impl Into<Arc<str>>) -> Self {
        self.grammar = Some(grammar.into());
        self
    }

    /// Whether the parameters mean something.
    ///
    /// # Errors
    /// [`BackendError::Sampling`], which names the parameter and what it may be;
    /// [`BackendError::Grammar`] for a grammar that is too long or too deep to be read.
    ///
    /// ```
    /// use latchless_engine::backend::{Draw, Sampling};
    /// assert!(Sampling::seeded(7).validate().is_ok());
    /// let flat = Sampling::drawn(Draw { temperature: 0.0, ..Draw::seeded(7) });
    /// assert!(flat.validate().unwrap_err().to_string().starts_with("temperature is 0"));
    /// ```
    pub fn validate(&self) -> Result<(), BackendError> {
        let Penalties { repeat, frequency, presence, .. } = self.penalties;
        let offset = "a number from -100 to 100";
        check("repeat penalty", repeat, 0.1..=10.0, "a number from 0.1 to 10")?;
        check("frequency penalty", frequency, -100.0..=100.0, offset)?;
        check("presence penalty", presence, -100.0..=100.0, offset)?;
        if let Some(draw) = &self.draw {
            let warm = "a finite number of at least 0.0001, or sample greedily";
            check("temperature", draw.temperature, Draw::COLDEST..=f32::MAX, warm)?;
            let some = f32::MIN_POSITIVE..=1.0;
            check("top_p", draw.top_p, some, "a number above 0 and at most 1")?;
            check("min_p", draw.min_p, 0.0..=1.0, "a number from 0 to 1")?;
        }
        self.grammar.as_deref().map_or(Ok(()), readable)
    }
}

fn check(
    parameter: &'static str,
    value: f32,
    range: std::ops::RangeInclusive<f32>,
    allowed: &'static str,
) -> Result<(), BackendError> {
    // Not a number is in no range.
    if range.contains(&value) {
        return Ok(());
    }
    Err(BackendError::Sampling { parameter, value: value.to_string(), allowed })
}

/// Refuses what could overflow the reader's stack or hold up the lane that reads it.
fn readable(grammar: &str) -> Result<(), BackendError> {
    let refused = |reason: String| Err(BackendError::Grammar { reason });
    if grammar.len() > Sampling::LONGEST_GRAMMAR {
        let most = Sampling::LONGEST_GRAMMAR;
        return refused(format!("it has {} bytes, at most {most} are read", grammar.len()));
    }
    if grammar.contains('\0') {
        return refused("it contains a NUL character".into());
    }
    // Parentheses in literals count too: the bound is generous.
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in grammar.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > Sampling::DEEPEST_GRAMMAR {
        let most = Sampling::DEEPEST_GRAMMAR;
        return refused(format!("its parentheses nest {deepest} deep, at most {most} are read"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sampling: &Sampling) -> Option<&'static str> {
        match sampling.validate() {
            Err(BackendError::Sampling { parameter, .. }) => Some(parameter),
            Err(BackendError::Grammar { .. }) => Some("grammar"),
            _ => None,
        }
    }

    #[test]
    fn parameters_outside_their_range_are_named() {
        let draw = Draw { seed: 0, temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0 };
        let refused_draw = |draw| refused(&Sampling::drawn(draw));
        for temperature in [0.0, -1.0, 1e-9, f32::NAN, f32::INFINITY] {
            assert_eq!(refused_draw(Draw { temperature, ..draw }), Some("temperature"));
        }
        for top_p in [0.0, -0.1, 1.1, f32::NAN] {
            assert_eq!(refused_draw(Draw { top_p, ..draw }), Some("top_p"), "{top_p}");
        }
        for min_p in [-0.1, 1.1, f32::NAN] {
            assert_eq!(refused_draw(Draw { min_p, ..draw }), Some("min_p"), "{min_p}");
        }
        let coldest = Draw { temperature: Draw::COLDEST, top_p: f32::MIN_POSITIVE, ..draw };
        assert_eq!(refused_draw(coldest), None);
        assert_eq!(Sampling::greedy().validate(), Ok(()));
        let none = Penalties::default();
        let refused_penalties = |penalties| refused(&Sampling::greedy().penalties(penalties));
        for repeat in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(refused_penalties(Penalties { repeat, ..none }), Some("repeat penalty"));
        }
        let far = Penalties { frequency: 101.0, ..none };
        assert_eq!(refused_penalties(far), Some("frequency penalty"));
        let far = Penalties { presence: f32::NAN, ..none };
        assert_eq!(refused_penalties(far), Some("presence penalty"));
    }

    #[test]
    fn a_grammar_that_could_not_be_read_is_refused() {
        let refused = |grammar: String| refused(&Sampling::greedy().grammar(grammar));
        assert_eq!(refused("root ::= \"a\"".into()), None);
        assert_eq!(refused("a\0".into()), Some("grammar"));
        assert_eq!(refused("a".repeat(Sampling::LONGEST_GRAMMAR + 1)), Some("grammar"));
        let nested = |deep| format!("root ::= {}\"a\"{}", "(".repeat(deep), ")".repeat(deep));
        assert_eq!(refused(nested(Sampling::DEEPEST_GRAMMAR)), None);
        assert_eq!(refused(nested(Sampling::DEEPEST_GRAMMAR + 1)), Some("grammar"));
    }

    #[test]
    fn neutral_penalties_are_none() {
        let none = Penalties::default();
        assert!(none.is_none());
        assert!(!Penalties { repeat: 1.1, ..none }.is_none());
        assert!(Penalties { repeat: 1.1, window: 0, ..none }.is_none());
    }
}
