//! Requests that need far more work or memory than a request may have.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, Response, embedding, posted};
use super::local::{Local, MAX_LENGTH, Setup};
use super::program::Program;

const MEGABYTE: usize = 1 << 20;

fn embed(client: &mut Client, body: &Value) -> Response {
    client.post("/v1/embeddings", body)
}

fn error(response: &Response) -> String {
    response.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn texts_that_cannot_fit_are_rejected_without_memory_or_time() {
    let program = Program::start(&["--max-length", "512"]);
    let mut client = program.connect();
    assert_eq!(client.embed(&json!("heart")).status, 200);
    let before = program.memory();
    for text in [" ", "\u{3000}", "\t \n", "a", "heart ", "심장", "e\u{301}"] {
        let text = text.repeat(16 * MEGABYTE / text.len());
        let begun = Instant::now();
        let response = embed(&mut client, &json!({"model": "fake", "input": text}));
        let took = begun.elapsed();
        assert_eq!(
            response.outcome(),
            (400, "context_length_exceeded".to_owned()),
            "{}",
            error(&response)
        );
        assert!(took < Duration::from_secs(8), "{:?}: {took:?}", &text[..6]);
    }
    let grown = program.peak_memory().saturating_sub(before);
    // The body, the parsed text, and the parser's buffer.
    assert!(grown < 256 * MEGABYTE, "memory grew by {grown} bytes");
}

#[test]
fn a_text_truncated_at_the_end_keeps_its_beginning() {
    let local = Local::start();
    let text = "heart disease ".repeat(MAX_LENGTH);
    let truncate = |text: &str| {
        let body = json!({"model": "fake", "input": text, "truncate": "end"});
        embed(&mut local.connect(), &body)
    };
    // A text of twice the maximum length is tokenised completely; one of a hundred times is not.
    let (once, often) = (truncate(&text), truncate(&text.repeat(20)));
    assert_eq!(once.status, 200, "{}", String::from_utf8_lossy(&once.body));
    assert_eq!(once.vectors(), often.vectors());
    assert_eq!(often.json()["usage"]["total_tokens"], MAX_LENGTH);
}

#[test]
fn a_text_truncated_at_the_start_keeps_its_end() {
    let local = Local::start();
    for instruction in [None, Some("Find the disease:")] {
        let truncate = |text: &str| {
            let body = json!({
                "model": "fake", "input": text, "truncate": "start", "instruction": instruction,
            });
            embed(&mut local.connect(), &body)
        };
        for end in [" ", ".", "heart", "zz"] {
            let text = " heart disease".repeat(MAX_LENGTH) + end;
            let often = " heart disease".repeat(20 * MAX_LENGTH) + end;
            let (once, often) = (truncate(&text), truncate(&often));
            assert_eq!(once.vectors(), often.vectors(), "{instruction:?} {end:?}");
            assert_eq!(often.json()["usage"]["total_tokens"], MAX_LENGTH);
        }
    }
}

#[test]
fn an_instruction_beyond_the_maximum_length_is_checked_once_not_for_each_text() {
    let program = Program::start(&[]);
    let body = json!({
        "model": "fake",
        "input": vec!["a"; 2048],
        "instruction": "x ".repeat(150_000),
        "truncate": "end",
    });
    let begun = Instant::now();
    let response = embed(&mut program.connect(), &body);
    assert_eq!(response.outcome(), (400, "invalid_value".to_owned()));
    assert_eq!(response.json()["error"]["param"], "instruction");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_disconnected_client_leaves_no_tokenising_behind() {
    let local = Local::start();
    // Tokenising instructions of 28,000 tokens for 2,048 texts takes minutes.
    let body = json!({
        "model": "fake",
        "input": (0..2048).map(|n| format!("text {n}")).collect::<Vec<_>>(),
        "instruction": "heart ".repeat(28_000),
    });
    for _ in 0..4 {
        let mut client = local.connect();
        client.send(posted("/v1/embeddings", &body.to_string()));
        std::thread::sleep(Duration::from_millis(500));
    }
    let begun = Instant::now();
    assert_eq!(local.connect().get("/livez").status, 200);
    // The tokeniser threads are free after at most one text each.
    let longer = json!({"model": "fake", "input": "heart ".repeat(200)});
    assert_eq!(embed(&mut local.connect(), &longer).status, 200);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn tokenize_requests_are_limited() {
    let local = Local::start();
    let ask = |texts: Value| local.connect().post("/tokenize", &json!({"inputs": texts}));
    assert_eq!(ask(json!("heart")).status, 200);
    assert_eq!(ask(json!("heart ".repeat(MEGABYTE))).status, 400);
    assert_eq!(ask(json!([1, 2])).status, 400);
    assert_eq!(ask(json!(vec!["a"; 2049])).status, 400);
}

#[test]
fn requests_share_a_memory_budget_that_reserves_a_part_for_small_ones() {
    let mut setup = Setup::default();
    setup.http.request_memory = 64 * MEGABYTE;
    let local = setup.serve();
    let announced = format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        16 * MEGABYTE
    );
    let withheld = vec![b' '; 16 * MEGABYTE - 1];
    let mut holders: Vec<Client> = (0..6).map(|_| local.connect()).collect();
    for holder in &mut holders {
        holder.send(&announced);
        // The server closes the connection of a rejected request.
        let _ = std::io::Write::write_all(&mut holder.stream, &withheld);
    }
    let rejected = holders.iter_mut().filter(|holder| holder.has_response());
    let rejected: Vec<Response> = rejected
        .filter_map(|h| h.try_response().ok().flatten())
        .collect();
    assert!(!rejected.is_empty());
    for response in rejected {
        assert_eq!(response.outcome(), (429, "overloaded".to_owned()));
        assert!(response.header("retry-after").is_some());
    }
    assert_eq!(local.connect().embed(&json!("heart")).status, 200);
    drop(holders);
    let large = json!({"model": "fake", "input": "heart ".repeat(20_000)});
    let begun = Instant::now();
    while embed(&mut local.connect(), &large).status != 200 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the bytes are not given back"
        );
    }
}

#[test]
fn items_beyond_the_limit_are_not_held_in_memory() {
    let program = Program::start(&[]);
    let before = program.memory();
    let body = format!(
        "{{\"model\":\"fake\",\"input\":[{}[1]]}}",
        "[1],".repeat(8 * MEGABYTE / 4)
    );
    let mut client = program.connect();
    client.send(posted("/v1/embeddings", &body));
    let response = client.response();
    assert_eq!(response.outcome(), (400, "invalid_value".to_owned()));
    let grown = program.peak_memory().saturating_sub(before);
    assert!(grown < 64 * MEGABYTE, "memory grew by {grown} bytes");
}

#[test]
fn an_abandoned_batch_is_stopped() {
    let program = Program::start(&["--request-timeout", "600"]);
    let stopped = || {
        let text = String::from_utf8(program.connect().get("/metrics").body).unwrap();
        text.lines().any(|line| {
            line.starts_with("lexivec_batches_total")
                && line.contains("stopped")
                && !line.ends_with(" 0")
        })
    };
    // This takes nano seconds; the clients disconnect while it runs.
    let long = json!("heart ".repeat(4000));
    for _ in 0..20 {
        let mut client = program.connect();
        client.send(embedding(&long));
        std::thread::sleep(Duration::from_millis(150));
        drop(client);
        if stopped() {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(stopped());
    // The session still works.
    assert_eq!(
        program
            .connect()
            .embed(&json!("heart"))
            .vectors()
            .first()
            .map(Vec::len),
        Some(256)
    );
}
