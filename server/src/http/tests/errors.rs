//! Errors: status, code, field, and body in the format of the route.

use actix_web::test::TestRequest;
use serde_json::{Value, json};

use super::{embed, send, send_to, state, tei};
use crate::http::ApiKeys;

#[actix_web::test]
async fn every_error_has_openais_format_and_its_status() {
    let many = vec!["a"; 9];
    let wide = vec!["a"; 2049];
    let rows = [
        (
            json!({"model": "fake", "input": ""}),
            400,
            "invalid_value",
            Some("input"),
        ),
        (
            json!({"model": "fake", "input": []}),
            400,
            "invalid_value",
            Some("input"),
        ),
        (
            json!({"model": "fake", "input": [16384]}),
            400,
            "invalid_value",
            Some("input"),
        ),
        (
            json!({"model": "fake", "input": "a ".repeat(40)}),
            400,
            "context_length_exceeded",
            Some("input"),
        ),
        (
            json!({"model": "fake", "input": "a", "dimensions": 5}),
            400,
            "invalid_value",
            Some("dimensions"),
        ),
        (
            json!({"model": "fake", "input": "a", "dimensions": 0}),
            400,
            "invalid_value",
            Some("dimensions"),
        ),
        (
            json!({"model": "fake", "input": "a", "dimension": 2}),
            400,
            "invalid_value",
            Some("dimension"),
        ),
        (
            json!({"model": "fake", "input": "a", "domain": "law"}),
            400,
            "invalid_value",
            Some("domain"),
        ),
        (
            json!({"model": "fake", "input": [9], "domain": "legal"}),
            400,
            "invalid_value",
            Some("domain"),
        ),
        (
            json!({"model": "other", "input": "a"}),
            404,
            "model_not_found",
            Some("model"),
        ),
        (
            json!({"model": "fake", "input": wide}),
            400,
            "invalid_value",
            Some("input"),
        ),
        // These never fit, so a retry would be useless.
        (
            json!({"model": "fake", "input": many}),
            400,
            "invalid_value",
            Some("input"),
        ),
        (
            json!({"model": "fake", "input": "a", "normalize": 1}),
            400,
            "invalid_value",
            Some("normalize"),
        ),
        (
            json!({"model": "fake", "input": [7]}),
            500,
            "internal_error",
            None,
        ),
        (
            json!({"model": "fake", "input": [8]}),
            500,
            "internal_error",
            None,
        ),
    ];
    for (request, status, code, param) in rows {
        // The registry may have "law" as an alias; the test needs an unknown name.
        let request: Value =
            serde_json::from_str(&request.to_string().replace("\"law\"", "\"astrology\"")).unwrap();
        let (found, body) = embed(request.clone()).await;
        assert_eq!(found.as_u16(), status, "{request}: {body}");
        let error = body["error"].as_object().unwrap();
        assert_eq!(
            (error["code"].as_str(), error["param"].as_str()),
            (Some(code), param),
            "{request}"
        );
        assert!(
            error["type"].is_string() && !error["message"].as_str().unwrap().contains("secret"),
            "{body}"
        );
    }
}

#[actix_web::test]
async fn protocol_errors_have_the_same_format() {
    let post = || TestRequest::post().uri("/v1/embeddings");
    let json = ("content-type", "application/json");
    for (request, status, code) in [
        (
            post().insert_header(json).set_payload("{"),
            400,
            "invalid_json",
        ),
        (
            post()
                .insert_header(("content-type", "text/plain"))
                .set_payload("{}"),
            415,
            "unsupported_media_type",
        ),
        (
            post().insert_header(json).set_payload(" ".repeat(17_000)),
            413,
            "body_too_large",
        ),
        (
            TestRequest::get().uri("/v1/embeddings"),
            405,
            "method_not_allowed",
        ),
        (TestRequest::get().uri("/v2"), 404, "not_found"),
    ] {
        let (found, body, headers) = send(request).await;
        assert_eq!(
            (found.as_u16(), body["error"]["code"].as_str()),
            (status, Some(code)),
            "{body}"
        );
        assert!(headers.contains_key("x-request-id"));
    }
}

#[actix_web::test]
async fn a_text_that_overflows_must_not_be_retried() {
    let body = json!({"model": "fake", "input": [8]});
    let post = TestRequest::post().uri("/v1/embeddings").set_json(body);
    let (status, _, headers) = send(post).await;
    assert_eq!(status.as_u16(), 500);
    assert_eq!(headers["x-should-retry"], "false");
}

#[actix_web::test]
async fn errors_on_tei_routes_have_its_format_and_name_its_fields() {
    let long = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
    for (path, body, status, words) in [
        ("/embed", json!({"inputs": ["a", long]}), 400, "inputs[1]: "),
        ("/", json!({"inputs": [9, 16384]}), 400, "`inputs`: "),
        (
            "/embed/",
            json!({"inputs": ["a", ""]}),
            400,
            "inputs[1]: the text is empty",
        ),
        (
            "/embed",
            json!({"inputs": "a", "input": "b"}),
            400,
            "`input`",
        ),
        (
            "/tokenize",
            json!({"inputs": [1]}),
            400,
            "`inputs` has token ids",
        ),
        ("/rerank", json!({}), 404, "/rerank"),
    ] {
        let (found, response) = tei(path, body).await;
        let fields = response.as_object().unwrap().keys();
        let fields: Vec<&str> = fields.map(String::as_str).collect();
        assert_eq!(
            (found, fields),
            (status, vec!["error", "error_type"]),
            "{path}"
        );
        let message = response["error"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
    let mut keyed = state(8);
    keyed.keys = ApiKeys::new(["sk-test"]).unwrap();
    let post = TestRequest::post()
        .uri("/embed")
        .set_json(json!({"inputs": "a"}));
    let (status, response, headers) = send_to(keyed, post).await;
    assert_eq!(status.as_u16(), 401);
    assert!(response["error"].is_string() && headers["www-authenticate"] == "Bearer");
    let (status, response, _) = send(TestRequest::get().uri("/embed")).await;
    assert!(status.as_u16() == 405 && response["error"].is_string());
    let (_, failed) = tei("/embed", json!({"inputs": [7]})).await;
    assert_eq!(failed["error_type"], "Backend");
    // The page at `/` is not one of its routes.
    let (_, response, _) = send(TestRequest::delete().uri("/")).await;
    assert!(response["error"]["code"].is_string(), "{response}");
}

#[actix_web::test]
async fn a_lone_surrogate_is_named_with_its_item() {
    for (path, json, param, words) in [
        (
            "/v1/embeddings",
            r#"{"model":"fake","input":["a","b\ud83d"]}"#,
            "input",
            r"`input[1]`: the escape \ud83d is a lone surrogate",
        ),
        (
            "/v1/embeddings",
            r#"{"model":"fake","input":"\udc00\ud800"}"#,
            "input",
            r"`input`: the escape \udc00",
        ),
        (
            "/embed",
            r#"{"inputs":["\ud83d"]}"#,
            "",
            r"`inputs[0]`: the escape \ud83d",
        ),
    ] {
        let post = TestRequest::post().uri(path);
        let post = post.insert_header(("content-type", "application/json"));
        let (status, body, _) = send(post.set_payload(json)).await;
        let error = &body["error"];
        let message = error
            .as_str()
            .or_else(|| error["message"].as_str())
            .unwrap();
        assert!(
            status.as_u16() == 400 && message.contains(words),
            "{message}"
        );
        assert_eq!(error["param"].as_str().unwrap_or_default(), param);
    }
}
