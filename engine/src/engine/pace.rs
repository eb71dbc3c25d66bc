//! How much of the prompts a batch may take while others are generating.
//!
//! A batch takes about as long as one of the decodes alone, and so much more for each row of a prompt. Both
//! are measured as they come, each as a mean and a mean deviation (Jacobson, "Congestion Avoidance and
//! Control", SIGCOMM 1988), and the prompts get as many rows as fit into the host's time between two
//! tokens when a row takes longer than most did. Sarathi-Serve (Agrawal et al., OSDI 2024) fixes such a
//! chunk before the start, from a profile of the machine; here it follows the machine as it is, also when
//! somebody else uses it.

use std::time::Duration;

/// Rows of prompts in a batch at least, whatever they cost: a prompt always moves on.
pub(crate) const LEAST_ROWS: u32 = 1;

/// Rows to begin with, when nothing is known.
const FIRST_ROWS: u32 = 16;

/// While nobody generates a batch may take so many times the target: no token waits for it, but a cancel
/// and the first token of the next request do.
const ALONE: u32 = 8;

/// Deviations that a cost is held to be above its mean.
const CAUTION: f64 = 2.0;

/// A running mean and mean deviation, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    mean: f64,
    deviation: f64,
    known: bool,
}

impl Cost {
    /// The weight of a new measurement.
    const GAIN: f64 = 0.2;

    fn observe(&mut self, seconds: f64) {
        if !self.known {
            *self = Self { mean: seconds, deviation: seconds / 8.0, known: true };
            return;
        }
        let error = seconds - self.mean;
        self.mean += Self::GAIN * error;
        self.deviation += Self::GAIN * (error.abs() - self.deviation);
    }

    fn cautious(&self) -> f64 {
        self.mean + CAUTION * self.deviation
    }
}

/// Sizes the prompts' part of the next batch.
#[derive(Debug)]
pub(crate) struct Pacer {
    target: Option<f64>,
    most: u32,
    /// A batch of decodes alone.
    decodes: Cost,
    /// One more row of a prompt.
    row: Cost,
    /// The prompts' rows in the last batch that had any.
    last: u32,
}

impl Pacer {
    /// For batches with at most `most` rows of prompts; without a target always as many.
    pub(crate) fn new(target: Option<Duration>, most: u32) -> Self {
        Self {
            target: target.map(|target| target.as_secs_f64()),
            most,
            decodes: Cost::default(),
            row: Cost::default(),
            last: FIRST_ROWS / 2,
        }
    }

    /// Rows that prompts may take beside `decodes` decodes.
    pub(crate) fn prefill_rows(&self, decodes: u32) -> u32 {
        let Some(target) = self.target else { return self.most };
        let time =
            if decodes == 0 { target * f64::from(ALONE) } else { target - self.decodes.cautious() };
        let wanted = if !self.row.known {
            f64::from(FIRST_ROWS)
        } else if time <= 0.0 {
            0.0
        } else {
            // A cost of nothing allows everything: the cast saturates.
            time / self.row.cautious()
        };
        // A cost that was measured on a few rows says little of many: no more than twice as many at once.
        (wanted as u32).min(self.last.saturating_mul(2)).max(LEAST_ROWS).min(self.most)
    }

    /// A batch of so many decodes and prompts' rows took so long.
    pub(crate) fn observe(&mut self, decodes: u32, prefill: u32, took: Duration) {
        if self.target.is_none() {
            return;
        }
        let took = took.as_secs_f64();
        if prefill == 0 {
            self.decodes.observe(took);
            return;
        }
        self.last = prefill;
        let others = if decodes > 0 { self.decodes.mean } else { 0.0 };
        self.row.observe((took - others).max(0.0) / f64::from(prefill));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: f64 = 1e-3;

    /// A machine whose batches take `base`, and `row` for each row of a prompt, give or take a tenth.
    struct Machine {
        base: f64,
        row: f64,
        noise: fastrand::Rng,
    }

    impl Machine {
        fn batch(&mut self, rows: u32) -> f64 {
            let noise = 0.9 + 0.2 * self.noise.f64();
            (self.base + self.row * f64::from(rows)) * noise
        }
    }

    /// The times of `batches` batches with decodes and as much of a prompt as is allowed, and the rows.
    fn mixed(pacer: &mut Pacer, machine: &mut Machine, batches: u32) -> (Vec<f64>, u32) {
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..batches {
            let chunk = pacer.prefill_rows(4);
            let took = machine.batch(chunk);
            pacer.observe(4, chunk, Duration::from_secs_f64(took));
            times.push(took);
            rows += chunk;
        }
        times.sort_by(f64::total_cmp);
        (times, rows)
    }

    fn decodes(pacer: &mut Pacer, machine: &mut Machine) {
        for _ in 0..20 {
            let took = machine.batch(0);
            pacer.observe(4, 0, Duration::from_secs_f64(took));
        }
    }

    #[test]
    fn chunks_fit_into_the_target_and_use_most_of_it() {
        let mut machine =
            Machine { base: 20.0 * MS, row: 0.5 * MS, noise: fastrand::Rng::with_seed(1) };
        let mut pacer = Pacer::new(Some(Duration::from_millis(40)), 512);
        decodes(&mut pacer, &mut machine);
        let (times, rows) = mixed(&mut pacer, &mut machine, 200);
        assert!(times[197] < 42.0 * MS, "{:?}", &times[195..]);
        // 40 rows would fit if there was no noise.
        assert!(rows > 200 * 20, "{rows}");
    }

    /// Somebody else takes half of the machine: the chunks follow within a few batches.
    #[test]
    fn a_slower_machine_gets_smaller_chunks() {
        let mut machine =
            Machine { base: 10.0 * MS, row: 0.5 * MS, noise: fastrand::Rng::with_seed(2) };
        let mut pacer = Pacer::new(Some(Duration::from_millis(40)), 512);
        decodes(&mut pacer, &mut machine);
        let (_, before) = mixed(&mut pacer, &mut machine, 50);
        machine.row *= 2.0;
        mixed(&mut pacer, &mut machine, 10);
        let (times, after) = mixed(&mut pacer, &mut machine, 50);
        assert!(times[48] < 42.0 * MS, "{:?}", &times[45..]);
        assert!(after * 3 < before * 2, "{after} of {before}");
    }

    #[test]
    fn a_prompt_always_moves_on() {
        let mut pacer = Pacer::new(Some(Duration::from_nanos(1)), 512);
        for _ in 0..10 {
            pacer.observe(4, 0, Duration::from_millis(50));
            pacer.observe(4, pacer.prefill_rows(4), Duration::from_millis(90));
        }
        assert_eq!((pacer.prefill_rows(4), pacer.prefill_rows(0)), (LEAST_ROWS, LEAST_ROWS));
        assert_eq!(Pacer::new(Some(Duration::from_nanos(1)), 1).prefill_rows(4), 1);
    }

    #[test]
    fn without_a_target_or_without_others_batches_are_long() {
        let mut pacer = Pacer::new(None, 512);
        pacer.observe(4, 512, Duration::from_secs(9));
        assert_eq!((pacer.prefill_rows(0), pacer.prefill_rows(7)), (512, 512));

        let mut pacer = Pacer::new(Some(Duration::from_millis(10)), 512);
        for _ in 0..10 {
            let rows = pacer.prefill_rows(0);
            pacer.observe(0, rows, Duration::from_secs_f64(f64::from(rows) * MS));
        }
        let alone = pacer.prefill_rows(0);
        assert!((70..=80).contains(&alone), "eight times the target, {alone}");
        assert!(pacer.prefill_rows(1) <= 10);
    }
}
