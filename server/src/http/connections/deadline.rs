//! Deadlines of connections, in addition to those of actix-http.
//!
//! actix-http limits the time of a connection's first head and the time between requests. A client could still send the
//! head of a later request, or the rest of a rejected body, one byte at a time, or never read its response. [`Timed`] wraps
//! the stream: bytes between requests must become a request in time, and the client must read written bytes in time.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::rt::time::{Instant, Sleep, sleep_until};
use actix_web::web::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The time limits of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// From the first byte between requests to the complete head.
    pub(crate) head: Duration,
    /// For a write without progress.
    pub(crate) write: Duration,
}

/// The requests in flight on a connection, which the stream itself cannot see; clones share the counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestCounter(Arc<RequestCounts>);

#[derive(Debug, Default)]
struct RequestCounts {
    /// Requests whose responses are not written yet.
    open: AtomicUsize,
    /// All requests so far, because one may begin and end between two reads.
    begun: AtomicUsize,
}

impl RequestCounter {
    /// Counts a request until the guard is dropped, which happens when its response is written.
    pub(crate) fn begin(&self) -> RequestGuard {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        RequestGuard(self.clone())
    }

    fn is_none(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) == 0
    }

    fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
    }
}

/// Counts a request in flight.
#[derive(Debug)]
pub(crate) struct RequestGuard(RequestCounter);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The middleware that counts a connection's requests for its stream.
pub(crate) async fn count_request(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<CountedBody>, Error> {
    let guard = request
        .conn_data::<RequestCounter>()
        .map(RequestCounter::begin);
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| CountedBody {
        body: body.boxed(),
        _guard: guard,
    }))
}

/// The body of a response. Its request is in flight until the body is written.
pub(crate) struct CountedBody {
    body: BoxBody,
    _guard: Option<RequestGuard>,
}

impl MessageBody for CountedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// A stream with deadlines. A missed deadline is an error of kind `TimedOut`, which closes the connection.
#[derive(Debug)]
pub(crate) struct Timed<S, G = ()> {
    stream: S,
    deadlines: Deadlines,
    requests: RequestCounter,
    /// The requests that had begun at the last read.
    seen: usize,
    head: Timer,
    write: Timer,
    /// Dropped with the stream.
    _guard: G,
}

impl<S, G> Timed<S, G> {
    pub(crate) fn new(stream: S, deadlines: Deadlines, guard: G) -> Self {
        Self {
            stream,
            deadlines,
            requests: RequestCounter::default(),
            seen: 0,
            head: Timer::default(),
            write: Timer::default(),
            _guard: guard,
        }
    }

    /// The count of requests in flight, for [`count_request`].
    pub(crate) fn requests(&self) -> &RequestCounter {
        &self.requests
    }
}

impl<S: AsyncRead + Unpin, G: Unpin> AsyncRead for Timed<S, G> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A request has begun, so the bytes read before belong to it.
        let begun = this.requests.begun();
        if begun != this.seen {
            this.seen = begun;
            this.head.stop();
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if !this.requests.is_none() {
            this.head.stop();
            return read;
        }
        if buf.filled().len() > before {
            this.head.start(this.deadlines.head);
        }
        match this.head.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(timed_out("the head of a request"))),
            Poll::Pending => read,
        }
    }
}

impl<S: AsyncWrite + Unpin, G: Unpin> Timed<S, G> {
    /// Limits the time of a write that waits for the client.
    fn limit_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write.stop();
            return written;
        }
        self.write.start(self.deadlines.write);
        match self.write.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(timed_out("the reading of a response"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin, G: Unpin> AsyncWrite for Timed<S, G> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.limit_write(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.limit_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.limit_write(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.limit_write(cx, shut)
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"))
}

/// A timer that may be running.
///
/// The runtime's timer stays set when the deadline is met, and is reset when it fires, so that most requests set no timer.
#[derive(Debug, Default)]
struct Timer {
    deadline: Option<Instant>,
    /// Fires at the deadline or before.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Starts the timer, unless it runs already.
    fn start(&mut self, after: Duration) {
        self.deadline.get_or_insert_with(|| Instant::now() + after);
    }

    fn stop(&mut self) {
        self.deadline = None;
    }

    /// Ready once the deadline has passed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const DEADLINES: Deadlines = Deadlines {
        head: Duration::from_millis(200),
        write: Duration::from_millis(200),
    };

    fn has_timed_out<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    #[actix_web::test]
    async fn bytes_between_requests_must_become_a_request_in_time() {
        let (mut client, server) = duplex(64);
        let mut server = Timed::new(server, DEADLINES, ());
        client.write_all(b"GE").await.unwrap();
        let mut head = [0; 8];
        assert_eq!(server.read(&mut head).await.unwrap(), 2);
        assert!(has_timed_out(server.read(&mut head).await));
    }

    #[actix_web::test]
    async fn a_connection_may_be_silent_between_requests_and_during_one() {
        let (mut client, server) = duplex(64);
        let mut server = Timed::new(server, DEADLINES, ());
        let mut bytes = [0; 8];
        let silence = actix_web::rt::time::timeout(DEADLINES.head * 2, server.read(&mut bytes));
        assert!(silence.await.is_err());
        client.write_all(b"GET").await.unwrap();
        assert_eq!(server.read(&mut bytes).await.unwrap(), 3);
        let request = server.requests().begin();
        let body = actix_web::rt::time::timeout(DEADLINES.head * 2, server.read(&mut bytes));
        assert!(body.await.is_err());
        drop(request);
        client.write_all(b"rest").await.unwrap();
        assert_eq!(server.read(&mut bytes).await.unwrap(), 4);
        assert!(has_timed_out(server.read(&mut bytes).await));
    }

    #[actix_web::test]
    async fn a_request_may_begin_and_end_between_two_reads() {
        let (mut client, server) = duplex(64);
        let mut server = Timed::new(server, DEADLINES, ());
        let mut bytes = [0; 8];
        for _ in 0..4 {
            client.write_all(b"GET").await.unwrap();
            assert_eq!(server.read(&mut bytes).await.unwrap(), 3);
            drop(server.requests().begin());
            let silence = actix_web::rt::time::timeout(DEADLINES.head, server.read(&mut bytes));
            assert!(silence.await.is_err());
        }
    }

    #[actix_web::test]
    async fn a_response_must_be_read_in_time() {
        let (_client, server) = duplex(64);
        let mut server = Timed::new(server, DEADLINES, ());
        assert!(has_timed_out(server.write_all(&[0; 65]).await));
    }

    #[actix_web::test]
    async fn a_slow_client_that_keeps_reading_is_served() {
        let (mut client, server) = duplex(64);
        let mut server = Timed::new(server, DEADLINES, ());
        let reading = async {
            let mut bytes = [0; 64];
            for _ in 0..8 {
                actix_web::rt::time::sleep(DEADLINES.write / 2).await;
                client.read_exact(&mut bytes).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(server.write_all(&[0; 8 * 64]), reading);
        written.unwrap();
    }
}
