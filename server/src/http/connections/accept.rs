//! Accepts connections: the limit per address, TLS, and deadlines, then actix-http's service.
//!
//! actix-web's own listener does not let us wrap the stream, so this module combines the parts of actix-web itself.

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

/// The size of a socket's send buffer in bytes. Linux allocates twice as many.
const SEND_BUFFER: usize = 128 << 10;

/// The byte stream of a connection, with or without TLS.
trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteStream for S {}

type Connection = Timed<Box<dyn ByteStream>, Slot>;

/// Prepares accepted connections; cheap to clone.
#[derive(Clone)]
struct Acceptor {
    tls: Option<TlsAcceptor>,
    addresses: Addresses,
    deadlines: Deadlines,
}

impl Acceptor {
    /// Prepares a connection for HTTP.
    ///
    /// # Errors
    /// The address has too many connections, or the TLS handshake fails or takes too long. The connection is closed.
    async fn accept(self, stream: TcpStream) -> io::Result<Connection> {
        let peer = stream.peer_addr()?;
        let slot = self.addresses.take(peer.ip());
        let slot = slot.ok_or_else(|| io::Error::from(io::ErrorKind::QuotaExceeded))?;
        self.configure_socket(&stream)?;
        let stream: Box<dyn ByteStream> = match self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let encrypted = timeout(self.deadlines.head, tls.accept(stream)).await;
                Box::new(encrypted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??)
            }
        };
        Ok(Timed::new(stream, self.deadlines, slot))
    }

    /// Sets the socket's options, so that the kernel closes connections of vanished peers.
    fn configure_socket(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(10));
        socket.set_tcp_keepalive(&keepalive)?;
        // A socket accepts more only when a third of its buffer is free. The default buffer has megabytes, so a slow client that
        // reads steadily would seem to read nothing.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.deadlines.write))?;
        Ok(())
    }
}

/// Registers an application on a listener with a server.
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
            // Otherwise a client that is still sending finds the connection reset, and cannot read the error.
            .client_disconnect_timeout(Duration::from_secs(1))
            // Otherwise a handler outlives its client's connection (actix-web #3462), and its texts are computed.
            .h1_allow_half_closed(false)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(connection.requests().clone());
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
                        tracing::debug!(%error, "a connection was rejected");
                        Err(())
                    }
                }
            }
        })
        .and_then(http.map_err(|error| tracing::debug!(%error, "a connection failed")))
    })
}
