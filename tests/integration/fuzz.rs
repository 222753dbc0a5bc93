//! Fuzzes request bodies, through the whole application.
//!
//! Valid bodies are mutated in their structure (fields, types, numbers, depth, escapes), and then in their bytes. The
//! response must have a documented status, never 5xx, and an error body of the route's format.
//! LEXIVEC_FUZZ_SECONDS fuzzes for longer. Bodies that failed once stay in `regressions`.

mod json;
mod regressions;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix_web::http::header::CONTENT_TYPE;
use actix_web::rt::System;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use lexivec_server::http::{HttpSettings, create_app};
use proptest::collection::vec;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;

use self::json::{body, mutation};
use crate::server::local::Setup;

/// Routes and valid bodies.
const VALID: [(&str, &str); 12] = [
    ("/v1/embeddings", r#"{"model":"fake","input":"heart"}"#),
    (
        "/v1/embeddings",
        r#"{"model":"fake","input":["heart","心脏 骤停\n"],"encoding_format":"base64","dimensions":4}"#,
    ),
    (
        "/v1/embeddings",
        r#"{"model":"fake","input":[1,2,3],"user":"u","normalize":false}"#,
    ),
    (
        "/v1/embeddings",
        r#"{"model":"fake","input":[[1],[2,3.0]],"truncate":"end"}"#,
    ),
    (
        "/v1/embeddings",
        r#"{"model":"fake","input":"heart","instruction":"Name the organ:","encoding_format":"float"}"#,
    ),
    (
        "/v1/embeddings",
        r#"{"model":"fake","input":"heart","domain":"medical","prompt_name":null}"#,
    ),
    (
        "/embed",
        r#"{"inputs":"heart","truncate":true,"truncation_direction":"Left"}"#,
    ),
    (
        "/embed",
        r#"{"inputs":["heart","lung"],"normalize":false,"dimensions":4,"prompt_name":"query"}"#,
    ),
    (
        "/embed",
        r#"{"inputs":[[1,2],[3]],"encoding_format":"float"}"#,
    ),
    ("/", r#"{"inputs":[1,2]}"#),
    (
        "/tokenize",
        r#"{"inputs":["heart","lung"],"add_special_tokens":false}"#,
    ),
    ("/tokenize", r#"{"inputs":"heart","prompt_name":"query"}"#),
];

/// The limit of a body in bytes.
const LIMIT: usize = 1 << 20;

/// Checks a response. Returns its error code, or why it is wrong.
fn judge(route: &str, status: u16, body: &[u8]) -> Result<String, String> {
    let said = || format!("{status}: {}", String::from_utf8_lossy(body));
    let json: Value = serde_json::from_slice(body).map_err(|e| format!("{e}: {}", said()))?;
    if status == 200 {
        let vectors = json["data"].is_array() || json[0].is_array();
        return if vectors {
            Ok(String::new())
        } else {
            Err(said())
        };
    }
    if !matches!(status, 400 | 404 | 413 | 415) {
        return Err(said());
    }
    let error = &json["error"];
    if route != "/v1/embeddings" {
        // text-embeddings-inference's error bodies have no code.
        let flat = error.as_str().is_some_and(|message| message.len() < 1100)
            && json["error_type"] == "Validation";
        let code = match status {
            400 => "invalid_value",
            413 => "body_too_large",
            _ => return Err(said()),
        };
        return flat.then(|| code.to_owned()).ok_or_else(said);
    }
    let nested = error["message"]
        .as_str()
        .is_some_and(|message| message.len() < 1100)
        && error["type"] == "invalid_request_error"
        && (error["param"].is_null() || error["param"].is_string());
    let code = error["code"].as_str().filter(|_| nested).ok_or_else(said)?;
    let known = match status {
        400 => ["invalid_json", "invalid_value", "context_length_exceeded"].contains(&code),
        404 => code == "model_not_found",
        413 => code == "body_too_large",
        _ => code == "unsupported_media_type",
    };
    if known {
        Ok(code.to_owned())
    } else {
        Err(said())
    }
}

/// The application over a fake network, as a function from route and body to status and body.
fn application() -> impl Fn(&str, &[u8]) -> (u16, Vec<u8>) {
    let settings = HttpSettings {
        body_limit: LIMIT,
        ..HttpSettings::default()
    };
    let system = System::new();
    let (state, _) = Setup::default().state();
    let app = system.block_on(init_service(create_app(Data::new(state), &settings)));
    move |route, body| {
        let request = TestRequest::post()
            .uri(route)
            .insert_header((CONTENT_TYPE, "application/json"));
        let request = request.set_payload(body.to_vec()).to_request();
        system.block_on(async {
            let response = call_service(&app, request).await;
            (
                response.status().as_u16(),
                read_body(response).await.to_vec(),
            )
        })
    }
}

#[test]
fn every_mutated_body_gets_a_documented_response() {
    let seconds = std::env::var("LEXIVEC_FUZZ_SECONDS").map_or(0, |text| text.parse().unwrap());
    let length = Duration::from_secs(seconds);
    let (app, begun) = (application(), Instant::now());
    let (cases, codes) = (
        Cell::new(0u64),
        RefCell::new(BTreeMap::<String, u64>::new()),
    );
    let strategy = (select(&VALID[..]), vec(mutation(), 0..8));
    loop {
        let config = Config {
            cases: 1000,
            failure_persistence: None,
            ..Config::default()
        };
        let tried = TestRunner::new(config).run(&strategy, |((route, valid), mutations)| {
            let body = body(valid, &mutations);
            let (status, response) = app(route, &body);
            cases.set(cases.get() + 1);
            let code = judge(route, status, &response).map_err(|reason| {
                TestCaseError::fail(format!("{route} b\"{}\": {reason}", body.escape_ascii()))
            })?;
            *codes.borrow_mut().entry(code).or_default() += 1;
            Ok(())
        });
        tried.unwrap_or_else(|error| panic!("{error}"));
        if begun.elapsed() >= length {
            break;
        }
    }
    println!(
        "{} cases in {:?}: {:?}",
        cases.get(),
        begun.elapsed(),
        codes.borrow()
    );
    // The mutated bodies reach the code behind the parser, too.
    assert!(
        ["", "invalid_json", "invalid_value", "model_not_found"]
            .iter()
            .all(|code| codes.borrow().contains_key(*code))
    );
}

#[test]
fn valid_bodies_are_served() {
    let app = application();
    for (route, valid) in VALID {
        let (status, response) = app(route, valid.as_bytes());
        assert_eq!(
            (status, judge(route, status, &response)),
            (200, Ok(String::new())),
            "{route} {valid}"
        );
    }
}
