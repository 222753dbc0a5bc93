//! Models, health, and the paths at which clients look for routes.

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use serde_json::json;

use super::{embed, send, send_to, state};
use crate::http::ApiKeys;

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
async fn routes_have_the_paths_that_clients_use() {
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
