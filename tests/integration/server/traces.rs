//! Traces: a stand-in for a collector receives what `--otlp-endpoint` sends.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::client::{embedding, with_header};
use super::program::Program;

/// The received requests: head and protobuf body.
type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Starts a collector. Returns its URL and the requests that it receives.
fn collector() -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received = Received::default();
    let takes = Arc::clone(&received);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let takes = Arc::clone(&takes);
            std::thread::spawn(move || take(stream, &takes));
        }
    });
    (url, received)
}

fn take(mut stream: TcpStream, received: &Received) {
    let mut bytes = Vec::new();
    loop {
        let mut more = [0; 4096];
        let Ok(read @ 1..) = stream.read(&mut more) else {
            return;
        };
        bytes.extend(&more[..read]);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        if bytes.len() < end + 4 + length {
            continue;
        }
        let body = bytes.drain(..end + 4 + length).skip(end + 4).collect();
        received.lock().unwrap().push((head, body));
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    }
}

/// Whether a protobuf message contains `part`. Strings and ids are not encoded in it.
fn has(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// Embeds a text, with a `Traceparent` header if one is given.
fn embed(program: &Program, traceparent: Option<&str>) {
    let request = embedding(&json!("heart"));
    let request = match traceparent {
        Some(value) => with_header(&request, &format!("Traceparent: {value}")),
        None => request,
    };
    let mut client = program.connect();
    client.send(request);
    assert_eq!(client.response().status, 200);
}

fn threads(program: &Program) -> Vec<String> {
    let tasks = fs_err::read_dir(format!("/proc/{}/task", program.id())).unwrap();
    let name = |task: std::io::Result<fs_err::DirEntry>| {
        fs_err::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).collect()
}

#[test]
fn requests_are_traced_within_the_callers_trace() {
    let (url, received) = collector();
    let program = Program::start(&["--otlp-endpoint", &url]);
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    embed(&program, Some(&format!("00-{trace}-{parent}-01")));
    // An invalid header, and a trace that the caller does not sample.
    embed(&program, Some("nonsense"));
    let unsampled = "00-11111111111111111111111111111111-2222222222222222-00";
    embed(&program, Some(unsampled));
    program.signal("-TERM");
    let (status, log) = program.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    let received = received.lock().unwrap();
    assert!(!received.is_empty(), "{log}");
    assert!(
        received
            .iter()
            .all(|(head, _)| head.starts_with("post /v1/traces "))
    );
    let bodies: Vec<&[u8]> = received.iter().map(|(_, body)| body.as_slice()).collect();
    let bodies = bodies.concat();
    for part in [
        "lexivec",
        "request",
        "http.route",
        "/v1/embeddings",
        "http.response.status_code",
    ] {
        assert!(has(&bodies, part.as_bytes()), "{part}");
    }
    let bytes = |hex: &str| -> Vec<u8> {
        let pairs = hex.as_bytes().as_chunks::<2>().0.iter();
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    assert!(has(&bodies, &bytes(trace)) && has(&bodies, &bytes(parent)));
    assert!(!has(&bodies, &[0x11; 16]));
    assert!(!has(&bodies, b"heart"));
}

#[test]
fn without_a_collector_nothing_is_sent_and_no_telemetry_thread_runs() {
    let (url, received) = collector();
    let program =
        Program::spawn(super::program::serve(&[]).env("OTEL_EXPORTER_OTLP_ENDPOINT", &url));
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    embed(&program, Some(traceparent));
    let threads = threads(&program);
    assert!(
        !threads
            .iter()
            .any(|name| name.to_ascii_lowercase().contains("telemetry")),
        "{threads:?}"
    );
    program.signal("-TERM");
    program.wait();
    assert!(received.lock().unwrap().is_empty());
}

#[test]
fn an_unreachable_collector_fails_no_request_and_no_shutdown() {
    let program = Program::start(&["--otlp-endpoint", "http://127.0.0.1:9"]);
    let names = threads(&program);
    // This shows that the test above looks for the right name.
    assert!(
        names
            .iter()
            .any(|name| name.to_ascii_lowercase().contains("telemetry")),
        "{names:?}"
    );
    for _ in 0..20 {
        embed(&program, None);
    }
    program.signal("-TERM");
    let (status, log) = program.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}
