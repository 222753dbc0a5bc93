//! Raw HTTP/1.1, for what HTTP libraries hide: half a request, an idle connection, the exact bytes of a response.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// No response takes longer, however loaded the machine is.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    /// Bytes read beyond the last response.
    ahead: Vec<u8>,
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Whether a response, or the connection's end, can be read now.
    pub(crate) fn has_response(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.response()
    }

    /// As [`get`](Self::get); `None` if the server closes the connection instead.
    pub(crate) fn try_get(&mut self, path: &str) -> Option<Response> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).ok()?;
        self.try_response().ok()?
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Response {
        self.send(posted(path, &body.to_string()));
        self.response()
    }

    /// Requests embeddings of `input` from the model `fake`.
    pub(crate) fn embed(&mut self, input: &Value) -> Response {
        self.send(embedding(input));
        self.response()
    }

    /// Requests embeddings of `input` from `model`.
    pub(crate) fn embed_by(&mut self, model: &str, input: &Value) -> Response {
        self.send(embedding_by(model, input));
        self.response()
    }

    /// Requests embeddings of `input` from the model `fake`, with an API key.
    pub(crate) fn embed_with(&mut self, key: &str, input: &Value) -> Response {
        self.send(keyed(&embedding(input), key));
        self.response()
    }

    /// Reads the next response.
    pub(crate) fn response(&mut self) -> Response {
        self.try_response()
            .unwrap()
            .expect("the connection was closed instead of an response")
    }

    /// Reads the next response; `None` if the connection ends before its first byte, an error if it ends later.
    pub(crate) fn try_response(&mut self) -> io::Result<Option<Response>> {
        let Some(mut response) = self.try_head()? else {
            return Ok(None);
        };
        let length: usize = response
            .header("content-length")
            .unwrap_or("0")
            .parse()
            .unwrap();
        while self.ahead.len() < length {
            if self.read_more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        response.body = self.ahead.drain(..length).collect();
        Ok(Some(response))
    }

    /// Reads the head of the next response, for responses to HEAD.
    pub(crate) fn try_head(&mut self) -> io::Result<Option<Response>> {
        let end = loop {
            if let Some(end) = self.ahead.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            let before = self.ahead.len();
            match self.read_more() {
                Ok(0) | Err(_) if before == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        };
        let head: Vec<u8> = self.ahead.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3]
            .parse()
            .unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        Ok(Some(Response {
            status,
            headers: lines.map(header).collect(),
            body: Vec::new(),
        }))
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 16_384];
        let read = self.stream.read(&mut bytes)?;
        self.ahead.extend(&bytes[..read]);
        Ok(read)
    }

    /// Whether bytes were read beyond the last response.
    pub(crate) fn has_more(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether the server closes the connection without another response.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.try_response(), Ok(None))
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Status and error code. An error must have OpenAI's nested body; without an error the code is empty.
    pub(crate) fn outcome(&self) -> (u16, String) {
        if self.status < 400 {
            return (self.status, String::new());
        }
        let body = self.json();
        let error = body["error"]
            .as_object()
            .unwrap_or_else(|| panic!("{body}"));
        let fields: Vec<&str> = error.keys().map(String::as_str).collect();
        assert_eq!(fields, ["code", "message", "param", "type"], "{body}");
        assert!(
            error["message"].is_string() && error["type"].is_string(),
            "{body}"
        );
        (self.status, error["code"].as_str().unwrap().to_owned())
    }

    /// The vectors of an embeddings response, in the order of the inputs.
    pub(crate) fn vectors(&self) -> Vec<Vec<f32>> {
        let body = self.json();
        assert_eq!(self.status, 200, "{body}");
        let items = body["data"].as_array().unwrap();
        let vector = |(index, item): (usize, &Value)| {
            assert_eq!(item["index"], index);
            serde_json::from_value(item["embedding"].clone()).unwrap()
        };
        items.iter().enumerate().map(vector).collect()
    }
}

/// A request with a JSON body.
pub(crate) fn posted(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// A request for embeddings of `input` from the model `fake`.
pub(crate) fn embedding(input: &Value) -> String {
    embedding_by("fake", input)
}

/// A request for embeddings of `input`.
pub(crate) fn embedding_by(model: &str, input: &Value) -> String {
    let body = serde_json::json!({"model": model, "input": input});
    posted("/v1/embeddings", &body.to_string())
}

/// Adds a header line to a request.
pub(crate) fn with_header(request: &str, line: &str) -> String {
    request.replacen("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"), 1)
}

/// Adds an API key to a request.
pub(crate) fn keyed(request: &str, key: &str) -> String {
    with_header(request, &format!("Authorization: Bearer {key}"))
}
