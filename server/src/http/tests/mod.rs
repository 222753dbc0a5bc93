//! The whole application over a fake network.

mod embeddings;
mod errors;
mod limits;
mod operations;
mod tei;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use lexivec_models::{Dimensions, Instructions};
use lexivec_runtime::{
    Engine, EngineOptions, Error, ModelInfo, Network, OpenNetwork, PooledStates, Result, Tokenizer,
};
use serde_json::Value;

use super::{AppState, HttpSettings, ServedModel, create_app};

const WIDTH: usize = 4;

/// A model without weights, with prompts to choose from.
pub(crate) fn model_info() -> ModelInfo {
    let prompts = [("query", "Query: "), ("document", "")];
    ModelInfo {
        name: "Owner/Fake-4".to_owned(),
        hidden_size: WIDTH,
        vocabulary: 16_384,
        text_memory: lexivec_runtime::TextMemory::default(),
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

/// A network whose pooled state has the sequence's length, first token, sum, and a one. The first token 7 makes an error,
/// 8 a state that is not a number, and 6 takes a while.
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

pub(crate) fn state(queue: usize) -> AppState {
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

/// Posts to one of text-embeddings-inference's routes.
async fn tei(path: &str, body: Value) -> (u16, Value) {
    let (status, body, _) = send(TestRequest::post().uri(path).set_json(body)).await;
    (status.as_u16(), body)
}
