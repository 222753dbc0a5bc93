//! Request bodies that are slow, huge, or cut short.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::client::{Client, TIMEOUT};
use super::local::{Local, Setup};
use super::program::Program;

const HUNDRED_MB: usize = 100 << 20;

fn head(length: &str) -> String {
    format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    )
}

/// Writes until the server stops reading. Returns the bytes written.
fn pour(client: &mut Client, bytes: usize, chunk: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes {
        match client.stream.write_all(chunk) {
            Ok(()) => written += chunk.len(),
            Err(_) => break,
        }
    }
    written
}

#[test]
fn a_hundred_megabytes_are_rejected_early_and_cost_no_memory() {
    let program = Program::start(&["--body-limit", "1000000"]);
    assert_eq!(program.connect().embed(&json!("heart")).status, 200);
    let before = program.memory();
    let announced = head(&format!("Content-Length: {HUNDRED_MB}"));

    // A client that reads the response before it sends the body gets the response at once.
    let mut client = program.connect();
    client.send(&announced);
    assert_eq!(
        client.response().outcome(),
        (413, "body_too_large".to_owned())
    );

    // A client that sends first may find the connection closed, but gets no other response.
    let chunk = vec![b' '; 65_536];
    let mut client = program.connect();
    client.send(&announced);
    pour(&mut client, HUNDRED_MB, &chunk);
    if let Ok(Some(response)) = client.try_response() {
        assert_eq!(response.status, 413);
    }

    // A body without an announced length is rejected at the limit.
    let mut client = program.connect();
    client.send(head("Transfer-Encoding: chunked"));
    let chunk = [b"10000\r\n", &chunk[..], b"\r\n"].concat();
    pour(&mut client, HUNDRED_MB, &chunk);
    if let Ok(Some(response)) = client.try_response() {
        assert_eq!(response.status, 413);
    }
    let grown = program.memory().saturating_sub(before);
    assert!(grown < 8 << 20, "memory grew by {grown} bytes");
    assert_eq!(program.connect().embed(&json!("heart")).status, 200);
}

#[test]
fn brackets_after_a_misspelt_field_cost_no_memory() {
    let program = Program::start(&[]);
    assert_eq!(program.connect().embed(&json!("heart")).status, 200);
    let before = program.peak_memory();
    for name in ["hex escape", "lone leading surrogate in hex escape"] {
        let body = format!("{{\"{name}\":1,\"x\":{}", "[".repeat(1_500_000));
        let mut client = program.connect();
        client.send(encoded("gzip", &gzip(body.as_bytes())));
        assert_eq!(client.response().status, 400);
    }
    let grown = program.peak_memory().saturating_sub(before);
    assert!(grown < 32 << 20, "memory grew by {grown} bytes");
}

#[test]
fn a_list_of_millions_of_token_ids_costs_no_memory_beyond_its_body() {
    let program = Program::start(&[]);
    assert_eq!(program.connect().embed(&json!("heart")).status, 200);
    let before = program.peak_memory();
    let list = format!("[{}1]", "1,".repeat(15 << 20));
    for (fields, words) in [
        (r#""model":"fake","input""#, "maximum context length"),
        (r#""input":"a","inputs""#, "unknown field"),
    ] {
        let body = format!("{{{fields}:{list}}}");
        let mut client = program.connect();
        client.send(encoded("gzip", &gzip(body.as_bytes())));
        let response = client.response();
        assert_eq!(response.outcome(), (400, "invalid_value".to_owned()));
        let message = response.json()["error"]["message"].clone();
        assert!(message.as_str().unwrap().contains(words), "{message}");
    }
    let grown = program.peak_memory().saturating_sub(before);
    assert!(grown < 48 << 20, "memory grew by {grown} bytes");
}

#[test]
fn a_client_that_sends_too_large_a_body_can_read_the_error() {
    let mut setup = Setup::default();
    setup.http.body_limit = 1 << 20;
    let local = setup.serve();
    for _ in 0..5 {
        let mut client = local.connect();
        client.send(head(&format!("Content-Length: {}", 8 << 20)));
        pour(&mut client, 8 << 20, &[b' '; 65_536]);
        let response = client.try_response().unwrap().unwrap();
        assert_eq!(response.outcome(), (413, "body_too_large".to_owned()));
    }
}

#[test]
fn a_slow_body_gets_a_408_in_time() {
    let mut setup = Setup::default();
    setup.http.body_timeout = Duration::from_secs(1);
    let local = setup.serve();
    let mut silent = local.connect();
    silent.send(head("Content-Length: 1000") + "{");
    let mut slow = local.connect();
    slow.send(head("Content-Length: 1000"));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        // The server may have closed it.
        let _ = slow.stream.write(b" ");
        assert_eq!(local.connect().get("/health").status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    for mut client in [silent, slow] {
        assert_eq!(client.response().outcome(), (408, "slow_body".to_owned()));
        assert!(client.is_closed());
    }
    assert!(begun.elapsed() < TIMEOUT);
    assert_eq!(local.connect().embed(&json!("heart")).status, 200);
}

#[test]
fn a_body_may_arrive_in_pieces_and_in_chunks() {
    let local = Local::start();
    let body = json!({"model": "fake", "input": "heart"}).to_string();
    let mut client = local.connect();
    client.send(head(&format!("Content-Length: {}", body.len())));
    for byte in body.bytes() {
        client.send([byte]);
    }
    let expected = client.response().vectors();
    client.send(head("Transfer-Encoding: chunked"));
    for byte in body.bytes() {
        client.send([b"1\r\n", &[byte][..], b"\r\n"].concat());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().vectors(), expected);
    // A client that sends `Expect: 100-continue` gets a 100.
    client.send(head(&format!(
        "Content-Length: {}\r\nExpect: 100-continue",
        body.len()
    )));
    assert_eq!(client.try_head().unwrap().unwrap().status, 100);
    client.send(&body);
    assert_eq!(client.response().vectors(), expected);
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn encoded(encoding: &str, body: &[u8]) -> Vec<u8> {
    let length = format!(
        "Content-Length: {}\r\nContent-Encoding: {encoding}",
        body.len()
    );
    [head(&length).as_bytes(), body].concat()
}

#[test]
fn a_gzip_body_is_decoded() {
    let local = Local::start();
    let body = json!({"model": "fake", "input": vec!["heart"; 200]}).to_string();
    let mut client = local.connect();
    client.send(head(&format!("Content-Length: {}", body.len())) + &body);
    let expected = client.response().vectors();
    for encoding in ["gzip", "GZIP", "x-gzip"] {
        client.send(encoded(encoding, &gzip(body.as_bytes())));
        assert_eq!(client.response().vectors(), expected, "{encoding}");
    }
    client.send(encoded("identity", body.as_bytes()));
    assert_eq!(client.response().vectors(), expected);
    for encoding in ["br", "zstd", "deflate", "gzip, gzip"] {
        // The body is not read, so the connection closes after the response.
        let mut client = local.connect();
        client.send(encoded(encoding, body.as_bytes()));
        let response = client.response();
        let code = "unsupported_content_encoding".to_owned();
        assert_eq!(response.outcome(), (415, code));
        assert_eq!(response.header("accept-encoding"), Some("gzip, identity"));
        let message = response.json()["error"]["message"].clone();
        let named = format!("`Content-Encoding: {encoding}`");
        assert!(message.as_str().unwrap().contains(&named), "{message}");
    }
    for broken in [body.as_bytes(), &gzip(body.as_bytes())[..30]] {
        client.send(encoded("gzip", broken));
        let response = client.response();
        assert_eq!(response.outcome(), (400, "unreadable_body".to_owned()));
        let message: Value = response.json()["error"]["message"].clone();
        assert!(
            message.as_str().unwrap().contains("Content-Encoding"),
            "{message}"
        );
    }
}

#[test]
fn a_gzip_bomb_is_rejected_and_costs_no_memory() {
    let program = Program::start(&["--body-limit", "1000000"]);
    assert_eq!(program.connect().embed(&json!("heart")).status, 200);
    let bomb = gzip(&vec![b' '; HUNDRED_MB]);
    assert!(bomb.len() < 200_000);
    let before = program.peak_memory();
    for _ in 0..5 {
        let mut client = program.connect();
        client.send(encoded("gzip", &bomb));
        let outcome = client.response().outcome();
        assert_eq!(outcome, (413, "body_too_large".to_owned()));
    }
    let grown = program.peak_memory().saturating_sub(before);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes");
    assert_eq!(program.connect().embed(&json!("heart")).status, 200);
}
