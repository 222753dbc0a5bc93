//! From accepted sockets to HTTP: a limit per address, TLS, and deadlines around actix-http's service.
//!
//! actix-web's own listener does not let the stream be wrapped, so the pieces it is made of are put together here.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Protocol};
use actix_server::ServerBuilder;
use actix_service::{
    IntoServiceFactory as _, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::App;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::rt::time::timeout;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::addresses::{Addresses, Slot};
use super::deadline::{Deadlines, Timed};
use crate::http::settings::HttpSettings;

/// Bytes of an answer that the system holds for a client; it allots twice as many.
const SEND_BUFFER: usize = 128 << 10;

/// A connection's bytes, encrypted on the wire or not.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

type Connection = Timed<Box<dyn Stream>, Slot>;

/// How connections are accepted; cheap to clone.
#[derive(Clone)]
struct Acceptor {
    tls: Option<TlsAcceptor>,
    addresses: Addresses,
    deadlines: Deadlines,
}

impl Acceptor {
    /// Gets a connection ready for HTTP.
    ///
    /// # Errors
    /// The address has too many connections, or the TLS handshake fails or takes too long. The connection is closed.
    async fn accept(self, stream: TcpStream) -> io::Result<Connection> {
        let peer = stream.peer_addr()?;
        let slot = self.addresses.take(peer.ip());
        let slot = slot.ok_or_else(|| io::Error::from(io::ErrorKind::QuotaExceeded))?;
        self.notice_dead_peers(&stream)?;
        let stream: Box<dyn Stream> = match self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let encrypted = timeout(self.deadlines.head, tls.accept(stream)).await;
                Box::new(encrypted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??)
            }
        };
        Ok(Timed::new(stream, self.deadlines, slot))
    }

    /// Enables what has the kernel close connections of vanished peers.
    fn notice_dead_peers(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(10));
        socket.set_tcp_keepalive(&keepalive)?;
        // A socket takes more only when a third of its buffer is free. With the megabytes that the system gives a connection
        // on its own, a slow client that reads steadily would seem to take nothing.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.deadlines.write))?;
        Ok(())
    }
}

/// Has a server serve an application on a listener.
///
/// # Errors
/// The listener cannot be used.
pub(crate) fn serve<T, B>(
    builder: ServerBuilder,
    listener: TcpListener,
    settings: &HttpSettings,
    tls: Option<Arc<ServerConfig>>,
    app: impl Fn() -> App<T> + Clone + Send + 'static,
) -> io::Result<ServerBuilder>
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let acceptor = Acceptor {
        tls: tls.map(TlsAcceptor::from),
        addresses: Addresses::new(settings.max_connections_per_address),
        deadlines: Deadlines {
            head: settings.header_timeout,
            write: settings.write_timeout,
        },
    };
    let (keep_alive, header_timeout) = (settings.keep_alive, settings.header_timeout);
    let shutdown = builder.graceful_shutdown_signal();
    builder.listen("lexivec", listener, move || {
        let (acceptor, shutdown) = (acceptor.clone(), shutdown.clone());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let shutdown = shutdown.clone();
                async move { shutdown.notified().await }
            })
            .keep_alive(keep_alive)
            .client_request_timeout(header_timeout)
            // Otherwise a client that is still sending finds the connection reset, and not why it was refused.
            .client_disconnect_timeout(Duration::from_secs(1))
            // Otherwise a handler lives on when its client has gone (actix-web #3462), and its texts are computed.
            .h1_allow_half_closed(false)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(connection.answering().clone());
            })
            .finish(map_config(
                app().into_factory().map_err(|error| error.error_response()),
                |_| AppConfig::default(),
            ));
        fn_service(move |stream: TcpStream| {
            let (acceptor, peer) = (acceptor.clone(), stream.peer_addr().ok());
            async move {
                match acceptor.accept(stream).await {
                    Ok(connection) => Ok((connection, Protocol::Http1, peer)),
                    Err(error) => {
                        tracing::debug!(%error, "a connection was not accepted");
                        Err(())
                    }
                }
            }
        })
        .and_then(http.map_err(|error| tracing::debug!(%error, "a connection failed")))
    })
}
