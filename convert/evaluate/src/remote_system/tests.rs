//! Tests against a minimal HTTP server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;

/// The response of a stand-in server to a path and a body: a status and a body.
type Behaviour = dyn Fn(&str, &Value) -> (u16, Value) + Send;

/// Received requests, as head and body.
type Seen = Arc<Mutex<Vec<(String, Value)>>>;

/// Serves until the process ends. Returns its address and the requests that it receives.
fn serve(behaviour: impl Fn(&str, &Value) -> (u16, Value) + Send + 'static) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let seen = Seen::default();
    let record = Arc::clone(&seen);
    let behaviour: Box<Behaviour> = Box::new(behaviour);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head.push_str(&line);
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, answer) = behaviour(&path, &body);
            record.lock().unwrap().push((head, body));
            let answer = answer.to_string();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nRetry-After: 0\r\nConnection: close\r\n\r\n{answer}",
                answer.len()
            )
            .unwrap();
        }
    });
    (address, seen)
}

fn models(ids: &[&str]) -> Value {
    let list: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "precision": "int8"}))
        .collect();
    json!({"object": "list", "data": list})
}

/// Vectors of four numbers, truncated to the requested width, in reverse order.
fn vectors(body: &Value) -> Value {
    let width = body["dimensions"].as_u64().unwrap_or(4) as usize;
    let texts = body["input"].as_array().unwrap();
    let item = |(i, text): (usize, &Value)| {
        let first = text.as_str().unwrap().len() as f32;
        let vector: Vec<f32> = [first, 2.0, 3.0, 4.0].into_iter().take(width).collect();
        let bytes: Vec<u8> = vector.iter().flat_map(|v| v.to_le_bytes()).collect();
        json!({"index": i, "embedding": STANDARD.encode(bytes)})
    };
    let mut items: Vec<Value> = texts.iter().enumerate().map(item).collect();
    items.reverse();
    json!({"data": items, "usage": {"prompt_tokens": 3 * texts.len(), "total_tokens": 0}})
}

fn good(path: &str, body: &Value) -> (u16, Value) {
    match path {
        "/v1/models" => (200, models(&["nano"])),
        _ => (200, vectors(body)),
    }
}

fn open(address: &str, key: Option<&str>) -> Result<System> {
    Endpoint::new(address, None, key)?.open(&[1024, 2, 1])
}

#[test]
fn vectors_are_complete_in_order_and_counted() {
    let (address, seen) = serve(good);
    let mut system = open(&address, Some("secret")).unwrap();
    assert_eq!(
        (system.facts.width, system.facts.precision.as_deref()),
        (4, Some("int8"))
    );
    assert!(system.facts.name.ends_with("/v1#nano"));
    assert!(system.facts.notes.is_empty(), "{:?}", system.facts.notes);
    let texts: Vec<String> = (1..=100).map(|n| "x".repeat(n)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = system.embed(&texts).unwrap();
    assert_eq!(found.vectors.row(70), [71.0, 2.0, 3.0, 4.0]);
    assert_eq!((found.vectors.len(), found.tokens), (100, Some(300)));
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|(head, _)| head.contains("Bearer secret")));
    // A hundred texts take two requests, after those for the list, the width, and two narrower widths.
    assert_eq!(seen.len(), 6);
    assert_eq!(seen[1].1["model"], "nano");
}

#[test]
fn plain_numbers_are_accepted_besides_base64() {
    let (address, _) = serve(|path, body| match path {
        "/v1/models" => (200, models(&["nano"])),
        _ if body["dimensions"].is_null() => (
            200,
            json!({"data": [{"index": 0, "embedding": [1.0, 0.5]}]}),
        ),
        _ => (200, json!({"data": [{"index": 0, "embedding": [1.0]}]})),
    });
    let mut system = open(&address, None).unwrap();
    let found = system.embed(&["text"]).unwrap();
    assert_eq!(found.vectors.row(0), [1.0, 0.5]);
    assert_eq!(found.tokens, None);
}

#[test]
fn a_key_is_trimmed_and_one_that_no_header_carries_is_an_error() {
    let key = |key| Endpoint::new("http://host", None, Some(key)).map(|server| server.key);
    assert_eq!(key("secret\r\n").unwrap().as_deref(), Some("secret"));
    assert_eq!(key(" \n").unwrap(), None);
    let message = key("sec\nret").unwrap_err().to_string();
    assert!(
        message.contains("API key") && !message.contains("ret"),
        "{message}"
    );
}

#[test]
fn a_rejected_key_is_reported_with_its_status() {
    let (address, _) = serve(|_, _| {
        (
            401,
            json!({"error": {"message": "Incorrect API key provided"}}),
        )
    });
    let message = format!("{:#}", open(&address, None).unwrap_err());
    assert!(
        message.contains("401 (Incorrect API key provided)"),
        "{message}"
    );
}

#[test]
fn a_vector_of_another_width_is_an_error() {
    let calls = Mutex::new(0);
    let (address, _) = serve(move |path, body| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        match path {
            "/v1/models" => (200, models(&["nano"])),
            // After the list, the width and two narrower widths.
            _ if *calls > 4 => (
                200,
                json!({"data": [{"index": 0, "embedding": [1.0, 2.0]}]}),
            ),
            _ => (200, vectors(body)),
        }
    });
    let mut system = open(&address, None).unwrap();
    let message = system.embed(&["text"]).unwrap_err().to_string();
    assert!(
        message.contains("a vector of 2 dimensions, where 4 were expected"),
        "{message}"
    );
}

#[test]
fn rejected_ignored_and_different_dimensions_are_noted() {
    let (address, _) = serve(|path, body| match (path, body["dimensions"].as_u64()) {
        ("/v1/models", _) => (200, models(&["nano"])),
        (_, Some(1)) => (
            400,
            json!({"error": {"message": "does not support dimensions"}}),
        ),
        (_, Some(2)) => (
            200,
            json!({"data": [{"index": 0, "embedding": [-1.0, 2.0]}]}),
        ),
        _ => (200, vectors(body)),
    });
    let notes = open(&address, None).unwrap().facts.notes;
    assert!(
        notes[0].starts_with("it gives no 1 dimensions"),
        "{notes:?}"
    );
    assert!(notes[0].contains("does not support dimensions"));
    assert!(notes[1].starts_with("at 2 dimensions its vectors differ"));

    let (address, _) = serve(|path, body| {
        let mut body = body.clone();
        body["dimensions"] = Value::Null;
        good(path, &body)
    });
    let notes = open(&address, None).unwrap().facts.notes;
    assert!(
        notes[0].starts_with("it gives no 2, 1 dimensions"),
        "{notes:?}"
    );
    assert!(notes[0].contains("a vector of 4 dimensions, where 1 were expected"));
}

#[test]
fn one_of_several_models_must_be_chosen() {
    let (address, seen) = serve(|path, body| match path {
        "/v1/models" => (200, models(&["small", "large"])),
        _ => (200, vectors(body)),
    });
    let message = format!("{:#}", open(&address, None).unwrap_err());
    assert!(message.contains("the server has the models small, large"));
    // The model in the address wins over the default. The path defaults to `/v1`.
    let short = address.strip_suffix("/v1").unwrap();
    let named = Endpoint::new(&format!("{short}#large"), Some("small"), None).unwrap();
    named.open(&[]).unwrap();
    assert_eq!(seen.lock().unwrap().last().unwrap().1["model"], "large");
}

#[test]
fn a_server_without_a_list_of_models_needs_a_name() {
    let (address, _) = serve(|path, body| match path {
        "/v1/models" => (404, json!({"message": "no such route"})),
        _ => (200, vectors(body)),
    });
    let message = format!("{:#}", open(&address, None).unwrap_err());
    assert!(
        message.contains("no model was named") && message.contains("404 (no such route)"),
        "{message}"
    );
    let system = Endpoint::new(&address, Some("other"), None)
        .unwrap()
        .open(&[]);
    assert!(system.unwrap().facts.name.ends_with("#other"));
}

#[test]
fn a_busy_server_is_retried_and_a_dead_one_is_named() {
    let calls = Mutex::new(0);
    let (address, _) = serve(move |path, body| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        if *calls % 2 == 1 {
            return (429, json!({"error": {"message": "overloaded"}}));
        }
        good(path, body)
    });
    assert_eq!(open(&address, None).unwrap().facts.width, 4);

    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", closed.local_addr().unwrap());
    drop(closed);
    let message = format!("{:#}", open(&address, None).unwrap_err());
    assert!(message.contains("the server does not answer"), "{message}");
    assert!(Endpoint::new("http://", None, None).is_err());
}

#[test]
fn vectors_that_are_not_finite_are_counted_and_zero() {
    let (address, _) = serve(|path, body| {
        if path == "/v1/models" {
            return (200, models(&["nano"]));
        }
        let mut answer = vectors(body);
        if body["input"][0] == "bad" {
            let bytes: Vec<u8> = [f32::NAN, 1.0, 1.0, 1.0]
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect();
            answer["data"][0]["embedding"] = json!(STANDARD.encode(bytes));
        }
        (200, answer)
    });
    let mut system = open(&address, None).unwrap();
    let found = system.embed(&["bad"]).unwrap();
    assert_eq!(found.not_finite, [0]);
    assert_eq!(found.vectors.row(0), [0.0; 4]);
}
