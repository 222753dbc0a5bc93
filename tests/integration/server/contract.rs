//! What clients that were written for other servers send, and what they show of an error.

use serde_json::{Value, json};

use super::client::{Client, Response, posted};
use super::program::Program;

/// The response to a body as its bytes stand.
fn send(client: &mut Client, path: &str, body: &[u8]) -> Response {
    let head = posted(path, "");
    let head = head.replace(
        "Content-Length: 0",
        &format!("Content-Length: {}", body.len()),
    );
    client.send([head.as_bytes(), body].concat());
    client.response()
}

#[test]
fn requests_of_other_servers_clients_get_the_same_vectors() {
    let program = Program::start(&[]);
    let mut client = program.connect();
    let expected = client.embed(&json!("heart")).vectors();
    let ours = json!({"model": "fake", "input": "heart"});
    for path in ["/embeddings", "/embeddings/", "/v1/embeddings/"] {
        assert_eq!(client.post(path, &ours).vectors(), expected, "{path}");
    }
    for path in ["/", "/embed", "/embed/"] {
        let response = client.post(path, &json!({"inputs": "heart"}));
        let vectors: Vec<Vec<f32>> = serde_json::from_value(response.json()).unwrap();
        assert_eq!(vectors, expected, "{path}");
    }
    for path in ["/models", "/models/", "/v1/models/"] {
        assert_eq!(client.get(path).json()["data"][0]["id"], "fake", "{path}");
    }
    for path in ["/info", "/info/"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    // A client for a newer API sends null for what it does not use.
    let newer = json!({"model": "fake", "input": "heart", "modalities": null, "user": null});
    assert_eq!(client.post("/v1/embeddings", &newer).vectors(), expected);
    let marked = format!("\u{feff}{ours}");
    let response = send(&mut client, "/v1/embeddings", marked.as_bytes());
    assert_eq!(response.vectors(), expected);
    // A pair of surrogates is one character.
    let pair = br#"{"model":"fake","input":"\ud83d\ude00"}"#;
    let response = send(&mut client, "/v1/embeddings", pair);
    assert_eq!(
        response.vectors(),
        client.embed(&json!("\u{1f600}")).vectors()
    );
}

#[test]
fn errors_say_what_is_wrong_and_where_in_the_routes_own_form() {
    let program = Program::start(&[]);
    let mut client = program.connect();
    let cases: [(&[u8], &str, &str); 9] = [
        (
            br#"{"inputs":["a","b\ud83d"]}"#,
            "inputs",
            r"`inputs[1]`: the escape \ud83d is a lone surrogate",
        ),
        (
            br#"{"inputs":"\udc00x"}"#,
            "inputs",
            r"`inputs`: the escape \udc00 is a lone surrogate",
        ),
        (br#"{"inputs":["a",""]}"#, "inputs", "inputs[1]"),
        (br#"{"inputs":[]}"#, "inputs", "`inputs`"),
        (br#"{}"#, "inputs", "`inputs`: is missing"),
        (
            br#"{"inputs":"a","dimensions":"x"}"#,
            "dimensions",
            "`dimensions`",
        ),
        (
            br#"{"inputs":"a","priority":0}"#,
            "priority",
            "`priority`: unknown field",
        ),
        (
            b"{\"inputs\":\"caf\xe9\"}",
            "inputs",
            "`inputs`: byte 14 of the request body is not UTF-8",
        ),
        (b"{\"inputs\":\"a\"", "", "not valid JSON"),
    ];
    for (body, field, words) in cases {
        let response = send(&mut client, "/embed", body);
        let fields = response.json();
        let names = fields.as_object().unwrap().keys().map(String::as_str);
        let names: Vec<&str> = names.collect();
        assert_eq!((response.status, names), (400, vec!["error", "error_type"]));
        assert_eq!(fields["error_type"], "Validation");
        let message = fields["error"].as_str().unwrap();
        assert!(message.contains(words), "{message}");

        // The same request to OpenAI's route names the field of that route.
        let rest = match body[1..].strip_prefix(b"\"inputs\"") {
            Some(value) => [b"\"input\"", value].concat(),
            None => body[1..].to_vec(),
        };
        let separator: &[u8] = if rest.starts_with(b"}") { b"" } else { b"," };
        let ours = [br#"{"model":"fake""#, separator, &rest].concat();
        let response = send(&mut client, "/v1/embeddings", &ours);
        let error = response.json()["error"].clone();
        let param = match field {
            "inputs" => "input",
            other => other,
        };
        assert_eq!(
            error["param"].as_str().unwrap_or_default(),
            param,
            "{error}"
        );
        assert_eq!(
            (response.status, &error["type"]),
            (400, &Value::from("invalid_request_error"))
        );
    }
}
