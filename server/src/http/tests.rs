//! The whole application over a fake network: every row of the error table, and OpenAI's contract.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use base64::Engine as _;
use lexivec_models::{Dimensions, Instructions};
use lexivec_runtime::{
    Engine, EngineOptions, Error, ModelInfo, Network, OpenNetwork, PooledStates, Result, Tokenizer,
};
use serde_json::{Value, json};

use super::{ApiKeys, AppState, HttpSettings, ServedModel, create_app};

const WIDTH: usize = 4;

/// A model without weights, with prompts to choose from.
pub(crate) fn model_info() -> ModelInfo {
    let prompts = [("query", "Query: "), ("document", "")];
    ModelInfo {
        name: "Owner/Fake-4".to_owned(),
        hidden_size: WIDTH,
        vocabulary: 16_384,
        heads: 1,
        max_length: 16,
        dimensions: Dimensions::up_to(WIDTH),
        prompts: prompts.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        default_prompt: None,
        precision: None,
        target: None,
        known_answer: None,
        digest: String::new(),
    }
}

/// A state from the sequence: its length, its first token, its sum, one. Token 7 first: an error; 8: not a number; 6: it
/// takes a while.
struct Fake;

impl Network for Fake {
    fn hidden_size(&self) -> usize {
        WIDTH
    }

    fn embed(&mut self, sequences: &[&[u32]]) -> Result<PooledStates> {
        let mut values = Vec::new();
        for s in sequences {
            match s[0] {
                6 => {
                    std::thread::sleep(Duration::from_millis(300));
                    values.extend([1.0; WIDTH]);
                }
                7 => return Err(Error::Inference("secret detail".to_owned())),
                8 => values.extend([f32::NAN; WIDTH]),
                _ => values.extend([
                    s.len() as f32,
                    s[0] as f32,
                    s.iter().sum::<u32>() as f32,
                    1.0,
                ]),
            }
        }
        let packed_tokens = sequences.iter().map(|s| s.len()).sum();
        Ok(PooledStates {
            values,
            packed_tokens,
            cached_tokens: 0,
            replayed: false,
        })
    }
}

fn state(queue: usize) -> AppState {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/tokenizer.json");
    let model = model_info();
    let tokenizer = Tokenizer::open(path.as_ref(), model.vocabulary, model.max_length).unwrap();
    let options = EngineOptions {
        queue,
        ..EngineOptions::default()
    };
    let open: Arc<OpenNetwork> = Arc::new(|_| Ok(Box::new(Fake)));
    let engine = Engine::with_networks(model, tokenizer, &open, &options).unwrap();
    let served = ServedModel::new("fake", Arc::new(engine), "cpu", 16_384);
    AppState::new(vec![served], Instructions::builtin())
}

async fn send(request: TestRequest) -> (StatusCode, Value, BTreeMap<String, String>) {
    send_to(state(8), request).await
}

async fn send_to(
    state: AppState,
    request: TestRequest,
) -> (StatusCode, Value, BTreeMap<String, String>) {
    let settings = HttpSettings {
        body_limit: 16_384,
        ..HttpSettings::default()
    };
    let app = init_service(create_app(Data::new(state), &settings)).await;
    let response = call_service(&app, request.to_request()).await;
    let status = response.status();
    let headers = response.headers().iter();
    let headers = headers
        .map(|(k, v)| (k.to_string(), v.to_str().unwrap().to_owned()))
        .collect();
    let body = read_body(response).await;
    (
        status,
        serde_json::from_slice(&body).unwrap_or(Value::Null),
        headers,
    )
}

async fn embed(body: Value) -> (StatusCode, Value) {
    let (status, body, _) = send(TestRequest::post().uri("/v1/embeddings").set_json(body)).await;
    (status, body)
}

fn vector(body: &Value, item: usize) -> Vec<f64> {
    let numbers = body["data"][item]["embedding"].as_array().unwrap();
    numbers.iter().map(|n| n.as_f64().unwrap()).collect()
}

#[actix_web::test]
async fn the_four_forms_of_input_are_answered_in_order() {
    let (status, text) = embed(json!({"model": "fake", "input": "heart"})).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert_eq!(text["object"], "list");
    let (_, texts) = embed(json!({"model": "fake", "input": ["a", "heart"]})).await;
    assert_eq!(vector(&texts, 1), vector(&text, 0));
    assert_eq!(texts["data"][1]["index"], 1);

    let (_, ids) = embed(json!({"model": "fake", "input": [40, 41]})).await;
    let (_, lists) = embed(json!({"model": "fake", "input": [[9], [40, 41, 16381]]})).await;
    assert_eq!(vector(&ids, 0), vector(&lists, 1));
    assert_eq!(ids["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
}

#[actix_web::test]
async fn base64_holds_the_same_numbers_and_cut_vectors_are_normalised() {
    let (_, float) = embed(json!({"model": "fake", "input": "a", "dimensions": 2})).await;
    let (_, packed) =
        embed(json!({"model": "fake", "input": "a", "dimensions": 2, "encoding_format": "base64"}))
            .await;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(packed["data"][0]["embedding"].as_str().unwrap())
        .unwrap();
    let numbers: Vec<f32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    let expected: Vec<f32> = vector(&float, 0).iter().map(|v| *v as f32).collect();
    assert_eq!(numbers, expected);
    let length: f64 = vector(&float, 0).iter().map(|v| v * v).sum();
    assert!(numbers.len() == 2 && (length - 1.0).abs() < 1e-6);
}

#[actix_web::test]
async fn an_instruction_changes_the_vector_and_a_domain_is_its_wording() {
    let (_, bare) = embed(json!({"model": "fake", "input": "a"})).await;
    let (_, prompt) = embed(json!({"model": "fake", "input": "a", "prompt_name": "query"})).await;
    assert_ne!(vector(&bare, 0), vector(&prompt, 0));
    let words = "Represent the medical concept:";
    let (_, domain) =
        embed(json!({"model": "fake", "input": "a", "domain": "medical", "truncate": "end"})).await;
    let (_, words) =
        embed(json!({"model": "fake", "input": "a", "instruction": words, "truncate": "end"}))
            .await;
    assert_eq!(vector(&domain, 0), vector(&words, 0));
}

#[actix_web::test]
async fn every_error_has_openais_shape_and_its_status() {
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
        // More than ever fit: to be sent again would be of no use.
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
        // "law" is an alias in some registries; what matters is a name that nobody knows.
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
async fn protocol_errors_have_the_same_shape() {
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
async fn health_models_and_domains_are_listed() {
    let (status, body, _) = send(TestRequest::get().uri("/health")).await;
    assert_eq!((status, body), (StatusCode::OK, json!({"status": "ok"})));
    let (_, body, _) = send(TestRequest::get().uri("/v1/models")).await;
    assert_eq!(
        (&body["data"][0]["id"], &body["data"][0]["dimensions"]),
        (&json!("fake"), &json!(4))
    );
    let (_, body, _) = send(TestRequest::get().uri("/v1/domains")).await;
    assert!(
        body["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|d| d["domain"] == "medical")
    );
    let echo = TestRequest::get()
        .uri("/health")
        .insert_header(("x-request-id", "mine"));
    assert_eq!(send(echo).await.2["x-request-id"], "mine");
}

#[actix_web::test]
async fn a_text_that_overflows_is_not_to_be_sent_again() {
    let body = json!({"model": "fake", "input": [8]});
    let post = TestRequest::post().uri("/v1/embeddings").set_json(body);
    let (status, _, headers) = send(post).await;
    assert_eq!(status.as_u16(), 500);
    assert_eq!(headers["x-should-retry"], "false");
}

#[actix_web::test]
async fn a_full_server_answers_at_once_and_says_when_to_come_back() {
    let app = init_service(create_app(Data::new(state(8)), &HttpSettings::default())).await;
    let post = |input: Value| {
        let body = json!({"model": "fake", "input": input});
        let request = TestRequest::post().uri("/v1/embeddings").set_json(body);
        call_service(&app, request.to_request())
    };
    let slow = post(json!([[6], [6, 1], [6, 2], [6, 3], [6, 4]]));
    let late = async {
        actix_web::rt::time::sleep(Duration::from_millis(50)).await;
        post(json!(["a", "b", "c", "d"])).await
    };
    let (slow, late) = futures_util::future::join(slow, late).await;
    assert_eq!((slow.status().as_u16(), late.status().as_u16()), (200, 429));
    assert_eq!(late.headers().get("retry-after").unwrap(), "1");
}

#[actix_web::test]
async fn a_request_that_takes_too_long_is_answered_and_others_are_not_hurt() {
    let mut state = state(8);
    state.request_timeout = Duration::from_millis(50);
    let body = json!({"model": "fake", "input": [6]});
    let post = TestRequest::post().uri("/v1/embeddings").set_json(body);
    let (status, body, headers) = send_to(state, post).await;
    assert_eq!(status.as_u16(), 503);
    assert_eq!(body["error"]["code"], "deadline_exceeded");
    assert!(headers.contains_key("retry-after"));
}

#[actix_web::test]
async fn keys_are_asked_for_where_they_are_set() {
    let keyed = || {
        let mut state = state(8);
        state.keys = ApiKeys::new(["sk-test"]).unwrap();
        state
    };
    let get = |path: &str| TestRequest::get().uri(path);
    let (status, body, headers) = send_to(keyed(), get("/v1/models")).await;
    assert_eq!(
        (status.as_u16(), &body["error"]["code"]),
        (401, &json!("invalid_api_key"))
    );
    assert_eq!(headers["www-authenticate"], "Bearer");
    assert!(headers.contains_key("x-request-id"));
    for wrong in ["Bearer sk-tes", "Basic sk-test", "sk-test", "Bearer"] {
        let request = get("/v1/models").insert_header(("authorization", wrong));
        assert_eq!(send_to(keyed(), request).await.0.as_u16(), 401, "{wrong}");
    }
    let request = get("/v1/models").insert_header(("authorization", "bearer sk-test"));
    assert_eq!(send_to(keyed(), request).await.0.as_u16(), 200);
    for open in [
        "/",
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs/",
    ] {
        assert_eq!(send_to(keyed(), get(open)).await.0.as_u16(), 200, "{open}");
    }
    let post = TestRequest::post()
        .uri("/")
        .set_json(json!({"inputs": "a"}));
    assert_eq!(send_to(keyed(), post).await.0.as_u16(), 401);
}

#[actix_web::test]
async fn a_model_is_shown_by_its_id_with_or_without_its_slash_encoded() {
    for path in [
        "/v1/models/fake",
        "/v1/models/Owner/Fake-4",
        "/v1/models/owner%2Ffake-4",
    ] {
        let (status, body, _) = send(TestRequest::get().uri(path)).await;
        assert_eq!(
            (status.as_u16(), &body["id"]),
            (200, &json!("fake")),
            "{path}"
        );
    }
    let (status, body, _) = send(TestRequest::get().uri("/v1/models/other")).await;
    assert_eq!(
        (status.as_u16(), &body["error"]["code"]),
        (404, &json!("model_not_found"))
    );
}

#[actix_web::test]
async fn readiness_follows_the_drain_and_liveness_does_not() {
    let draining = state(8);
    draining.drain();
    let (status, body, _) = send_to(draining, TestRequest::get().uri("/readyz")).await;
    assert_eq!(
        (status.as_u16(), &body["error"]["code"]),
        (503, &json!("unavailable"))
    );
    let draining = state(8);
    draining.drain();
    assert_eq!(
        send_to(draining, TestRequest::get().uri("/livez"))
            .await
            .0
            .as_u16(),
        200
    );
    assert_eq!(
        send(TestRequest::get().uri("/readyz")).await.0.as_u16(),
        200
    );
}

#[actix_web::test]
async fn token_ids_can_be_refused() {
    let mut state = state(8);
    state.refuse_token_ids = true;
    let body = json!({"model": "fake", "input": [40]});
    let post = TestRequest::post().uri("/v1/embeddings").set_json(body);
    let (status, body, _) = send_to(state, post).await;
    assert_eq!(status.as_u16(), 400);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("check_embedding_ctx_length=False"),
        "{message}"
    );
}

async fn tei(path: &str, body: Value) -> (u16, Value) {
    let (status, body, _) = send(TestRequest::post().uri(path).set_json(body)).await;
    (status.as_u16(), body)
}

#[actix_web::test]
async fn text_embeddings_inference_clients_are_served() {
    let (_, ours) = embed(json!({"model": "fake", "input": ["a", "heart"]})).await;
    for path in ["/embed", "/"] {
        let (status, body) = tei(path, json!({"inputs": ["a", "heart"], "truncate": null})).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(body[1], ours["data"][1]["embedding"]);
    }
    let (_, one) = tei("/embed", json!({"inputs": "heart", "normalize": true})).await;
    assert_eq!(one, json!([ours["data"][1]["embedding"]]));
    let (_, raw) = tei(
        "/embed",
        json!({"inputs": "heart", "normalize": false, "dimensions": 2}),
    )
    .await;
    assert_eq!(raw[0].as_array().unwrap().len(), 2);
    assert!(raw[0][0].as_f64().unwrap() > 1.0);

    let long = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
    let (status, refused) = tei("/embed", json!({"inputs": long})).await;
    let message = refused["error"].as_str().unwrap();
    assert!(status == 400 && message.contains("`inputs`"), "{message}");
    let cut =
        |direction| json!({"inputs": long, "truncate": true, "truncation_direction": direction});
    let (right, left) = (
        tei("/embed", cut("right")).await,
        tei("/embed", cut("Left")).await,
    );
    assert_eq!((right.0, left.0), (200, 200));
    assert_ne!(right.1, left.1);

    for (body, field) in [
        (
            json!({"inputs": "a", "encoding_format": "base64"}),
            "encoding_format",
        ),
        (json!({"inputs": "a", "input": "b"}), "input"),
        (json!({"input": "b"}), "input"),
        (json!({}), "inputs"),
        (json!({"inputs": "a", "dimensions": "x"}), "dimensions"),
        (json!({"inputs": "a", "prompt_name": "x"}), "prompt_name"),
    ] {
        let (status, answer) = tei("/embed", body.clone()).await;
        let message = answer["error"].as_str().unwrap();
        assert_eq!((status, &answer["error_type"]), (400, &json!("Validation")));
        assert!(message.contains(&format!("`{field}`")), "{body}: {answer}");
    }
}

#[actix_web::test]
async fn errors_on_tei_routes_have_its_shape_and_name_its_fields() {
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
            "`inputs` is token ids",
        ),
        ("/rerank", json!({}), 404, "/rerank"),
    ] {
        let (found, answer) = tei(path, body).await;
        let fields = answer.as_object().unwrap().keys();
        let fields: Vec<&str> = fields.map(String::as_str).collect();
        assert_eq!(
            (found, fields),
            (status, vec!["error", "error_type"]),
            "{path}"
        );
        let message = answer["error"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
    let mut keyed = state(8);
    keyed.keys = ApiKeys::new(["sk-test"]).unwrap();
    let post = TestRequest::post()
        .uri("/embed")
        .set_json(json!({"inputs": "a"}));
    let (status, answer, headers) = send_to(keyed, post).await;
    assert_eq!(status.as_u16(), 401);
    assert!(answer["error"].is_string() && headers["www-authenticate"] == "Bearer");
    let (status, answer, _) = send(TestRequest::get().uri("/embed")).await;
    assert!(status.as_u16() == 405 && answer["error"].is_string());
    let (_, failed) = tei("/embed", json!({"inputs": [7]})).await;
    assert_eq!(failed["error_type"], "Backend");
    // The page at `/` is not one of its routes.
    let (_, answer, _) = send(TestRequest::delete().uri("/")).await;
    assert!(answer["error"]["code"].is_string(), "{answer}");
}

#[actix_web::test]
async fn routes_have_the_names_that_clients_give_them() {
    let (_, ours) = embed(json!({"model": "fake", "input": "a"})).await;
    for path in ["/embeddings", "/embeddings/", "/v1/embeddings/"] {
        let post = TestRequest::post().uri(path);
        let (status, body, _) = send(post.set_json(json!({"model": "fake", "input": "a"}))).await;
        assert_eq!((status.as_u16(), &body), (200, &ours), "{path}");
        let (status, _, headers) = send(TestRequest::get().uri(path)).await;
        assert_eq!((status.as_u16(), headers["allow"].as_str()), (405, "POST"));
    }
    for path in ["/models", "/models/", "/v1/models/"] {
        let (_, body, _) = send(TestRequest::get().uri(path)).await;
        assert_eq!(body["data"][0]["id"], "fake", "{path}");
    }
    let mut keyed = state(8);
    keyed.keys = ApiKeys::new(["sk-test"]).unwrap();
    let post = TestRequest::post().uri("/embeddings");
    let post = post.set_json(json!({"model": "fake", "input": "a"}));
    assert_eq!(send_to(keyed, post).await.0.as_u16(), 401);
}

#[actix_web::test]
async fn unknown_fields_pass_where_they_ask_for_nothing() {
    let (status, body) = embed(json!({"model": "fake", "input": "a", "modalities": null})).await;
    assert_eq!(status.as_u16(), 200, "{body}");
    for (path, field) in [("/embed", "inputs"), ("/tokenize", "inputs")] {
        let (status, body) = tei(path, json!({field: "a", "priority": null})).await;
        assert_eq!(status, 200, "{body}");
        let (status, body) = tei(path, json!({field: "a", "priority": false})).await;
        let message = body["error"].as_str().unwrap();
        assert!(status == 400 && message.contains("`priority`"), "{body}");
    }
    let (status, body) = embed(json!({"model": "fake", "input": "a", "priority": 0})).await;
    assert_eq!(
        (status.as_u16(), &body["error"]["param"]),
        (400, &json!("priority"))
    );
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("unknown field; known are input, model"),
        "{message}"
    );
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

#[actix_web::test]
async fn tokens_and_what_is_served_are_shown() {
    let (status, tokens) = tei("/tokenize", json!({"inputs": "心脏 a"})).await;
    assert_eq!(status, 200);
    let tokens = tokens[0].as_array().unwrap();
    assert_eq!(tokens.last().unwrap()["special"], true);
    assert_eq!(tokens[0]["start"], 0);
    let (_, bare) = tei(
        "/tokenize",
        json!({"inputs": ["心脏 a"], "add_special_tokens": false}),
    )
    .await;
    assert_eq!(bare[0].as_array().unwrap().len() + 1, tokens.len());
    let (_, info, _) = send(TestRequest::get().uri("/info")).await;
    assert_eq!(
        (&info["max_input_length"], &info["max_client_batch_size"]),
        (&json!(16), &json!(2048))
    );
}

#[actix_web::test]
async fn web_pages_of_other_origins_need_leave() {
    let preflight = || {
        TestRequest::default()
            .method(actix_web::http::Method::OPTIONS)
            .uri("/v1/embeddings")
            .insert_header(("origin", "https://app.example"))
            .insert_header(("access-control-request-method", "POST"))
            .insert_header((
                "access-control-request-headers",
                "authorization,content-type",
            ))
    };
    let settings = HttpSettings {
        cors_origins: vec!["https://app.example".to_owned()],
        ..HttpSettings::default()
    };
    let mut keyed = state(8);
    keyed.keys = ApiKeys::new(["sk-test"]).unwrap();
    let app = init_service(create_app(Data::new(keyed), &settings)).await;
    let answer = call_service(&app, preflight().to_request()).await;
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(
        answer.headers().get("access-control-allow-origin").unwrap(),
        "https://app.example"
    );
    let (_, _, headers) = send(preflight()).await;
    assert!(!headers.contains_key("access-control-allow-origin"));
}
