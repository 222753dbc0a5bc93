//! A keep-alive HTTP/1.1 connection that costs little: it shares the machine with the server it measures.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

/// A connection; opened by the first request, and again after one that failed.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    source: Option<IpAddr>,
    key: Option<String>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client of the server at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            source: None,
            key: None,
            sender: None,
        }
    }

    /// Connects from this address: to a server without API keys, each address is a caller.
    #[must_use]
    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Sends this API key.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(format!("Bearer {key}"));
        self
    }

    /// Sends a request, a POST of JSON if it has a body, and reads the whole answer.
    ///
    /// # Errors
    /// The connection fails.
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

    /// Reads a page, which has to be there.
    ///
    /// # Errors
    /// The connection fails, or the answer's status is not 200.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<String> {
        self.text(path, None).await
    }

    /// Posts JSON that has to be accepted; the answer.
    ///
    /// # Errors
    /// As [`Client::get`], or the answer is not JSON.
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
    // Its errors reach whoever sends.
    tokio::spawn(connection);
    Ok(sender)
}
