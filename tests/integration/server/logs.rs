//! The log has one machine-readable line per request, and nothing that users sent.

use serde_json::{Value, json};

use super::program::Program;

/// The word in texts, instructions, paths, invalid bodies and names of unknown models.
const MARKER: &str = "xylophonequartz";

fn traffic(program: &Program) {
    let mut client = program.connect();
    assert_eq!(client.embed(&json!([MARKER, "heart"])).status, 200);
    let body = json!({"model": "fake", "input": "heart", "instruction": MARKER});
    assert_eq!(client.post("/v1/embeddings", &body).status, 200);
    assert_eq!(
        client.post("/embed", &json!({"inputs": MARKER})).status,
        200
    );
    assert_eq!(
        client.post("/tokenize", &json!({"inputs": MARKER})).status,
        200
    );
    for body in [
        json!({"model": MARKER, "input": "heart"}),
        json!({"model": "fake", "input": "heart", MARKER: 1}),
        json!({"model": "fake", "input": {"x": MARKER}}),
        json!({"model": "fake", "input": "heart", "domain": MARKER}),
        json!({"model": "fake", "input": vec![MARKER; 5000].join(" ")}),
    ] {
        assert!(client.post("/v1/embeddings", &body).outcome().0 >= 400);
    }
    assert_eq!(client.get(&format!("/{MARKER}?q={MARKER}")).status, 404);
    client.send(format!(
        "{MARKER} /health HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {MARKER}\r\n\r\n"
    ));
    assert_eq!(client.response().status, 405);
}

#[test]
fn json_lines_have_numbers_and_no_text() {
    let program = Program::start(&["--log-format", "json"]);
    traffic(&program);
    program.connect().send("GET / HTTP/9.9\r\n\r\n");
    let mut client = program.connect();
    client.send("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: mine-1\r\n\r\n");
    assert_eq!(client.response().header("x-request-id"), Some("mine-1"));
    program.signal("-TERM");
    let (_, log) = program.wait();
    assert!(!log.contains(MARKER), "{log}");
    let parse =
        |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let lines: Vec<Value> = log.lines().map(parse).collect();
    let requests: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "request")
        .collect();
    // All requests except those to /health, which are logged at level debug.
    assert_eq!(requests.len(), 11, "{log}");
    let first = requests[0];
    assert_eq!(
        (&first["route"], &first["method"]),
        (&json!("/v1/embeddings"), &json!("POST"))
    );
    assert_eq!(
        (&first["status"], &first["texts"]),
        (&json!(200), &json!(2))
    );
    assert!(first["tokens"].as_u64() >= Some(4) && first["ms"].is_number());
    assert!(
        first["queue_ms"].is_number() && first["infer_ms"].is_number() && first["cached"].is_u64()
    );
    // The second request repeats a text of the first with an instruction, which is another prompt.
    assert_eq!(requests[1]["cached"], 0);
    assert_eq!(requests[4]["code"], "model_not_found");
    // A rejected request has texts, too.
    let rejected = requests[8];
    assert_eq!(
        (&rejected["code"], &rejected["texts"]),
        (&json!("context_length_exceeded"), &json!(1))
    );
    assert!(requests.iter().any(|line| line["id"] == "mine-1"));
    assert!(requests.iter().all(|line| line["id"].is_string()));
}

#[test]
fn plain_lines_have_no_text_even_at_level_trace() {
    let program = Program::start(&["--log", "trace"]);
    traffic(&program);
    program.signal("-TERM");
    let (_, log) = program.wait();
    assert!(log.contains("TRACE") && log.contains("route=\"/v1/embeddings\" status=200"));
    let told: Vec<&str> = log.lines().filter(|line| line.contains(MARKER)).collect();
    assert!(told.is_empty(), "{told:#?}");
}
