//! Requests are admitted only if they can meet their deadline.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{measure_rate, serve_at_rate, setup, texts, wait_until_queued};
use crate::server::client::{embedding, keyed};
use crate::server::local::Setup;

#[test]
fn under_twice_the_load_accepted_requests_meet_their_deadline() {
    const CLIENTS: u32 = 96;
    // 10,000 tokens per second. 96 clients with 200 tokens each request twice what one second computes.
    let local = serve_at_rate(setup(2, ""), 1000, Duration::from_millis(100));
    measure_rate(&local);
    let before = local.control.texts();
    let (answered, rejected) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for owner in 1..=CLIENTS {
            let (local, answered, rejected, done) = (&local, &answered, &rejected, &done);
            scope.spawn(move || {
                let mut client = local.connect();
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let response = client.embed(&texts(owner, round * 10, 10, 20));
                    match response.outcome() {
                        (200, _) => answered.fetch_add(10, Ordering::Relaxed),
                        (429, code) => {
                            assert_eq!(code, "overloaded");
                            let seconds = response.header("retry-after").unwrap();
                            assert!(seconds.parse::<u32>().unwrap() >= 1);
                            assert!(response.header("x-ratelimit-limit-tokens").is_some());
                            std::thread::sleep(Duration::from_millis(20));
                            rejected.fetch_add(1, Ordering::Relaxed)
                        }
                        // A 503 would mean that an accepted request missed its deadline.
                        other => panic!("{other:?}"),
                    };
                }
            });
        }
        std::thread::sleep(Duration::from_secs(5));
        done.store(true, Ordering::Relaxed);
    });
    let computed = local.control.texts() - before;
    let answered = answered.into_inner();
    assert!(rejected.into_inner() > 0);
    assert!(
        answered * 100 >= computed * 95,
        "{answered} of {computed} computed texts were answered"
    );
}

#[test]
fn texts_that_can_never_meet_the_deadline_are_rejected_at_once_and_permanently() {
    // 2,000 tokens per second.
    let local = serve_at_rate(setup(2, ""), 1000, Duration::from_millis(500));
    let mut client = measure_rate(&local);
    let computed = local.control.texts();
    let response = client.embed(&texts(0, 100, 400, 20));
    assert_eq!(response.outcome(), (413, "request_too_large".to_owned()));
    assert_eq!(response.header("retry-after"), None);
    let message = String::from_utf8(response.body).unwrap();
    assert!(message.contains("fewer texts"), "{message}");
    assert_eq!(local.control.texts(), computed);
    assert_eq!(client.embed(&texts(0, 600, 50, 20)).status, 200);
}

#[test]
fn later_callers_do_not_delay_an_accepted_request_beyond_its_deadline() {
    const CALLERS: usize = 20;
    let keys = (0..=CALLERS).map(|i| format!("name{i}:sk-{i}\n"));
    // 5,000 tokens per second.
    let setup = setup(4, &keys.collect::<String>());
    let local = serve_at_rate(setup, 500, Duration::from_millis(100));
    let mut first = local.connect();
    assert_eq!(first.embed_with("sk-0", &texts(0, 0, 25, 20)).status, 200);
    // This takes 1.9 of the two seconds that may be promised.
    first.send(keyed(&embedding(&texts(0, 1000, 475, 20)), "sk-0"));
    wait_until_queued(&local, 5001);
    std::thread::scope(|scope| {
        for caller in 1..=CALLERS {
            let local = &local;
            scope.spawn(move || {
                let mut client = local.connect();
                let key = format!("sk-{caller}");
                for round in 0..8 {
                    let texts = texts(caller as u32, round * 100, 50, 20);
                    let response = client.embed_with(&key, &texts);
                    assert!(
                        [200, 429].contains(&response.status),
                        "{:?}",
                        response.outcome()
                    );
                    if response.status == 429 {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            });
        }
        assert_eq!(first.response().status, 200);
    });
}

#[test]
fn a_truncated_text_counts_by_its_remaining_tokens() {
    let local = serve_at_rate(setup(400, ""), 1000, Duration::from_millis(200));
    // The measured rate is 5,000 tokens per second, or 1,000,000 in half of the time limit. Until a long text was measured,
    // one of 32,768 tokens counts as 860,000.
    let mut busy = measure_rate(&local);
    busy.send(embedding(&texts(0, 100, 100, 20)));
    wait_until_queued(&local, 1);
    // At most 32,768 tokens remain of bytes for ten times as many.
    let body = json!({"model": "fake", "input": "heart ".repeat(600_000), "truncate": "end"});
    let mut client = local.connect();
    assert_eq!(client.post("/v1/embeddings", &body).status, 200);
    assert_eq!(busy.response().status, 200);
}

#[test]
fn cached_texts_are_served_under_any_load() {
    let setup = Setup {
        cache: Some(1 << 20),
        ..setup(2, "")
    };
    let local = serve_at_rate(setup, 1000, Duration::from_millis(400));
    let mut client = local.connect();
    let several: Vec<String> = (0..64).map(|i| format!("heart {i} ").repeat(4)).collect();
    let cached = [json!("heart"), json!(several)];
    for input in &cached {
        assert_eq!(client.embed(input).status, 200);
    }
    measure_rate(&local);
    let mut busy = local.clients(6);
    for (i, busy) in busy.iter_mut().enumerate() {
        busy.send(embedding(&texts(0, 100 * (i as u32 + 1), 50, 20)));
    }
    wait_until_queued(&local, 1000);
    let mut rejected = local.connect();
    assert_eq!(rejected.embed(&texts(1, 0, 80, 20)).status, 429);
    for input in &cached {
        assert_eq!(client.embed(input).status, 200);
    }
    for mut busy in busy {
        assert!([200, 429].contains(&busy.response().status));
    }
}
