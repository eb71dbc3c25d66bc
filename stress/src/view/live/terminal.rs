//! The terminal: taken for drawing, and given back as it was, whatever ends the drawing.

use std::io::{self, Stdout, Write, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// A terminal to draw on.
pub(super) type Screen = Terminal<CrosstermBackend<Stdout>>;

/// The name of the thread that draws.
pub(super) const DRAWING: &str = "view";

/// Messages of panics that are kept until the terminal is given back.
const MOST_KEPT: usize = 16;

static TAKEN: AtomicBool = AtomicBool::new(false);
static KEPT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Takes the terminal: nothing that others write is to be seen until it is [left](leave).
pub(super) fn enter() -> io::Result<Screen> {
    keep_messages();
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::Release);
    let screen = execute!(stdout(), EnterAlternateScreen, Hide)
        .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
    screen.inspect_err(|_| leave())
}

/// Gives the terminal back, once, and says what was kept for then. Whoever ends the process calls it.
pub(crate) fn leave() {
    if !TAKEN.swap(false, Ordering::AcqRel) {
        return;
    }
    // What cannot be put in order is not worth more than what follows.
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    for message in std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner)) {
        let _ = writeln!(io::stderr(), "{message}");
    }
}

/// A panic of a thread at work ends the run in an orderly way: its message is kept. One of the threads that
/// could not put the terminal in order afterwards does so before its message.
fn keep_messages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let of_the_process =
                thread::current().name().is_some_and(|name| ["main", DRAWING].contains(&name));
            if of_the_process {
                leave();
            }
            if !TAKEN.load(Ordering::Acquire) {
                return before(info);
            }
            let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < MOST_KEPT {
                kept.push(info.to_string());
            }
        }));
    });
}
