//! A line an agent, redrawn in place: what it does, how fast, and the end of its text so far.
//!
//! All lines are one message of one bar. With a bar each, every bar would redraw the lines of all
//! others, and indicatif's limit on redraws would let some of them fall behind.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use console::{Alignment, Term, pad_str, style, truncate_str};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use latchless::BlockPool;

use super::name_width;
use crate::agents::{Fate, News, Watch};
use crate::format::{grouped, rate, tail};
use crate::prompts::Agent;

/// Between two redraws.
const FRAME: Duration = Duration::from_millis(100);
/// Bytes of text that are kept of an agent: no terminal is wider.
const KEPT: usize = 2_000;

pub(super) struct Live {
    terminal: Term,
    pool: Arc<BlockPool>,
    started: Instant,
    drawn: Option<Instant>,
    name_width: usize,
    lines: Vec<Line>,
    bar: ProgressBar,
    /// What the bar is drawn by.
    _screen: MultiProgress,
}

/// A bar that is all message, and what draws it.
pub(crate) fn bar() -> (ProgressBar, MultiProgress) {
    let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
    // The number of lines stays: they are overwritten, not cleared first, and so do not flicker.
    screen.set_move_cursor(true);
    let bar = screen.add(ProgressBar::no_length());
    // A constant template; one that is not understood would show as indicatif's own.
    let template = ProgressStyle::with_template("{msg}");
    bar.set_style(template.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    (bar, screen)
}

struct Line {
    name: String,
    state: &'static str,
    tokens: u32,
    elapsed: Duration,
    text: String,
}

impl Live {
    pub(super) fn new(terminal: Term, agents: &[Agent], pool: &Arc<BlockPool>) -> Self {
        let (bar, screen) = bar();
        Self {
            terminal,
            pool: Arc::clone(pool),
            started: Instant::now(),
            drawn: None,
            name_width: name_width(agents),
            lines: agents.iter().map(|agent| Line::new(&agent.name)).collect(),
            bar,
            _screen: screen,
        }
    }

    fn draw(&mut self) {
        let over = self.lines.iter().all(Line::is_over);
        if !over && self.drawn.is_some_and(|drawn| drawn.elapsed() < FRAME) {
            return;
        }
        self.drawn = Some(Instant::now());
        let (rows, columns) = self.terminal.size();
        let frame = self.frame(rows.into(), columns.into());
        if over {
            self.bar.abandon_with_message(frame);
        } else {
            self.bar.set_message(frame);
        }
    }

    /// A line an agent, as many as there are rows for, and one about all of them.
    fn frame(&self, rows: usize, columns: usize) -> String {
        let shown = self.lines.len().min(rows.saturating_sub(2));
        let mut frame: Vec<String> = self.lines[..shown]
            .iter()
            .map(|line| {
                let name =
                    style(pad_str(&line.name, self.name_width, Alignment::Left, None)).bold();
                format!("{name} {}", line.shown(columns.saturating_sub(self.name_width + 1)))
            })
            .collect();
        let all = self.total(self.lines.len() - shown);
        frame.push(style(truncate_str(&all, columns, "…")).dim().to_string());
        frame.join("\n")
    }

    fn total(&self, hidden: usize) -> String {
        let tokens: u64 = self.lines.iter().map(|line| u64::from(line.tokens)).sum();
        let usage = self.pool.usage();
        format!(
            "{} of {} done{}, {} tokens, {:.1} tok/s, {} of {} blocks in use",
            self.lines.iter().filter(|line| line.is_over()).count(),
            self.lines.len(),
            if hidden > 0 { format!(" ({hidden} not shown)") } else { String::new() },
            grouped(tokens),
            rate(tokens, self.started.elapsed()),
            grouped(usage.used),
            grouped(usage.total),
        )
    }
}

impl Watch for Live {
    fn see(&mut self, index: usize, news: &News) -> io::Result<()> {
        self.lines[index].take(news);
        self.draw();
        Ok(())
    }

    fn idle(&mut self) {
        self.draw();
    }
}

impl Line {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: "starts",
            tokens: 0,
            elapsed: Duration::ZERO,
            text: String::new(),
        }
    }

    fn take(&mut self, news: &News) {
        match news {
            News::Waits => self.state = "waits",
            News::Asked => self.state = "reads",
            News::Said { tokens, text, elapsed } => {
                self.state = "writes";
                (self.tokens, self.elapsed) = (*tokens, *elapsed);
                self.text.push_str(text);
                if self.text.len() > 2 * KEPT {
                    let start = self.text.ceil_char_boundary(self.text.len() - KEPT);
                    self.text.drain(..start);
                }
            }
            News::Ended(outcome) => {
                if let Ok(completion) = &outcome.end {
                    self.elapsed = completion.timings.total;
                }
                self.state = match outcome.fate() {
                    Fate::Completed => "done",
                    Fate::Failed => "failed",
                    Fate::Cancelled => "cancelled",
                };
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, "done" | "cancelled" | "failed")
    }

    /// State, tokens, tokens/s and the end of the text, in at most so many columns.
    fn shown(&self, columns: usize) -> String {
        let Self { state, tokens, .. } = self;
        let speed = rate(*tokens, self.elapsed);
        let head = format!("{state:9} {tokens:>5} tok {speed:>6.1} tok/s  ");
        match columns.checked_sub(head.len()) {
            Some(room) => head + &tail(self.text.trim_start(), room),
            None => head.chars().take(columns).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::{NotAsked, Outcome};

    fn said(tokens: u32, text: &str) -> News {
        News::Said { tokens, text: text.into(), elapsed: Duration::from_secs(2) }
    }

    #[test]
    fn a_line_is_one_line_of_the_width_it_has() {
        let mut line = Line::new("physicist");
        line.take(&said(57, "Rayleigh scattering\nis why the sky is blue."));
        for columns in [0, 10, 40, 80, 200] {
            let shown = line.shown(columns);
            assert!(!shown.contains('\n'), "{shown:?}");
            assert!(console::measure_text_width(&shown) <= columns, "{columns}: {shown:?}");
        }
        assert_eq!(line.shown(45), "writes       57 tok   28.5 tok/s  …y is blue.");
    }

    #[test]
    fn an_endless_text_does_not_grow_without_end() {
        let mut line = Line::new("physicist");
        for tokens in 1..=5_000 {
            line.take(&said(tokens, "天空"));
        }
        assert!(line.text.len() <= 2 * KEPT && line.text.ends_with("天空"));
        assert!(!line.is_over());
    }

    #[test]
    fn a_frame_has_as_many_lines_as_the_terminal_and_says_what_it_hides() {
        let spec = latchless::ModelSpec::new(1, 1, 8, 32).unwrap();
        let pool = latchless::BlockPool::new(latchless::PoolConfig::new(60, spec)).unwrap();
        let agents = crate::prompts::built_in(12);
        let mut live = Live::new(Term::stdout(), &agents, &Arc::new(pool));
        live.lines[0].take(&News::Ended(Outcome {
            text: String::new(),
            submit: None,
            end: Err(NotAsked::Interrupted),
        }));
        let frame = live.frame(8, 100);
        assert_eq!(frame.lines().count(), 7);
        assert!(frame.starts_with("physicist    cancelled"), "{frame}");
        let all = frame.lines().last().unwrap();
        assert!(all.starts_with("1 of 12 done (6 not shown), 0 tokens"), "{all}");
        assert!(all.ends_with("0 of 60 blocks in use"), "{all}");
        assert_eq!(live.frame(40, 100).lines().count(), 13);
        assert_eq!(live.frame(0, 30), "1 of 12 done (12 not shown), …");
    }
}
