//! Drawing a token from logits.

use llama_cpp_2::context::LlamaContext as RawContext;
use llama_cpp_2::sampling::LlamaSampler as RawSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use super::super::{BackendError, Model, Sampling, Token};
use super::{LlamaModel, capture};

/// How one request draws its tokens.
#[derive(Debug)]
pub struct LlamaSampler(Kind);

#[derive(Debug)]
enum Kind {
    /// Done here, on the logits where they lie: llama.cpp would copy the vocabulary first.
    Greedy,
    Chain(RawSampler),
    Grammar(Box<Guided>),
}

impl LlamaSampler {
    /// The sampler for `sampling`, for the vocabulary of `model`.
    pub(super) fn new(model: &LlamaModel, sampling: &Sampling) -> Result<Self, BackendError> {
        sampling.validate()?;
        if let Some(grammar) = &sampling.grammar {
            let guided = Guided::new(model, grammar, chain(model, sampling))?;
            return Ok(Self(Kind::Grammar(Box::new(guided))));
        }
        if sampling.draw.is_none() && sampling.penalties.is_none() {
            return Ok(Self(Kind::Greedy));
        }
        Ok(Self(Kind::Chain(chain(model, sampling))))
    }

    /// Draws from the logits of `row`, which the caller knows to have some.
    pub(super) fn draw(
        &mut self,
        context: &RawContext<'_>,
        row: i32,
    ) -> Result<Token, BackendError> {
        let logits = context.get_logits_ith(row);
        // llama.cpp divides by a sum of these, and aborts, or draws anything, when it is not a number.
        let Some(largest) = largest(logits) else {
            let reason = format!("the model gave logits that are no numbers in row {row}");
            return Err(BackendError::Failed { doing: "sampling", reason });
        };
        let token = match &mut self.0 {
            // Of equals the first, as in llama.cpp. One is found: `largest` is among them.
            Kind::Greedy => logits.iter().position(|logit| *logit >= largest).unwrap_or(0) as i32,
            Kind::Chain(chain) => chain.sample(context, row).0,
            Kind::Grammar(guided) => guided.draw(logits)?.0,
        };
        Ok(Token(token))
    }
}

/// Penalties, limits, temperature and the draw, in llama.cpp's own order.
fn chain(model: &LlamaModel, sampling: &Sampling) -> RawSampler {
    let mut parts = Vec::with_capacity(6);
    let penalties = sampling.penalties;
    if !penalties.is_none() {
        parts.push(RawSampler::penalties(
            model.vocabulary_size() as i32,
            i32::try_from(penalties.window).unwrap_or(i32::MAX),
            penalties.repeat,
            penalties.frequency,
            penalties.presence,
        ));
    }
    if let Some(draw) = sampling.draw {
        // 0 keeps all, which llama.cpp would do by sorting the vocabulary.
        if draw.top_k > 0 {
            parts.push(RawSampler::top_k(i32::try_from(draw.top_k).unwrap_or(i32::MAX)));
        }
        parts.push(RawSampler::top_p(draw.top_p, 1));
        if draw.min_p > 0.0 {
            parts.push(RawSampler::min_p(draw.min_p, 1));
        }
        parts.push(RawSampler::temp(draw.temperature));
        parts.push(RawSampler::dist(repeatable(draw.seed)));
    } else {
        parts.push(RawSampler::greedy());
    }
    RawSampler::chain(parts, true)
}

/// A chain that follows a grammar.
///
/// llama.cpp ends the process when a grammar is told a token that it does not allow, which its own
/// sampling does when it allows none. Here a token is asked about before it is told.
#[derive(Debug)]
struct Guided {
    chain: RawSampler,
    grammar: RawSampler,
    /// All tokens with their logits; kept to spare an allocation of the vocabulary a token.
    candidates: LlamaTokenDataArray,
    /// The one token that is asked about.
    one: LlamaTokenDataArray,
}

impl Guided {
    fn new(model: &LlamaModel, grammar: &str, chain: RawSampler) -> Result<Self, BackendError> {
        let (made, reason) =
            capture::with_reason(|| RawSampler::grammar(model.raw(), grammar, "root"));
        let grammar = made.map_err(|error| {
            let reason = format!("{error} ({})", reason.trim());
            BackendError::Grammar { reason }
        })?;
        let candidates = Vec::with_capacity(model.vocabulary_size() as usize);
        Ok(Self {
            chain,
            grammar,
            candidates: LlamaTokenDataArray::new(candidates, false),
            one: LlamaTokenDataArray::new(Vec::with_capacity(1), false),
        })
    }

    fn draw(&mut self, logits: &[f32]) -> Result<LlamaToken, BackendError> {
        self.fill(logits);
        self.chain.apply(&mut self.candidates);
        let mut token = self.candidates.selected_token();
        // One token is a look, the vocabulary milliseconds: the likely case first.
        if !token.is_some_and(|token| self.allows(token)) {
            self.fill(logits);
            self.grammar.apply(&mut self.candidates);
            self.candidates.data.retain(|candidate| candidate.logit() > f32::NEG_INFINITY);
            token = None;
            if !self.candidates.data.is_empty() {
                self.chain.apply(&mut self.candidates);
                token = self.candidates.selected_token();
            }
        }
        let Some(token) = token else {
            let reason = "the grammar allows no token of the vocabulary here".into();
            return Err(BackendError::Failed { doing: "sampling", reason });
        };
        self.chain.accept(token);
        self.grammar.accept(token);
        Ok(token)
    }

    fn fill(&mut self, logits: &[f32]) {
        let tokens = logits.iter().enumerate();
        self.candidates.data.clear();
        self.candidates.data.extend(
            tokens.map(|(id, logit)| LlamaTokenData::new(LlamaToken(id as i32), *logit, 0.0)),
        );
        (self.candidates.selected, self.candidates.sorted) = (None, false);
    }

    fn allows(&mut self, token: LlamaToken) -> bool {
        self.one.data.clear();
        self.one.data.push(LlamaTokenData::new(token, 0.0, 0.0));
        (self.one.selected, self.one.sorted) = (None, false);
        self.grammar.apply(&mut self.one);
        self.one.data.first().is_some_and(|one| one.logit() > f32::NEG_INFINITY)
    }
}

/// A seed that repeats: to llama.cpp `u32::MAX` means "take a random one".
fn repeatable(seed: u32) -> u32 {
    seed.min(u32::MAX - 1)
}

/// The largest logit; `None` when one is not a number, or the largest is infinite.
fn largest(logits: &[f32]) -> Option<f32> {
    // Lanes of their own, because the compiler may not reorder comparisons of floats to make them.
    const LANES: usize = 16;
    let mut largest = [f32::NEG_INFINITY; LANES];
    let mut is_nan = [false; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for ((logit, largest), is_nan) in chunk.iter().zip(&mut largest).zip(&mut is_nan) {
            *largest = if *logit > *largest { *logit } else { *largest };
            *is_nan |= logit.is_nan();
        }
    }
    let any_nan = is_nan.contains(&true) || rest.iter().any(|logit| logit.is_nan());
    let largest = largest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    (!any_nan && largest.is_finite()).then_some(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_found_wherever_it_is() {
        for len in [1, 15, 16, 17, 100] {
            for at in 0..len {
                let mut logits: Vec<f32> = (0..len).map(|index| -(index as f32)).collect();
                logits[at] = 7.5;
                assert_eq!(largest(&logits), Some(7.5), "{at} of {len}");
            }
        }
    }

    /// llama.cpp's sampler takes a token at random from these, or aborts.
    #[test]
    fn what_is_no_number_is_refused_wherever_it_is() {
        for at in 0..40 {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut logits = [1.0; 40];
                logits[at] = bad;
                assert_eq!(largest(&logits), None, "{bad} at {at}");
            }
        }
        assert_eq!(largest(&[f32::NEG_INFINITY; 40]), None);
        assert_eq!(largest(&[]), None);
        assert_eq!(largest(&[f32::NEG_INFINITY, 1.0]), Some(1.0), "a masked token is fine");
    }

    #[test]
    fn no_seed_means_chance() {
        assert_eq!(repeatable(7), 7);
        assert_ne!(repeatable(u32::MAX), u32::MAX);
    }
}
