//! The live view: the whole terminal, drawn by a thread of its own. A terminal can keep whoever draws on it
//! waiting for as long as it likes; the watcher only leaves a status and goes on.

mod model;
mod parts;
mod pool;
mod screen;
pub(crate) mod terminal;

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::model::Model;
use self::terminal::Screen;
use super::View;
use crate::interrupt::Interrupt;
use crate::plan::Plan;
use crate::report::status::Status;

/// Time between two statuses: percentiles of less would jump about.
const EVERY: Duration = Duration::from_secs(1);
/// Time between two looks at the keyboard and the size of the terminal.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Cells of the map: what a large terminal has room for.
const CELLS: usize = 4_096;

enum Message {
    Status(Box<Status>),
    Close,
}

/// A terminal that shows how a run goes.
pub(crate) struct Live {
    messages: SyncSender<Message>,
    drawing: Mutex<Option<JoinHandle<()>>>,
}

impl Live {
    /// Takes the terminal.
    pub(crate) fn open(plan: &Plan, interrupt: Interrupt) -> io::Result<Self> {
        let model = Model::new(plan);
        let (messages, incoming) = sync_channel(1);
        let screen = terminal::enter()?;
        let drawing = thread::Builder::new()
            .name(terminal::DRAWING.to_owned())
            .spawn(move || {
                // A terminal that has gone is no reason to end the run.
                let _ = draw(screen, model, &incoming, &interrupt);
                terminal::leave();
                // The watcher finds somebody to leave its statuses with until the run is over.
                while !matches!(incoming.recv(), Ok(Message::Close) | Err(_)) {}
            })
            .inspect_err(|_| terminal::leave())?;
        Ok(Self { messages, drawing: Mutex::new(Some(drawing)) })
    }
}

impl View for Live {
    fn every(&self) -> Duration {
        EVERY
    }

    fn cells(&self) -> usize {
        CELLS
    }

    fn show(&self, status: Status) {
        // Still at the last one: this one is missed.
        let _ = self.messages.try_send(Message::Status(Box::new(status)));
    }

    fn close(&self) {
        let mut drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(drawing) = drawing.take() {
            let _ = self.messages.send(Message::Close);
            let _ = drawing.join();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.close();
    }
}

/// Draws until it is told to close.
fn draw(
    mut screen: Screen,
    mut model: Model,
    incoming: &Receiver<Message>,
    interrupt: &Interrupt,
) -> io::Result<()> {
    loop {
        match incoming.recv_timeout(LOOK_EVERY) {
            Ok(Message::Status(status)) => model.take(*status),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        while event::poll(Duration::ZERO)? {
            if is_end(&event::read()?) {
                // Where keys are read as they come, Ctrl-C is one of them and no signal.
                model.ending = true;
                interrupt.strike();
            }
        }
        model.ending |= interrupt.is_struck();
        // Takes a new size of the terminal into account.
        screen.draw(|frame| screen::draw(frame, &model))?;
    }
}

fn is_end(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (key.code == KeyCode::Char('q') || control && key.code == KeyCode::Char('c'))
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn only_the_keys_that_end_a_run_end_it() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        assert!(is_end(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(is_end(&key(KeyCode::Char('q'), KeyModifiers::NONE)));
        for other in [
            key(KeyCode::Char('c'), KeyModifiers::NONE),
            key(KeyCode::Enter, KeyModifiers::NONE),
            Event::Resize(3, 3),
        ] {
            assert!(!is_end(&other), "{other:?}");
        }
    }
}
