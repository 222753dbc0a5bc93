//! What the program sends to a hub, and what it says about a hub that sends it elsewhere.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::program::lexivec;

/// A server that answers every request alike and keeps their heads.
struct Hub {
    endpoint: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// Answers with this status line and header.
    fn answering(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        // Ends with the process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                kept.lock().unwrap().push(head.join("\n"));
                // A client that hangs up is no failure.
                let _ = write!(
                    stream,
                    "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
            }
        });
        Self { endpoint, heads }
    }

    /// Asks for a model by the program, with these variables and a home of its own.
    fn ask(&self, variables: &[(&str, &str)]) -> (Output, TempDir) {
        let home = tempfile::tempdir().unwrap();
        let mut command = lexivec();
        command.args(["convert", "owner/name"]).current_dir(&home);
        for name in [
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_OFFLINE",
            "TRANSFORMERS_OFFLINE",
        ] {
            command.env_remove(name);
        }
        command
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_HOME", home.path())
            .envs(variables.iter().copied());
        (command.stdin(Stdio::null()).output().unwrap(), home)
    }
}

#[test]
fn the_password_of_a_mirror_is_not_printed() {
    // Nobody listens at the first address. The second answers.
    let hub = Hub::answering("404 Not Found");
    let address = hub.endpoint.strip_prefix("http://").unwrap();
    for endpoint in [
        "http://user:sekrit@127.0.0.1:9",
        &format!("http://user:sekrit@{address}"),
    ] {
        let (output, _home) = hub.ask(&[("HF_ENDPOINT", endpoint)]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("***@127.0.0.1"), "{said}");
        assert!(!said.contains("sekrit"), "{said}");
    }
}

#[test]
fn a_token_with_a_line_end_reaches_the_hub_without_it() {
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        sends_the_token(name, " hf_secret\r\n");
    }
}

/// With this variable the program sends `hf_secret` to the hub.
fn sends_the_token(name: &str, value: &str) {
    let hub = Hub::answering("404 Not Found");
    let (output, _home) = hub.ask(&[(name, value)]);
    assert_eq!(output.status.code(), Some(1));
    let heads = hub.heads.lock().unwrap().clone();
    assert!(!heads.is_empty());
    for head in heads {
        let mut lines = head.lines();
        let sent = lines.any(|line| line.to_lowercase() == "authorization: bearer hf_secret");
        assert!(sent, "{name}: {head}");
    }
}

#[test]
fn a_token_file_is_read_as_editors_write_it_or_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let path = file.to_str().unwrap();
    fs_err::write(&file, "\u{feff}hf_secret \r\n").unwrap();
    sends_the_token("HF_TOKEN_PATH", path);
    fs_err::write(&file, b"\xff\xfeh\0f\0").unwrap();
    let hub = Hub::answering("404 Not Found");
    let (output, _home) = hub.ask(&[("HF_TOKEN_PATH", path)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(path) && said.contains("UTF-16"), "{said}");
    assert!(hub.heads.lock().unwrap().is_empty());
}

#[test]
fn a_mirror_that_has_moved_is_named_with_its_new_place() {
    for answer in [
        "301 Moved Permanently\r\nLocation: https://mirror.example/owner/name",
        "302 Found\r\nLocation: https://mirror.example/owner/name",
        "307 Temporary Redirect\r\nLocation: //mirror.example/owner/name",
        "308 Permanent Redirect\r\nLocation: https://mirror.example/owner/name",
    ] {
        let (output, _home) = Hub::answering(answer).ask(&[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for word in [&answer[..3], "://mirror.example/owner/name", "HF_ENDPOINT"] {
            assert!(said.contains(word), "{said}");
        }
        assert!(!said.contains("run it again"), "{said}");
    }
}
