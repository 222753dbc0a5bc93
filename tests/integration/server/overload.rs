//! More load than the server accepts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::embedding;
use super::fake::{BatchOutcome, vector};
use super::local::{Setup, with_end_token};

fn of_capacity(texts: usize) -> Setup {
    let mut setup = Setup::default();
    setup.engine.queue = texts;
    setup
}

#[test]
fn requests_beyond_the_capacity_are_rejected_at_once_and_the_rest_served() {
    let local = of_capacity(64).serve();
    local.control.hold();
    let mut clients = local.clients(128);
    for (id, client) in clients.iter_mut().enumerate() {
        client.send(embedding(&json!([[id]])));
    }
    // While nothing is computed, half of the clients are rejected at once.
    let begun = Instant::now();
    let mut rejected = vec![false; 128];
    while rejected.iter().filter(|r| **r).count() < 64 {
        for (client, rejected) in clients.iter_mut().zip(&mut rejected) {
            if !*rejected && client.has_response() {
                let response = client.response();
                assert_eq!(response.outcome(), (429, "overloaded".to_owned()));
                assert_eq!(response.header("retry-after"), Some("1"));
                *rejected = true;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{rejected:?}");
    }
    local.control.release();
    for (id, (client, rejected)) in clients.iter_mut().zip(rejected).enumerate() {
        if !rejected {
            assert_eq!(
                client.response().vectors(),
                [vector(&with_end_token(&[id as u32]))]
            );
        }
        // The queue has capacity again.
        assert_eq!(client.embed(&json!([[id]])).status, 200);
    }
}

#[test]
fn under_twice_the_load_every_request_gets_a_200_or_a_429() {
    let local = of_capacity(16).serve();
    local
        .control
        .always(|| BatchOutcome::Slow(Duration::from_millis(5)));
    let asks = |worker: u32| {
        let mut client = local.connect();
        let ask = move |round: u32| {
            let ids = [worker, round];
            let response = client.embed(&json!([ids, ids]));
            match response.outcome() {
                (200, _) => {
                    let expected = vector(&with_end_token(&ids));
                    assert_eq!(response.vectors(), [expected.clone(), expected]);
                    1
                }
                (429, _) => 0,
                other => panic!("{other:?}"),
            }
        };
        (0..25).map(ask).sum::<u32>()
    };
    let served: u32 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..32)
            .map(|worker| scope.spawn(move || asks(worker)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    // 32 clients send 64 texts at a time, and 16 may be in flight.
    assert!((25..800).contains(&served), "{served} of 800 were served");
    assert!(local.control.texts() as u32 >= served);
}

/// huggingface/text-embeddings-inference issue 470: a request of more texts than the server's permits made the task
/// panic, and broke the client's connection.
#[test]
fn regression_text_embeddings_inference_470() {
    let local = of_capacity(8).serve();
    let mut client = local.connect();
    for count in [9, 64, 2048] {
        let texts: Vec<Value> = (0..count).map(|_| json!("a")).collect();
        let response = client.embed(&json!(texts));
        // A retry cannot succeed, so the status is not a retryable one.
        assert_eq!(response.outcome(), (400, "invalid_value".to_owned()));
        assert_eq!(client.post("/embed", &json!({"inputs": texts})).status, 400);
        assert_eq!(
            client.post("/tokenize", &json!({"inputs": texts})).status,
            400
        );
    }
    assert_eq!(local.control.texts(), 0);
    assert_eq!(client.embed(&json!(vec!["a"; 8])).vectors().len(), 8);
}
