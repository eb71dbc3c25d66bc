//! Reading what a process puts out, all the time and without end: it never waits for its reader, and what is
//! kept of it is bounded.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use latchless::{Outbox, OutboxCapacity};

/// Lines that are kept until they are taken; the oldest go.
const LINES: usize = 1_000;
/// Bytes of a line; a longer one comes in parts.
const LINE_BYTES: usize = 8_192;

/// Which of its two outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A line that a process has put out, without its end. What is no UTF-8 is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// From where.
    pub stream: Stream,
    /// The text.
    pub text: String,
}

/// What both readers share with the process's owner.
pub(super) struct Capture {
    lines: Outbox<Line>,
    /// Readers that have not come to an end.
    open: Mutex<usize>,
    ended: Condvar,
}

impl Capture {
    pub(super) fn new() -> Result<Arc<Self>, OutboxCapacity> {
        let lines = Outbox::new(LINES)?;
        Ok(Arc::new(Self { lines, open: Mutex::new(0), ended: Condvar::new() }))
    }

    /// Reads `from` to its end on a thread of its own.
    pub(super) fn read(
        self: &Arc<Self>,
        stream: Stream,
        from: impl Read + Send + 'static,
    ) -> std::io::Result<()> {
        let capture = Arc::clone(self);
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let thread = thread::Builder::new().name("latchless-output".to_owned());
        let reader = Reader { capture, stream };
        // The guard counts itself out, also when there is no thread for it.
        thread.spawn(move || reader.run(from)).map(drop)
    }

    pub(super) fn lines(&self) -> &Outbox<Line> {
        &self.lines
    }

    /// Waits for the ends of both outputs; false when the time is over before.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.wait_timeout_while(open, at_most, |open| *open > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
    }

    /// Waits as long, or until an output ends.
    pub(super) fn doze(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        if self.wait(at_most) {
            // Both have ended already, and the process has not.
            thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}

struct Reader {
    capture: Arc<Capture>,
    stream: Stream,
}

impl Reader {
    fn run(self, mut from: impl Read) {
        let mut buffer = vec![0; LINE_BYTES];
        let mut line = Vec::with_capacity(LINE_BYTES);
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::debug!(%error, "an agent's output cannot be read any further");
                    break;
                }
            };
            for part in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
                let room = LINE_BYTES - line.len();
                let (now, later) = part.split_at(room.min(part.len()));
                line.extend_from_slice(now);
                if line.ends_with(b"\n") {
                    self.push(&mut line);
                } else if line.len() == LINE_BYTES {
                    self.push(&mut line);
                    // At most a buffer's length, so that it fits now.
                    line.extend_from_slice(later);
                    if line.ends_with(b"\n") {
                        self.push(&mut line);
                    }
                }
            }
        }
        if !line.is_empty() {
            self.push(&mut line);
        }
    }

    fn push(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\n', '\r']).to_owned();
        drop(self.capture.lines.push(Line { stream: self.stream, text }));
        line.clear();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        *self.capture.open.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.capture.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &'static [u8]) -> Vec<String> {
        let capture = Capture::new().unwrap();
        capture.read(Stream::Out, bytes).unwrap();
        assert!(capture.wait(Duration::MAX));
        std::iter::from_fn(|| capture.lines().pop()).map(|line| line.text).collect()
    }

    #[test]
    fn lines_are_whole_or_cut_where_they_are_too_long() {
        assert_eq!(lines(b""), [""; 0]);
        assert_eq!(lines(b"a\nb\r\n\nc"), ["a", "b", "", "c"]);
        assert_eq!(lines(b"\xff\xfe\n"), ["\u{fffd}\u{fffd}"]);
        let long: &'static [u8] = vec![b'x'; 3 * LINE_BYTES + 5].leak();
        let lengths: Vec<_> = lines(long).iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_BYTES, LINE_BYTES, LINE_BYTES, 5]);
        let broken: &'static [u8] =
            [&b"a\n"[..], &vec![b'y'; LINE_BYTES + 1], b"\nb\n"].concat().leak();
        let lengths: Vec<_> = lines(broken).iter().map(String::len).collect();
        assert_eq!(lengths, [1, LINE_BYTES, 1, 1]);
    }

    #[test]
    fn of_a_flood_the_newest_lines_are_kept_and_the_rest_is_counted() {
        let flood: &'static [u8] =
            (0..5_000).fold(String::new(), |all, n| format!("{all}{n}\n")).leak().as_bytes();
        let capture = Capture::new().unwrap();
        capture.read(Stream::Err, flood).unwrap();
        assert!(capture.wait(Duration::MAX));
        assert_eq!(capture.lines().dropped(), 4_000);
        let first = capture.lines().pop().unwrap();
        assert_eq!((first.stream, &*first.text), (Stream::Err, "4000"));
    }
}
