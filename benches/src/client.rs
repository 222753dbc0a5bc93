//! A keep-alive HTTP/1.1 client that uses little CPU, because it shares the machine with the server under measurement.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

/// A connection to a server. The first request opens it, and so does the first one after a failure.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    source: Option<IpAddr>,
    key: Option<String>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Creates a client of the server at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            source: None,
            key: None,
            sender: None,
        }
    }

    /// Connects from this local address. A server without API keys distinguishes callers by their addresses.
    #[must_use]
    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Sends this API key with each request.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(format!("Bearer {key}"));
        self
    }

    /// Sends a GET, or a POST of JSON if there is a body. Returns the answer's status and body.
    ///
    /// # Errors
    /// If the connection fails.
    pub async fn send(
        &mut self,
        path: &str,
        body: Option<Bytes>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let answer = self.try_send(path, body).await;
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    async fn try_send(
        &mut self,
        path: &str,
        body: Option<Bytes>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let method = if body.is_some() { "POST" } else { "GET" };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key);
        }
        let request = request.body(Full::new(body.unwrap_or_default()))?;
        let response = self.sender().await?.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    async fn sender(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        let open = self.sender.take();
        let mut sender = match open.filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => connect(self.address, self.source).await?,
        };
        sender.ready().await?;
        Ok(self.sender.insert(sender))
    }

    /// Sends a GET, and returns the answer's body.
    ///
    /// # Errors
    /// If the connection fails or the answer's status is not 2xx.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<String> {
        self.text(path, None).await
    }

    /// Posts JSON, and returns the answer's JSON.
    ///
    /// # Errors
    /// As [`Client::get`], and if the answer is not JSON.
    pub async fn post(&mut self, path: &str, body: Bytes) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.text(path, Some(body)).await?)?)
    }

    async fn text(&mut self, path: &str, body: Option<Bytes>) -> anyhow::Result<String> {
        let (status, body) = self.send(path, body).await?;
        let text = String::from_utf8(body.to_vec())?;
        anyhow::ensure!(status.is_success(), "{path} answered {status}: {text}");
        Ok(text)
    }
}

async fn connect(
    address: SocketAddr,
    source: Option<IpAddr>,
) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = match source {
        None => TcpStream::connect(address).await,
        Some(source) => {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(source, 0))?;
            socket.connect(address).await
        }
    };
    let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // The sender reports the connection's errors.
    tokio::spawn(connection);
    Ok(sender)
}
