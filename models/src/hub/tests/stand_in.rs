//! A stand-in for the hub on a port of this machine: `HEAD` and `GET` of a model's files with the hub's headers, and the ways
//! in which the real hub fails.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// The commit that every branch points at.
pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the hub answers.
#[derive(Clone, Copy)]
pub(super) enum Mood {
    Good,
    /// Rejects requests without the token.
    Gated {
        status: &'static str,
        token: &'static str,
    },
    /// Sends half of the file and closes the connection.
    Cut {
        file: &'static str,
    },
    /// Describes the file, then answers `GET` with an error page.
    ErrorPage {
        file: &'static str,
    },
    /// Sends this value for this header, which holds the file's ETag or the commit.
    Hostile {
        header: &'static str,
        value: &'static str,
    },
    /// Answers all requests after the first with a hostile ETag and commit.
    Turns {
        value: &'static str,
    },
    /// Sends other bytes, in the announced number.
    Changed {
        file: &'static str,
    },
    /// Redirects small files to another path on the hub, and large ones to another server, which accepts no token.
    Redirecting,
    /// Redirects every request to another server.
    Moved {
        location: &'static str,
    },
    Down,
    /// Accepts the connection and does not answer.
    Silent,
}

struct State {
    port: u16,
    /// The path below which the model's files are.
    root: String,
    files: BTreeMap<String, Vec<u8>>,
    mood: Mutex<Mood>,
    requests: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

pub(super) struct Hub {
    port: u16,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    pub(super) fn start(id: &str, files: BTreeMap<String, Vec<u8>>) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            port,
            root: format!("/{id}/resolve/"),
            files,
            mood: Mutex::new(Mood::Good),
            requests: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                // A client may close the connection early.
                std::thread::spawn(move || stream.and_then(|stream| shared.answer(&stream)));
            }
        });
        Hub {
            port,
            state,
            thread: Some(thread),
        }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn mood(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    /// The requests so far, as `METHOD path`.
    pub(super) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Closes the port; connections are refused from then on.
    pub(super) fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.state.stopped.store(true, Ordering::SeqCst);
            // Wakes the thread, which then closes the port.
            let _ = TcpStream::connect(("127.0.0.1", self.port));
            thread.join().unwrap();
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The ETag of a file's contents: the SHA-256 of a large file, 40 hexadecimal digits for a small one.
pub(super) fn etag(name: &str, bytes: &[u8]) -> String {
    let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    if name.ends_with(".safetensors") {
        digest(bytes)
    } else {
        digest(&[name.as_bytes(), bytes].concat())[..40].to_owned()
    }
}

impl State {
    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut words = first.split(' ');
        let (method, path) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let mut bearer = String::new();
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some(token) = line
                .to_ascii_lowercase()
                .strip_prefix("authorization: bearer ")
            {
                bearer = token.trim().to_string();
            }
        }
        self.requests
            .lock()
            .unwrap()
            .push(format!("{method} {path}"));
        let mood = *self.mood.lock().unwrap();
        let (head, body) = self.compose(method, path, &bearer, mood);
        if let Mood::Silent = mood {
            std::thread::sleep(Duration::from_secs(1));
            return Ok(());
        }
        stream.write_all(head.as_bytes())?;
        if method != "HEAD" {
            stream.write_all(&body)?;
        }
        Ok(())
    }

    fn compose(&self, method: &str, path: &str, bearer: &str, mood: Mood) -> (String, Vec<u8>) {
        let error = |status: &str, code: &str| {
            let body = b"an error page".to_vec();
            let headers = format!(
                "X-Error-Code: {code}\r\nContent-Length: {}\r\nConnection: close",
                body.len()
            );
            (format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\n"), body)
        };
        match mood {
            Mood::Down => return error("503 Service Unavailable", ""),
            Mood::Moved { location } => {
                let status =
                    format!("308 Permanent Redirect\r\nLocation: {location}{path}?signature=s");
                return error(&status, "");
            }
            Mood::Gated { status, token } if bearer != token => return error(status, "GatedRepo"),
            _ => {}
        }
        // The path is /owner/name/resolve/revision/file.
        let resolved = path.strip_prefix(&self.root);
        let elsewhere = resolved.is_none() && matches!(mood, Mood::Redirecting);
        let name = resolved
            .or_else(|| path.strip_prefix("/elsewhere/"))
            .and_then(|rest| rest.split_once('/'))
            .map_or("", |(_, name)| name);
        let Some(bytes) = self.files.get(name) else {
            return if self.files.is_empty() {
                error("404 Not Found", "RepoNotFound")
            } else {
                error(
                    "404 Not Found",
                    &format!("EntryNotFound\r\nX-Repo-Commit: {COMMIT}"),
                )
            };
        };
        let mut body = bytes.clone();
        match mood {
            Mood::Cut { file } if file == name => body.truncate(bytes.len() / 2),
            Mood::Changed { file } if file == name => body.fill(9),
            Mood::ErrorPage { file } if file == name && method == "GET" => {
                return error("500 Internal Server Error", "");
            }
            _ => {}
        }
        let length = bytes.len();
        let large = name.ends_with(".safetensors");
        if let (Mood::Redirecting, false) = (mood, elsewhere) {
            let host = if large {
                format!("http://localhost:{}", self.port)
            } else {
                String::new()
            };
            let headers = format!(
                "X-Linked-ETag: \"{}\"\r\nX-Linked-Size: {length}\r\nX-Repo-Commit: {COMMIT}\r\nETag: \"page\"",
                etag(name, bytes)
            );
            let location = format!("Location: {host}/elsewhere/{COMMIT}/{name}");
            let head = format!(
                "HTTP/1.1 302 Found\r\n{location}\r\n{headers}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            return (head, Vec::new());
        }
        if elsewhere && large && (method == "HEAD" || !bearer.is_empty()) {
            return error("403 Forbidden", "");
        }
        let (mut etag, mut commit) = (etag(name, bytes), COMMIT);
        match mood {
            Mood::Hostile {
                header: "X-Repo-Commit",
                value,
            } => commit = value,
            Mood::Hostile {
                header: "ETag",
                value,
            } => etag = value.to_owned(),
            Mood::Turns { value } if self.requests.lock().unwrap().len() > 1 => {
                (etag, commit) = (value.to_owned(), value);
            }
            _ => {}
        }
        // Files behind a redirect have an ETag of their own.
        let linked = match mood {
            Mood::Hostile {
                header: "X-Linked-ETag",
                value,
            } => format!("X-Linked-ETag: \"{value}\"\r\n"),
            _ => String::new(),
        };
        let headers = format!(
            "ETag: \"{etag}\"\r\n{linked}X-Repo-Commit: {commit}\r\nContent-Length: {length}\r\nConnection: close"
        );
        (format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n"), body)
    }
}
