//! Drawing a token from logits.

use llama_cpp_2::context::LlamaContext as RawContext;
use llama_cpp_2::sampling::LlamaSampler as RawSampler;

use super::super::{BackendError, Sampling, Token};

/// How one request draws its tokens.
#[derive(Debug)]
pub struct LlamaSampler(Kind);

#[derive(Debug)]
enum Kind {
    /// Done here, on the logits where they lie: llama.cpp would copy the vocabulary first.
    Greedy,
    Chain(RawSampler),
}

impl LlamaSampler {
    /// The sampler for `sampling`.
    pub(super) fn new(sampling: &Sampling) -> Result<Self, BackendError> {
        sampling.validate()?;
        let Sampling::Seeded { seed, temperature, top_k, top_p } = *sampling else {
            return Ok(Self(Kind::Greedy));
        };
        let keeps = |top_k| RawSampler::top_k(i32::try_from(top_k).unwrap_or(i32::MAX));
        // llama.cpp's own order. 0 keeps all, which llama.cpp would do by sorting the vocabulary.
        let chain = (top_k > 0).then(|| keeps(top_k)).into_iter().chain([
            RawSampler::top_p(top_p, 1),
            RawSampler::temp(temperature),
            RawSampler::dist(repeatable(seed)),
        ]);
        Ok(Self(Kind::Chain(RawSampler::chain(chain, true))))
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
        };
        Ok(Token(token))
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
