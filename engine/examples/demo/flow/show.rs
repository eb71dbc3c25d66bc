//! What is seen of the flow while it runs: live lines on a terminal, one line an event elsewhere.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use console::{style, truncate_str};
use indicatif::{MultiProgress, ProgressBar};
use latchless_engine::runtime::Agent;
use latchless_engine::runtime::turn::{Happening, Watch};
use latchless_engine::store::{PlanId, Store, Task, TaskStatus};

use super::setup::FlowSetup;
use crate::error::DemoError;
use crate::format::{harmless, rate, tail};
use crate::screen::{self, Screen};

/// Columns of a line in a log.
const LOG: usize = 110;
/// Bytes of an agent's text that are kept for its line.
const KEPT: usize = 1_000;

/// Something to tell.
pub(super) struct News {
    agent: String,
    what: String,
}

/// Passes on what the agents' threads tell. They wait for nobody.
pub(super) struct Reporter(Sender<News>);

impl Reporter {
    pub(super) fn new(sender: Sender<News>) -> Self {
        Self(sender)
    }
}

impl Watch for Reporter {
    fn see(&self, agent: &Agent, happening: &Happening<'_>) {
        let what = match happening {
            Happening::Claimed(claim) if claim.attempt > 1 => {
                format!("claims {}, attempt {}", claim.key, claim.attempt)
            }
            Happening::Claimed(claim) => format!("claims {}", claim.key),
            Happening::Called(ended) => {
                let shown = ended.iter().map(|ended| match &ended.result {
                    Ok(answer) => format!("{} → {answer}", ended.asked),
                    Err(error) => format!("{} failed: {error}", ended.asked),
                });
                for what in shown {
                    drop(self.0.send(News { agent: agent.name().to_owned(), what }));
                }
                return;
            }
            Happening::Finished(result) => {
                let task = agent.task().map_or(String::new(), |task| format!("{task}: "));
                format!("is done: {task}{result}")
            }
            Happening::Stopped(error) => format!("stops: {error}"),
            Happening::Panicked(message) => format!("panics: {message}"),
            _ => return,
        };
        // Nobody listens any more when the output is gone.
        drop(self.0.send(News { agent: agent.name().to_owned(), what }));
    }
}

/// Who shows it.
pub(super) trait View {
    fn see(&mut self, news: &News) -> Result<(), DemoError>;
    fn tick(&mut self) -> Result<(), DemoError>;
}

pub(super) fn view<'a>(screen: &Screen, setup: &'a FlowSetup) -> Box<dyn View + 'a> {
    if screen.is_live() { Box::new(Live::new(setup)) } else { Box::new(Log(io::stdout())) }
}

/// A line an event.
struct Log<W>(W);

impl<W: Write> View for Log<W> {
    fn see(&mut self, news: &News) -> Result<(), DemoError> {
        let line: String = harmless(&format!("{} {}", news.agent, news.what)).collect();
        writeln!(self.0, "{}", truncate_str(&line, LOG, "…"))?;
        Ok(self.0.flush()?)
    }

    fn tick(&mut self) -> Result<(), DemoError> {
        Ok(())
    }
}

/// The plan's tasks, and a line an agent.
struct Live<'a> {
    setup: &'a FlowSetup,
    started: Instant,
    drawn: Option<Instant>,
    texts: Vec<String>,
    bar: ProgressBar,
    /// What the bar is drawn by.
    _screen: MultiProgress,
}

impl<'a> Live<'a> {
    fn new(setup: &'a FlowSetup) -> Self {
        let (bar, screen) = screen::bar();
        let texts = setup.flow.agents().map(|_| String::new()).collect();
        Self { setup, started: Instant::now(), drawn: None, texts, bar, _screen: screen }
    }

    fn draw(&mut self) -> Result<(), DemoError> {
        let columns = usize::from(console::Term::stdout().size().1);
        let tasks = tasks(&self.setup.store, self.setup.plan)?;
        let mut frame = vec![progress(&tasks, columns)];
        let width = self.setup.flow.agents().map(|agent| agent.name().len()).max().unwrap_or(0);
        let mut tokens = 0;
        for (agent, text) in self.setup.flow.agents().zip(&mut self.texts) {
            while let Some(piece) = agent.output() {
                text.push_str(&piece);
            }
            if text.len() > 2 * KEPT {
                let start = text.ceil_char_boundary(text.len() - KEPT);
                text.drain(..start);
            }
            tokens += agent.tokens();
            frame.push(line(agent, text, width, columns));
        }
        let usage = self.setup.engine.pool().usage();
        let all = format!(
            "{tokens} tokens, {:.1} tok/s, {} of {} blocks in use",
            rate(tokens, self.started.elapsed()),
            usage.used,
            usage.total
        );
        frame.push(style(truncate_str(&all, columns, "…")).dim().to_string());
        self.bar.set_message(frame.join("\n"));
        Ok(())
    }
}

impl View for Live<'_> {
    fn see(&mut self, _news: &News) -> Result<(), DemoError> {
        self.tick()
    }

    fn tick(&mut self) -> Result<(), DemoError> {
        if self.drawn.is_none_or(|drawn| drawn.elapsed() >= super::TICK) {
            self.drawn = Some(Instant::now());
            self.draw()?;
        }
        Ok(())
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        let _drawn = self.draw();
        self.bar.abandon();
    }
}

fn tasks(store: &Arc<dyn Store>, plan: PlanId) -> Result<Vec<Task>, DemoError> {
    Ok(store.tasks(plan)?)
}

/// Every task with a mark for where it is, in one line.
fn progress(tasks: &[Task], columns: usize) -> String {
    let done = tasks.iter().filter(|task| task.status == TaskStatus::Completed).count();
    let mut line = format!("{done} of {} done ", tasks.len());
    for task in tasks {
        let mark = match task.status {
            TaskStatus::Pending if task.waiting > 0 => "·",
            TaskStatus::Pending => "○",
            TaskStatus::Assigned | TaskStatus::InProgress => "●",
            TaskStatus::Completed => "✓",
            TaskStatus::Failed => "✗",
            TaskStatus::Skipped => "-",
        };
        line.extend([" ", mark, " ", &task.key]);
    }
    style(truncate_str(&line, columns, "…")).bold().to_string()
}

/// What an agent does, at what, and the end of what it says.
fn line(agent: &Agent, text: &str, width: usize, columns: usize) -> String {
    if columns == 0 {
        // Not even a mark that something was cut off has room.
        return String::new();
    }
    let (state, task) = match agent.task() {
        Some(task) => (agent.state().state().to_string(), task),
        None => ("idle".to_owned(), String::new()),
    };
    let head = format!("{:width$}  {state:14}  {task:10}  ", agent.name());
    let room = columns.saturating_sub(head.chars().count());
    let said = if task.is_empty() { String::new() } else { tail(text.trim_start(), room) };
    truncate_str(&(head + &said), columns, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_a_line_an_event_and_no_escape_codes() {
        let mut log = Log(Vec::new());
        let what = format!("is done: So\x1b[2J\n{}", "so ".repeat(100));
        log.see(&News { agent: "ada".into(), what }).unwrap();
        let text = String::from_utf8(log.0).unwrap();
        assert!(text.starts_with("ada is done: So") && text.ends_with("…\n"), "{text:?}");
        assert!(!text.contains('\x1b') && text.lines().count() == 1, "{text:?}");
    }

    #[test]
    fn a_line_fits_its_terminal() {
        let agent = Agent::new("ada", "any").unwrap();
        for columns in [0, 10, 40, 200] {
            let line = line(&agent, "something", 4, columns);
            assert!(console::measure_text_width(&line) <= columns, "{columns}: {line:?}");
        }
    }
}
