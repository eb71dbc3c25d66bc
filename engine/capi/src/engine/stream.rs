//! Reading a request's events: by looking, or by waiting for them.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ::latchless_engine::{Event, TokenStream, TryRecvError};
use futures_core::Stream as _;
use latchless::RequestId;

use super::event::{Rest, event, latchless_event};
use crate::arguments::{duration, out};
use crate::call::call;
use crate::handles::{latchless_engine, latchless_stream};
use crate::lease::enter;
use crate::pool::write_if_wanted;
use crate::status::{Failure, latchless_status};

/// The longest that a wait sleeps before it looks again. The lane wakes it at once; this bounds what a
/// thread that is frozen while it wakes can cost.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What is behind a `latchless_stream`.
pub struct Stream {
    request: RequestId,
    /// By its handle: a stream does not keep its engine.
    engine: latchless_engine,
    reader: Mutex<Reader>,
}

struct Reader {
    stream: TokenStream,
    rest: Rest,
}

impl Stream {
    pub(super) fn new(engine: latchless_engine, stream: TokenStream) -> Self {
        let request = stream.id();
        let reader = Mutex::new(Reader { stream, rest: Rest::default() });
        Self { request, engine, reader }
    }

    /// Asks the lane to end the request; false when it has ended, or its engine has.
    fn cancel(&self) -> bool {
        self.engine.get().is_ok_and(|engine| engine.engine.cancel(self.request))
    }
}

impl Reader {
    fn try_next(&mut self, request: u64) -> Result<latchless_event, Failure> {
        if let Some(rest) = self.rest.next(request) {
            return Ok(rest);
        }
        match self.stream.try_recv() {
            Ok(next) => Ok(event(request, &next, &mut self.rest)),
            Err(TryRecvError::Empty) => Err(Failure::NoEvent),
            Err(TryRecvError::Ended) => Err(Failure::Ended),
        }
    }

    /// As the stream's own way to wait, with an end.
    fn wait(&mut self, timeout_ns: u64) -> Result<latchless_event, Failure> {
        // A timeout too long for the clock is none.
        let end = Instant::now().checked_add(duration(timeout_ns));
        let waker = thread_waker();
        let mut context = Context::from_waker(&waker);
        loop {
            match next_of(&mut self.stream, &mut self.rest, &mut context) {
                Poll::Ready(Some(event)) => return Ok(event),
                Poll::Ready(None) => return Err(Failure::Ended),
                Poll::Pending => {}
            }
            let left = end.map_or(LOOK_AGAIN, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(Failure::TimedOut(timeout_ns));
            }
            thread::park_timeout(left.min(LOOK_AGAIN));
        }
    }
}

/// Unparks the calling thread.
pub(super) fn thread_waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// The next event of a stream, rests of the last one included.
pub(super) fn next_of(
    stream: &mut TokenStream,
    rest: &mut Rest,
    context: &mut Context<'_>,
) -> Poll<Option<latchless_event>> {
    let request = stream.id().0;
    if let Some(rest) = rest.next(request) {
        return Poll::Ready(Some(rest));
    }
    let next: Poll<Option<Event>> = Pin::new(stream).poll_next(context);
    next.map(|next| next.map(|next| event(request, &next, rest)))
}

/// The next event of a request, if it is there.
///
/// Threads: one at a time on a stream. Real-time: yes; the first token after the stream was full makes one
/// system call.
///
/// Errors: NO_EVENT, ENDED after the finished event, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_stream_poll(
    stream: latchless_stream,
    event: *mut latchless_event,
) -> latchless_status {
    call(|| {
        let stream = stream.get()?;
        // SAFETY: the caller's promise.
        let event = unsafe { out(event, "event") }?;
        event.write(enter(&stream.reader, "stream")?.try_next(stream.request.0)?);
        Ok(())
    })
}

/// The next event of a request; waits for it, at most `timeout_ns` nanoseconds. Not for the thread that steps
/// the lane: it would wait for itself.
///
/// Threads: one at a time on a stream. Real-time: no, it sleeps and allocates.
///
/// Errors: TIMED_OUT, ENDED after the finished event, BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_stream_wait(
    stream: latchless_stream,
    timeout_ns: u64,
    event: *mut latchless_event,
) -> latchless_status {
    call(|| {
        let stream = stream.get()?;
        // SAFETY: the caller's promise.
        let event = unsafe { out(event, "event") }?;
        event.write(enter(&stream.reader, "stream")?.wait(timeout_ns)?);
        Ok(())
    })
}

/// The request of a stream: for latchless_engine_cancel(), and as events name it.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_stream_request(
    stream: latchless_stream,
    request: *mut u64,
) -> latchless_status {
    call(|| {
        let stream = stream.get()?;
        // SAFETY: the caller's promise.
        let request = unsafe { out(request, "request") }?;
        request.write(stream.request.0);
        Ok(())
    })
}

/// Asks the lane to end the request, and returns at once; the finished event comes with
/// `LATCHLESS_FINISH_CANCELLED`, unless the request ended before. `asked`, which may be NULL, gets 0 when it
/// is known to have ended, else 1.
///
/// Threads: any, also while another waits for an event. Real-time: yes; one system call when the lane sleeps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_stream_cancel(
    stream: latchless_stream,
    asked: *mut u32,
) -> latchless_status {
    call(|| {
        let inside = stream.get()?.cancel();
        // SAFETY: the caller's promise.
        unsafe { write_if_wanted(asked, inside.into(), "asked") }
    })
}

/// Ends a stream's handle. Its request is cancelled if it has not ended; a thread that waits for its next
/// event gets that.
///
/// Threads: any. Real-time: no, it frees; one system call when the lane sleeps.
#[unsafe(no_mangle)]
pub extern "C" fn latchless_stream_release(stream: latchless_stream) -> latchless_status {
    call(|| {
        let inside = stream.get()?;
        stream.close()?;
        // Also when somebody is inside, whose event this is; else the drop does the same.
        inside.cancel();
        Ok(())
    })
}
