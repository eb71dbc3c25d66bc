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

use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::model::Model;
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
        let screen = terminal::enter()?;
        Self::start(screen, Model::new(plan), end_was_asked, interrupt)
            .inspect_err(|_| terminal::leave())
    }

    /// Draws on a screen; `ending` says whether somebody has asked for the end since it was called last.
    fn start<B>(
        screen: Terminal<B>,
        model: Model,
        ending: impl FnMut() -> io::Result<bool> + Send + 'static,
        interrupt: Interrupt,
    ) -> io::Result<Self>
    where
        B: Backend<Error: Send + Sync + 'static> + Send + 'static,
    {
        let (messages, incoming) = sync_channel(1);
        let drawing =
            thread::Builder::new().name(terminal::DRAWING.to_owned()).spawn(move || {
                let drawn = draw(screen, model, &incoming, ending, &interrupt);
                terminal::leave();
                // A terminal that has gone is no reason to end the run: the watcher finds somebody to leave
                // its statuses with until it closes.
                if drawn.is_err() {
                    while let Ok(Message::Status(_)) = incoming.recv() {}
                }
            })?;
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
fn draw<B>(
    mut screen: Terminal<B>,
    mut model: Model,
    incoming: &Receiver<Message>,
    mut ending: impl FnMut() -> io::Result<bool>,
    interrupt: &Interrupt,
) -> io::Result<()>
where
    B: Backend<Error: Send + Sync + 'static>,
{
    loop {
        match incoming.recv_timeout(LOOK_EVERY) {
            Ok(Message::Status(status)) => model.take(*status),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if ending()? {
            model.ending = true;
            interrupt.strike();
        }
        model.ending |= interrupt.is_struck();
        // Takes a new size of the terminal into account.
        screen.draw(|frame| screen::draw(frame, &model)).map_err(io::Error::other)?;
    }
}

/// Whether a key was pressed that ends it. Where keys are read as they come, Ctrl-C is one of them and no
/// signal.
fn end_was_asked() -> io::Result<bool> {
    let mut asked = false;
    while event::poll(Duration::ZERO)? {
        asked |= is_end(&event::read()?);
    }
    Ok(asked)
}

fn is_end(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (key.code == KeyCode::Char('q') || control && key.code == KeyCode::Char('c'))
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyEvent;

    use super::*;
    use crate::args::tests::plan;
    use crate::report::status::tests::status;

    fn start(ending: impl FnMut() -> io::Result<bool> + Send + 'static) -> (Live, Interrupt) {
        let screen = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let (model, interrupt) = (Model::new(&plan(&[]).unwrap()), Interrupt::default());
        (Live::start(screen, model, ending, interrupt.clone()).unwrap(), interrupt)
    }

    #[test]
    fn the_first_wish_that_it_end_is_passed_on_and_the_run_closes_it() {
        let mut keys = [false, true].into_iter();
        let (live, interrupt) = start(move || Ok(keys.next().unwrap_or_default()));
        while !interrupt.is_struck() {
            live.show(status());
            thread::yield_now();
        }
        live.close();
        live.close();
        live.show(status());
    }

    #[test]
    fn a_terminal_that_has_gone_keeps_nobody_waiting() {
        let (live, interrupt) = start(|| Err(io::ErrorKind::BrokenPipe.into()));
        (0..100).for_each(|_| live.show(status()));
        live.close();
        assert!(!interrupt.is_struck(), "the run goes on");
    }

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
