//! The HTTP/1.1 protocol, correct and broken.
//!
//! actix-http itself responds to heads that it cannot parse, before a handler or middleware sees a request: 400, 408 or
//! 431 with an empty body, and no `x-request-id`. Its public API lets us add no body.

use std::net::Shutdown;

use serde_json::json;

use super::client::{Response, embedding};
use super::fake::vector;
use super::local::{Local, with_end_token};

const NO_HEADERS: &str = "HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn says(response: &Response, status: u16, code: &str) {
    assert_eq!(response.outcome(), (status, code.to_owned()));
    assert!(response.header("x-request-id").is_some());
}

#[test]
fn pipelined_requests_get_their_responses_in_order() {
    let local = Local::start();
    let mut client = local.connect();
    let requests = [1, 2, 3, 4].map(|id| embedding(&json!([[id]])));
    client.send(requests.concat() + "GET /health " + NO_HEADERS);
    for id in [1, 2, 3, 4] {
        assert_eq!(
            client.response().vectors(),
            [vector(&with_end_token(&[id]))]
        );
    }
    assert_eq!(client.response().json(), json!({"status": "ok"}));
}

#[test]
fn a_connection_stays_open_unless_the_client_asks_to_close_it() {
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
    assert_eq!(client.response().status, 200);
    assert!(client.is_closed());
}

#[test]
fn head_works_like_get_without_a_body() {
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
        let response = client.try_head().unwrap().unwrap();
        assert_eq!(response.status, 200, "{path}");
        assert!(response.header("content-length").is_some());
    }
    // No body precedes the next response.
    assert_eq!(client.get("/health").status, 200);
}

#[test]
fn unknown_methods_are_rejected_by_route() {
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
        let response = client.response();
        says(&response, 405, "method_not_allowed");
        assert_eq!(response.header("allow"), Some("POST"));
        client.send(format!("{method} /nowhere {NO_HEADERS}"));
        says(&client.response(), 404, "not_found");
    }
    client.send(format!("CONNECT example.org:443 {NO_HEADERS}"));
    says(&client.response(), 404, "not_found");
}

#[test]
fn long_paths_and_heads_are_rejected() {
    let local = Local::start();
    let mut client = local.connect();
    let response = client.get(&format!("/{}", "a".repeat(30_000)));
    says(&response, 404, "not_found");
    // The response does not repeat all of what the client sent.
    assert!(response.body.len() < 2000, "{}", response.body.len());
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
        let response = client.response();
        // From actix-http; see the module's documentation.
        assert!(
            matches!(response.status, 400 | 414 | 431),
            "{}",
            response.status
        );
        assert!(response.body.is_empty() && client.is_closed());
    }
    assert_eq!(local.connect().get("/health").status, 200);
}

#[test]
fn half_requests_and_bytes_that_are_not_http_affect_no_one_else() {
    let local = Local::start();
    let request = embedding(&json!("heart"));
    for length in [1, 20, request.len() / 2, request.len() - 1] {
        // Once the client closes the connection, and once it only half-closes it.
        local.connect().send(&request[..length]);
        let mut waiting = local.connect();
        waiting.send(&request[..length]);
        waiting.stream.shutdown(Shutdown::Write).unwrap();
        if let Some(response) = waiting.try_response().unwrap() {
            assert_eq!(response.status, 400);
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
        // An empty line ends the head, so that the server does not wait for the rest.
        bytes.extend(b"\r\n\r\n");
        client.send(bytes);
        // From actix-http; see the module's documentation.
        let response = client.response();
        assert!(response.status == 400 && response.body.is_empty());
        assert!(client.is_closed());
    }
    assert_eq!(local.control.texts(), 0);
    assert_eq!(local.connect().embed(&json!("heart")).status, 200);
}

#[test]
fn contradictory_lengths_are_rejected() {
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
        assert_eq!(client.response().status, 400, "{lengths}");
        assert!(client.is_closed(), "{lengths}");
    }
}
