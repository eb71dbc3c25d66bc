//! What a batch costs by its rows: what the choice of a quantisation and of threads rests on.
//!
//! Three agents gain from company only as far as three rows cost less than three batches of one.

use std::error::Error;
use std::time::{Duration, Instant};

use latchless_engine::Token;
use latchless_engine::backend::{Backend, Batch, BatchRow, SequenceId};

use crate::Bench;
use crate::report::{Report, millis, percentile};

const GROUP: &str = "rows";
/// Rows of generating sequences, one each.
const DECODES: [u32; 8] = [1, 2, 3, 4, 5, 8, 16, 32];
/// Rows of one prompt.
const PROMPT: u32 = 256;

/// Every sequence gets a token more, or the first one so many.
fn decode(
    context: &mut impl Backend,
    sequences: u32,
    rows: u32,
) -> Result<Duration, Box<dyn Error>> {
    let mut batch = Batch::with_capacity((sequences * rows) as usize);
    for sequence in (0..sequences).map(SequenceId) {
        let len = context.sequence_len(sequence);
        for row in 0..rows {
            let token = Token(1000 + (7 * sequence.0 + 3 * row) as i32);
            let position = len + row;
            let _fits = batch.push(BatchRow { token, sequence, position, logits: row + 1 == rows });
        }
    }
    let started = Instant::now();
    context.decode(&batch)?;
    Ok(started.elapsed())
}

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let mut context = bench.context(4096, 32)?;
    let mut times = vec![Vec::new(); DECODES.len()];
    // In turn, so that what else the machine does touches all alike.
    for round in 0..=bench.rounds(30, 3) {
        for (count, times) in DECODES.into_iter().zip(&mut times) {
            let took = decode(&mut context, count, 1)?;
            // A context is slow at first.
            if round > 0 {
                times.push(took);
            }
        }
    }
    for (count, times) in DECODES.into_iter().zip(&mut times) {
        let figure = format!("a batch of {count} sequences, a row each, p50");
        report.add(GROUP, figure, millis(percentile(times, 0.5)), "ms", None);
    }
    let mut prompts = Vec::new();
    for _ in 0..bench.rounds(5, 1) {
        context.truncate(SequenceId(0), 0)?;
        prompts.push(decode(&mut context, 1, PROMPT)?);
    }
    let figure = format!("a batch of {PROMPT} rows of a prompt, p50");
    report.add(GROUP, figure, millis(percentile(&mut prompts, 0.5)), "ms", None);
    Ok(())
}
