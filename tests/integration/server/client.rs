//! Raw HTTP/1.1, for what real clients hide: half a request, a connection that is held, the exact bytes of an answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// No answer takes longer, however loaded the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    /// What was read beyond the last answer.
    ahead: Vec<u8>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Whether an answer, or the connection's end, is there to be read.
    pub(crate) fn is_answered(&self) -> bool {
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

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.answer()
    }

    /// As [`get`](Self::get); `None` where the server closes the connection instead.
    pub(crate) fn try_get(&mut self, path: &str) -> Option<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(request.as_bytes()).ok()?;
        self.try_answer().ok()?
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(posted(path, &body.to_string()));
        self.answer()
    }

    /// Asks for embeddings of `input` from the model `fake`.
    pub(crate) fn embed(&mut self, input: &Value) -> Answer {
        self.send(embedding(input));
        self.answer()
    }

    /// Asks for embeddings of `input`.
    pub(crate) fn embed_by(&mut self, model: &str, input: &Value) -> Answer {
        self.send(embedding_by(model, input));
        self.answer()
    }

    /// The next answer.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer()
            .unwrap()
            .expect("the connection was closed instead of an answer")
    }

    /// The next answer; `None` where the connection ends before its first byte, an error where it ends within.
    pub(crate) fn try_answer(&mut self) -> io::Result<Option<Answer>> {
        let Some(mut answer) = self.try_head()? else {
            return Ok(None);
        };
        let length: usize = answer
            .header("content-length")
            .unwrap_or("0")
            .parse()
            .unwrap();
        while self.ahead.len() < length {
            if self.read_more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        answer.body = self.ahead.drain(..length).collect();
        Ok(Some(answer))
    }

    /// The next answer's head, for answers to HEAD.
    pub(crate) fn try_head(&mut self) -> io::Result<Option<Answer>> {
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
        Ok(Some(Answer {
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

    /// Whether more has been read than answers.
    pub(crate) fn has_more(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether the server closes the connection, without another answer.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.try_answer(), Ok(None))
    }
}

impl Answer {
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

    /// Status and code of an error, which must have OpenAI's nested shape; the code is empty where it is none.
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

    /// The vectors of an embeddings answer, in the order of their inputs.
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
