//! `POST /v1/embeddings`: OpenAI's contract.

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use base64::Engine as _;
use serde_json::json;

use super::{embed, send_to, state, tei, vector};

#[actix_web::test]
async fn the_four_forms_of_input_get_vectors_in_order() {
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
async fn base64_has_the_same_numbers_and_truncated_vectors_are_normalised() {
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
async fn token_ids_can_be_rejected() {
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

#[actix_web::test]
async fn unknown_fields_are_ignored_if_they_are_null() {
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
