//! Deadlines of a connection that actix-http has none for.
//!
//! actix-http limits the time of a connection's first head and the time between requests. A client could still send the
//! head of a later request, or the rest of a refused body, a byte at a time, or never read its answer. [`Timed`] wraps
//! the stream: bytes that come between requests must become a request in time, and what is written must be read in time.

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

/// How long a client may keep a connection waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// From the first byte between requests to the request.
    pub(crate) head: Duration,
    /// How long a write may make no progress.
    pub(crate) write: Duration,
}

/// The requests of a connection, which the stream itself cannot see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answering(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Requests whose answers are not written yet.
    open: AtomicUsize,
    /// Requests so far: one may begin and end between two reads.
    begun: AtomicUsize,
}

impl Answering {
    /// Counts a request until the guard is dropped, which is when its answer has been written.
    pub(crate) fn begin(&self) -> AnsweringGuard {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        AnsweringGuard(self.clone())
    }

    fn is_none(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) == 0
    }

    fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct AnsweringGuard(Answering);

impl Drop for AnsweringGuard {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The middleware that tells a connection's stream of its requests.
pub(crate) async fn count_request(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Answer>, Error> {
    let guard = request.conn_data::<Answering>().map(Answering::begin);
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| Answer {
        body: body.boxed(),
        _guard: guard,
    }))
}

/// The body of an answer; its request counts until it has been written.
pub(crate) struct Answer {
    body: BoxBody,
    _guard: Option<AnsweringGuard>,
}

impl MessageBody for Answer {
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

/// A stream with deadlines. One that is missed is an error of kind `TimedOut`, after which the connection is closed.
#[derive(Debug)]
pub(crate) struct Timed<S, G = ()> {
    stream: S,
    deadlines: Deadlines,
    answering: Answering,
    /// Requests that had begun at the last read.
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
            answering: Answering::default(),
            seen: 0,
            head: Timer::default(),
            write: Timer::default(),
            _guard: guard,
        }
    }

    /// To be told of the requests of this connection.
    pub(crate) fn answering(&self) -> &Answering {
        &self.answering
    }
}

impl<S: AsyncRead + Unpin, G: Unpin> AsyncRead for Timed<S, G> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The bytes read before have become a request.
        let begun = this.answering.begun();
        if begun != this.seen {
            this.seen = begun;
            this.head.stop();
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if !this.answering.is_none() {
            this.head.stop();
            return read;
        }
        if buf.filled().len() > before {
            this.head.start(this.deadlines.head);
        }
        match this.head.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(late("a request's head"))),
            Poll::Pending => read,
        }
    }
}

impl<S: AsyncWrite + Unpin, G: Unpin> Timed<S, G> {
    /// Watches a write that may have to wait for the client.
    fn watched<T>(
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
            Poll::Ready(()) => Poll::Ready(Err(late("the reading of an answer"))),
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
        this.watched(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.watched(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.watched(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.watched(cx, shut)
    }
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"))
}

/// A deadline that may be running.
///
/// The system's timer stays set when the deadline is met, and is set again when it fires: a request costs no timer.
#[derive(Debug, Default)]
struct Timer {
    deadline: Option<Instant>,
    /// Fires at the deadline or before.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Starts it, unless it runs already.
    fn start(&mut self, after: Duration) {
        self.deadline.get_or_insert_with(|| Instant::now() + after);
    }

    fn stop(&mut self) {
        self.deadline = None;
    }

    /// Ready once it has run out.
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

    fn timed_out<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    #[actix_web::test]
    async fn bytes_between_requests_must_become_a_request() {
        let (mut client, server) = duplex(64);
        let mut server = Timed::new(server, DEADLINES, ());
        client.write_all(b"GE").await.unwrap();
        let mut head = [0; 8];
        assert_eq!(server.read(&mut head).await.unwrap(), 2);
        assert!(timed_out(server.read(&mut head).await));
    }

    #[actix_web::test]
    async fn a_connection_may_be_silent_between_requests_and_while_one_is_answered() {
        let (mut client, server) = duplex(64);
        let mut server = Timed::new(server, DEADLINES, ());
        let mut bytes = [0; 8];
        let silence = actix_web::rt::time::timeout(DEADLINES.head * 2, server.read(&mut bytes));
        assert!(silence.await.is_err());
        client.write_all(b"GET").await.unwrap();
        assert_eq!(server.read(&mut bytes).await.unwrap(), 3);
        let answering = server.answering().begin();
        let body = actix_web::rt::time::timeout(DEADLINES.head * 2, server.read(&mut bytes));
        assert!(body.await.is_err());
        drop(answering);
        client.write_all(b"rest").await.unwrap();
        assert_eq!(server.read(&mut bytes).await.unwrap(), 4);
        assert!(timed_out(server.read(&mut bytes).await));
    }

    #[actix_web::test]
    async fn a_request_may_begin_and_end_between_two_reads() {
        let (mut client, server) = duplex(64);
        let mut server = Timed::new(server, DEADLINES, ());
        let mut bytes = [0; 8];
        for _ in 0..4 {
            client.write_all(b"GET").await.unwrap();
            assert_eq!(server.read(&mut bytes).await.unwrap(), 3);
            drop(server.answering().begin());
            let silence = actix_web::rt::time::timeout(DEADLINES.head, server.read(&mut bytes));
            assert!(silence.await.is_err());
        }
    }

    #[actix_web::test]
    async fn an_answer_must_be_read() {
        let (_client, server) = duplex(64);
        let mut server = Timed::new(server, DEADLINES, ());
        assert!(timed_out(server.write_all(&[0; 65]).await));
    }

    #[actix_web::test]
    async fn a_slow_reader_that_goes_on_reading_is_served() {
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
