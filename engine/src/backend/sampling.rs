//! How the next token is drawn.

use super::BackendError;

/// How one request draws its tokens. The default is greedy: always the likeliest token.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Sampling {
    /// The likeliest token; the same prompt in the same batches gives the same tokens.
    #[default]
    Greedy,
    /// A draw: the `top_k` likeliest tokens, of these the smallest set with probability `top_p`, at
    /// `temperature`, by a generator that starts from `seed`.
    Seeded {
        /// Start of the random generator; the same seed repeats the draw.
        seed: u32,
        /// At least [`Sampling::COLDEST`] and finite; 1.0 leaves the model's probabilities as they
        /// are, less makes them sharper.
        temperature: f32,
        /// Candidates that are kept; 0 keeps all.
        top_k: u32,
        /// In (0, 1]; 1.0 keeps all.
        top_p: f32,
    },
}

impl Sampling {
    /// The lowest temperature of a seeded draw. Below it a logit divided by the temperature can
    /// overflow, and the draw is greedy long before.
    pub const COLDEST: f32 = 1e-4;

    /// A seeded draw with the values that `SmolLM2`'s authors advise: temperature 0.2, top-p 0.9; top-k
    /// 40 is llama.cpp's default.
    pub fn seeded(seed: u32) -> Self {
        Self::Seeded { seed, temperature: 0.2, top_k: 40, top_p: 0.9 }
    }
    /// Whether the parameters mean something.
    ///
    /// # Errors
    /// [`BackendError::Sampling`], which names the parameter and what it may be.
    ///
    /// ```
    /// use latchless_engine::backend::Sampling;
    /// assert!(Sampling::seeded(7).validate().is_ok());
    /// let flat = Sampling::Seeded { seed: 7, temperature: 0.0, top_k: 40, top_p: 0.9 };
    /// assert!(flat.validate().unwrap_err().to_string().starts_with("temperature is 0"));
    /// ```
    pub fn validate(&self) -> Result<(), BackendError> {
        let Self::Seeded { temperature, top_p, .. } = *self else {
            return Ok(());
        };
        if !(temperature.is_finite() && temperature >= Self::COLDEST) {
            return Err(BackendError::Sampling {
                parameter: "temperature",
                value: temperature.to_string(),
                allowed: "a finite number of at least 0.0001, or sample greedily",
            });
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(BackendError::Sampling {
                parameter: "top_p",
                value: top_p.to_string(),
                allowed: "a number above 0 and at most 1",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_outside_their_range_are_named() {
        let refused =
            |temperature, top_p| match (Sampling::Seeded { seed: 0, temperature, top_k: 0, top_p })
                .validate()
            {
                Err(BackendError::Sampling { parameter, .. }) => Some(parameter),
                _ => None,
            };
        for temperature in [0.0, -1.0, 1e-9, f32::NAN, f32::INFINITY] {
            assert_eq!(refused(temperature, 1.0), Some("temperature"), "{temperature}");
        }
        for top_p in [0.0, -0.1, 1.1, f32::NAN] {
            assert_eq!(refused(1.0, top_p), Some("top_p"), "{top_p}");
        }
        assert_eq!(refused(Sampling::COLDEST, f32::MIN_POSITIVE), None);
        assert_eq!(Sampling::Greedy.validate(), Ok(()));
    }
}
