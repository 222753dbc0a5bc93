//! HTTP/1.1 itself, well and badly spoken.
//!
//! Heads that cannot be read are answered by actix-http, before there is a request that a handler or middleware could
//! see: 400, 408 or 431 with an empty body, and no `x-request-id`. Its public API has no place for a body of ours.

use std::net::Shutdown;

use serde_json::json;

use super::client::{Answer, embedding};
use super::fake::vector;
use super::local::{Local, whole};

const NO_HEADERS: &str = "HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn says(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.outcome(), (status, code.to_owned()));
    assert!(answer.header("x-request-id").is_some());
}

#[test]
fn requests_in_one_packet_are_answered_in_their_order() {
    let local = Local::start();
    let mut client = local.connect();
    let requests = [1, 2, 3, 4].map(|id| embedding(&json!([[id]])));
    client.send(requests.concat() + "GET /health " + NO_HEADERS);
    for id in [1, 2, 3, 4] {
        assert_eq!(client.answer().vectors(), [vector(&whole(&[id]))]);
    }
    assert_eq!(client.answer().json(), json!({"status": "ok"}));
}

#[test]
fn a_connection_is_kept_unless_the_client_wants_it_closed() {
    let local = Local::start();
    let mut client = local.connect();
    for path in ["/health", "/v1/models", "/nowhere", "/livez"] {
        client.get(path);
    }
    says(
        &client.post("/v1/embeddings", &json!({})),
        400,
        "invalid_value",
    );
    assert_eq!(client.get("/health").status, 200);
    client.send("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert!(client.is_closed());
}

#[test]
fn head_is_answered_where_get_is_and_without_a_body() {
    let local = Local::start();
    let mut client = local.connect();
    for path in [
        "/",
        "/health",
        "/livez",
        "/readyz",
        "/v1/models",
        "/metrics",
    ] {
        client.send(format!("HEAD {path} {NO_HEADERS}"));
        let answer = client.try_head().unwrap().unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-length").is_some());
    }
    // Nothing of a body stands in the way of the next answer.
    assert_eq!(client.get("/health").status, 200);
}

#[test]
fn methods_that_nobody_knows_are_refused_by_route() {
    let local = Local::start();
    let mut client = local.connect();
    for method in [
        "BREW",
        "TRACE",
        "PUT",
        "DELETE",
        "OPTIONS",
        "get",
        &"M".repeat(1000),
    ] {
        client.send(format!("{method} /v1/embeddings {NO_HEADERS}"));
        let answer = client.answer();
        says(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST"));
        client.send(format!("{method} /nowhere {NO_HEADERS}"));
        says(&client.answer(), 404, "not_found");
    }
    client.send(format!("CONNECT example.org:443 {NO_HEADERS}"));
    says(&client.answer(), 404, "not_found");
}

#[test]
fn long_paths_and_heads_are_refused() {
    let local = Local::start();
    let mut client = local.connect();
    let answer = client.get(&format!("/{}", "a".repeat(30_000)));
    says(&answer, 404, "not_found");
    // What a client made up does not come back at length.
    assert!(answer.body.len() < 2000, "{}", answer.body.len());
    for head in [
        format!("GET /{} {NO_HEADERS}", "a".repeat(200_000)),
        format!(
            "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n",
            "a".repeat(200_000)
        ),
        format!(
            "GET /health HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
            "A: b\r\n".repeat(100)
        ),
    ] {
        let mut client = local.connect();
        client.send(&head);
        let answer = client.answer();
        // By actix-http; see above.
        assert!(
            matches!(answer.status, 400 | 414 | 431),
            "{}",
            answer.status
        );
        assert!(answer.body.is_empty() && client.is_closed());
    }
    assert_eq!(local.connect().get("/health").status, 200);
}

#[test]
fn half_requests_and_what_is_no_http_hurt_nobody() {
    let local = Local::start();
    let whole = embedding(&json!("heart"));
    for cut in [1, 20, whole.len() / 2, whole.len() - 1] {
        // Gone at once, and half-closed: no more will come.
        local.connect().send(&whole[..cut]);
        let mut waiting = local.connect();
        waiting.send(&whole[..cut]);
        waiting.stream.shutdown(Shutdown::Write).unwrap();
        if let Some(answer) = waiting.try_answer().unwrap() {
            assert_eq!(answer.status, 400);
        }
        assert!(waiting.is_closed());
    }
    let mut noise = 1u32;
    let mut byte = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    };
    for length in 1..50 {
        let mut client = local.connect();
        let mut bytes: Vec<u8> = (0..length * 40).map(|_| byte()).collect();
        // A line's end, so that it is no head that may yet become one.
        bytes.extend(b"\r\n\r\n");
        client.send(bytes);
        // By actix-http; see above.
        let answer = client.answer();
        assert!(answer.status == 400 && answer.body.is_empty());
        assert!(client.is_closed());
    }
    assert_eq!(local.control.texts(), 0);
    assert_eq!(local.connect().embed(&json!("heart")).status, 200);
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let local = Local::start();
    for lengths in [
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: nonsense",
    ] {
        let mut client = local.connect();
        let head = format!(
            "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{lengths}\r\n\r\n{{}}"
        );
        client.send(head);
        assert_eq!(client.answer().status, 400, "{lengths}");
        assert!(client.is_closed(), "{lengths}");
    }
}
