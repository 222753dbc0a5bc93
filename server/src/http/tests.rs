//! The whole application over a fake network: every row of the error table, and OpenAI's contract.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use base64::Engine as _;
use lexivec_models::{Dimensions, Instructions};
use lexivec_runtime::{Engine, EngineOptions, Error, ModelInfo, Network, Result, Tokenizer};
use serde_json::{Value, json};

use super::{AppState, HttpSettings, ServedModel, create_app};

const WIDTH: usize = 4;

/// A model without weights, with prompts to choose from.
pub(crate) fn model_info() -> ModelInfo {
    let prompts = [("query", "Query: "), ("document", "")];
    ModelInfo {
        name: "Owner/Fake-4".to_owned(),
        hidden_size: WIDTH,
        vocabulary: 16_384,
        max_length: 16,
        dimensions: Dimensions::up_to(WIDTH),
        prompts: prompts.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        default_prompt: None,
        precision: None,
        target: None,
        digest: String::new(),
    }
}

/// A state from the sequence: its length, its first token, its sum, one. Token 7 first: an error; 8: not a number.
struct Fake;

impl Network for Fake {
    fn hidden_size(&self) -> usize {
        WIDTH
    }

    fn embed(&mut self, sequences: &[&[u32]]) -> Result<Vec<f32>> {
        let mut states = Vec::new();
        for s in sequences {
            match s[0] {
                7 => return Err(Error::Inference("secret detail".to_owned())),
                8 => states.extend([f32::NAN; WIDTH]),
                _ => states.extend([
                    s.len() as f32,
                    s[0] as f32,
                    s.iter().sum::<u32>() as f32,
                    1.0,
                ]),
            }
        }
        Ok(states)
    }
}

fn state(queue: usize) -> Data<AppState> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/tokenizer.json");
    let model = model_info();
    let tokenizer = Tokenizer::open(path.as_ref(), model.vocabulary, model.max_length).unwrap();
    let options = EngineOptions {
        queue,
        ..EngineOptions::default()
    };
    let engine = Engine::with_network(model, tokenizer, Box::new(Fake), &options).unwrap();
    Data::new(AppState {
        models: vec![ServedModel::new("fake", Arc::new(engine), "cpu")],
        instructions: Instructions::builtin(),
    })
}

async fn send(request: TestRequest) -> (StatusCode, Value, BTreeMap<String, String>) {
    let settings = HttpSettings {
        body_limit: 4096,
        ..HttpSettings::default()
    };
    let app = init_service(create_app(state(8), &settings)).await;
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
            json!({"model": "fake", "input": many}),
            429,
            "overloaded",
            None,
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
            post().insert_header(json).set_payload(" ".repeat(5000)),
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
