//! Limits: keys, origins, capacity, deadlines.

use std::time::Duration;

use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::Data;
use serde_json::{Value, json};

use super::{send, send_to, state};
use crate::http::{ApiKeys, HttpSettings, create_app};

#[actix_web::test]
async fn a_full_server_rejects_at_once_with_retry_after() {
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
async fn a_request_past_its_deadline_gets_a_503_with_retry_after() {
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
async fn keys_are_required_where_the_server_has_keys() {
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
async fn pages_of_other_origins_need_permission() {
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
    let response = call_service(&app, preflight().to_request()).await;
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(
        response
            .headers()
            .get("access-control-allow-origin")
            .unwrap(),
        "https://app.example"
    );
    let (_, _, headers) = send(preflight()).await;
    assert!(!headers.contains_key("access-control-allow-origin"));
}
