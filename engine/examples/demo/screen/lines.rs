//! Plain lines for logs and pipes: one when an agent asks, one at its first token, its whole text at
//! the end.

use std::io::{self, Write};

use super::{READABLE, ending};
use crate::agents::{News, Outcome, Watch};
use crate::format::{counted, paragraphs, rate, time};
use crate::prompts::Agent;

pub(super) struct Lines<W = io::Stdout> {
    agents: Vec<Agent>,
    out: W,
}

impl Lines {
    pub(super) fn new(agents: &[Agent]) -> Self {
        Self { agents: agents.to_vec(), out: io::stdout() }
    }
}

impl<W: Write> Watch for Lines<W> {
    fn see(&mut self, index: usize, news: &News) -> io::Result<()> {
        let Agent { name, prompt } = &self.agents[index];
        match news {
            News::Waits => writeln!(self.out, "{name}: waits for blocks")?,
            News::Asked => {
                let asks = format!("{name} asks: {prompt}");
                self.out.write_all(paragraphs(&asks, "", READABLE).as_bytes())?;
            }
            News::Said { tokens: 1, elapsed, .. } => {
                writeln!(self.out, "{name}: first token after {}", time(*elapsed))?;
            }
            News::Said { .. } => {}
            News::Ended(outcome) => {
                writeln!(self.out, "{name}: {}", summary(outcome))?;
                self.out.write_all(paragraphs(&outcome.text, "    ", READABLE).as_bytes())?;
            }
        }
        self.out.flush()
    }
}

fn summary(outcome: &Outcome) -> String {
    let ending = ending(outcome);
    let Ok(completion) = &outcome.end else { return ending };
    let (tokens, total) = (completion.usage.generated_tokens, completion.timings.total);
    format!(
        "{ending}; {} in {}, {:.1} tokens/s",
        counted(tokens, "token"),
        time(total),
        rate(tokens, total)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::agents::NotAsked;

    #[test]
    fn a_log_has_a_line_an_event_and_no_escape_codes() {
        let agents = vec![Agent { name: "cook".into(), prompt: "Soup?".into() }];
        let mut lines = Lines { agents, out: Vec::new() };
        let said = |tokens| {
            let text = "So\x1b[2J ".to_owned();
            News::Said { tokens, text, elapsed: Duration::from_millis(212 * u64::from(tokens)) }
        };
        let end = Err(NotAsked::Interrupted);
        let outcome = Outcome { text: "So\x1b[2J so\n".into(), submit: None, end };
        for news in [News::Waits, News::Asked, said(1), said(2), News::Ended(outcome)] {
            lines.see(0, &news).unwrap();
        }
        let log = String::from_utf8(lines.out).unwrap();
        assert_eq!(
            log,
            "cook: waits for blocks\ncook asks: Soup?\ncook: first token after 212 ms\ncook: cancelled\n\
             \x20   So [2J so\n"
        );
    }
}
