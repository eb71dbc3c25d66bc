//! What is printed when everybody is done: the answers, a table, the figures of the whole.

use std::io::{self, Write};

use console::style;

use crate::agents::{Fate, Outcome, Round};
use crate::comparison::Comparison;
use crate::figures::{Count, percentile, submits, waits};
use crate::format::{counted, grouped, paragraphs, rate, time};
use crate::prompts::Agent;
use crate::screen::{ending, name_width};
use crate::swap::Swapped;

/// Every agent's question and the whole of its answer.
pub(crate) fn answers(
    out: &mut impl Write,
    agents: &[Agent],
    round: &Round,
    columns: usize,
) -> io::Result<()> {
    for (agent, outcome) in agents.iter().zip(&round.outcomes) {
        let asked = format!("{}: {}", agent.name, agent.prompt);
        writeln!(out, "\n{}", style(paragraphs(&asked, "", columns).trim_end()).bold())?;
        let indent = "  ";
        out.write_all(paragraphs(&outcome.text, indent, columns - indent.len()).as_bytes())?;
    }
    Ok(())
}

/// A row an agent, then the whole.
pub(crate) fn table(out: &mut impl Write, agents: &[Agent], round: &Round) -> io::Result<()> {
    let width = name_width(agents).max("agent".len());
    let head = format!("{:width$}  tokens  first token  tokens/s  finish", "agent");
    writeln!(out, "\n{}", style(head).bold())?;
    for (agent, outcome) in agents.iter().zip(&round.outcomes) {
        writeln!(out, "{:width$}  {}", agent.name, row(outcome))?;
    }
    let count = Count::of(round);
    let generated = round.generated();
    writeln!(
        out,
        "\n{}: {} completed, {} failed{}",
        counted(count.requests as u64, "request"),
        count.completed,
        count.failed,
        if count.cancelled > 0 {
            format!(", {} cancelled", count.cancelled)
        } else {
            String::new()
        }
    )?;
    writeln!(
        out,
        "tokens: {} in {}, {:.1} tokens/s",
        grouped(generated),
        time(round.wall),
        rate(generated, round.wall)
    )?;
    writeln!(
        out,
        "pool: at most {} of {} blocks in use, {} leaked",
        grouped(round.peak_blocks),
        grouped(round.total_blocks),
        grouped(round.leaked_blocks)
    )?;
    for (what, times) in [("first token", waits(round)), ("submit", submits(round))] {
        if let (Some(p50), Some(p99)) = (percentile(&times, 50), percentile(&times, 99)) {
            writeln!(out, "{what}: {} at p50, {} at p99", time(p50), time(p99))?;
        }
    }
    Ok(())
}

/// What was not computed, because others had computed it.
pub(crate) fn prompts(out: &mut impl Write, round: &Round) -> io::Result<()> {
    let (all, cached) = round.prompts();
    if cached > 0 {
        let (all, computed, cached) = (grouped(all), grouped(all - cached), grouped(cached));
        writeln!(out, "prompts: {all} tokens, {computed} computed, {cached} shared")?;
    }
    Ok(())
}

/// What became of the model that was replaced under way.
pub(crate) fn swapped(out: &mut impl Write, swapped: &Swapped) -> io::Result<()> {
    writeln!(
        out,
        "swap: loaded in {} while the old model answered; it finished {} requests and was gone after {}; \
         a question after it: model {}, {}",
        time(swapped.load),
        grouped(swapped.remaining),
        time(swapped.drain),
        swapped.after.generation,
        swapped.after.reason
    )
}

fn row(outcome: &Outcome) -> String {
    let ending = ending(outcome);
    let Ok(completion) = &outcome.end else {
        return format!("{:>6}  {:>11}  {:>8}  {ending}", 0, "-", "-");
    };
    let tokens = completion.usage.generated_tokens;
    let first = completion.timings.first_token.map_or_else(|| "-".to_owned(), time);
    let speed = rate(tokens, completion.timings.total);
    format!("{:>6}  {first:>11}  {speed:>8.1}  {ending}", grouped(tokens))
}

/// The engine beside the plain loop.
pub(crate) fn comparison(out: &mut impl Write, comparison: &Comparison) -> io::Result<()> {
    let turns = |speeds: &[f64]| {
        let speeds: Vec<_> = speeds.iter().map(|speed| format!("{speed:.1}")).collect();
        speeds.join(", ")
    };
    writeln!(out, "\n{}", style("tokens/s      median  turns").bold())?;
    for (what, median, speeds) in [
        ("engine", comparison.engine_median(), &comparison.engine),
        ("plain loop", comparison.plain_median(), &comparison.plain),
    ] {
        writeln!(out, "{what:12}  {median:>6.1}  {}", turns(speeds))?;
    }
    writeln!(
        out,
        "The engine makes {:.2} of the tokens/s of a plain llama.cpp loop with the same batch.",
        comparison.ratio()
    )
}

/// Why the requests that failed did.
pub(crate) fn failures(out: &mut impl Write, agents: &[Agent], round: &Round) -> io::Result<()> {
    for (agent, outcome) in agents.iter().zip(&round.outcomes) {
        if outcome.fate() == Fate::Failed {
            writeln!(out, "error: the request of {}: {}", agent.name, ending(outcome))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use latchless_engine::SubmitError;

    use super::*;
    use crate::agents::NotAsked;

    #[test]
    fn a_table_has_a_row_an_agent_and_the_figures_of_all() {
        let agents = ["cook", "coach"].map(|name| Agent { name: name.into(), prompt: "?".into() });
        let outcome = |end| Outcome { text: "Eat.\n".into(), submit: None, end: Err(end) };
        let round = Round {
            outcomes: vec![
                outcome(NotAsked::Interrupted),
                outcome(NotAsked::Refused(SubmitError::Draining)),
            ],
            wall: Duration::from_secs(2),
            peak_blocks: 1_200,
            total_blocks: 2_400,
            leaked_blocks: 3,
        };
        let mut out = Vec::new();
        answers(&mut out, &agents, &round, 40).unwrap();
        table(&mut out, &agents, &round).unwrap();
        failures(&mut out, &agents, &round).unwrap();
        comparison(&mut out, &Comparison { engine: vec![95.0], plain: vec![100.0] }).unwrap();
        let text = console::strip_ansi_codes(&String::from_utf8(out).unwrap()).into_owned();
        for line in [
            "cook: ?\n  Eat.\n",
            "agent  tokens  first token  tokens/s  finish\n",
            "cook        0            -         -  cancelled\n",
            "2 requests: 0 completed, 1 failed, 1 cancelled\n",
            "tokens: 0 in 2.0 s, 0.0 tokens/s\n",
            "pool: at most 1,200 of 2,400 blocks in use, 3 leaked\n",
            "error: the request of coach: failed: the engine is draining",
            "plain loop     100.0  100.0\n",
            "makes 0.95 of the tokens/s",
        ] {
            assert!(text.contains(line), "{line:?} is missing in\n{text}");
        }
    }
}
