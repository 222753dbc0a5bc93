//! API keys: their parts of the compute, their rate limits, their caches, and their names.

use std::time::Duration;

use serde_json::json;

use super::{serve_at_rate, setup, texts, wait_until_queued};
use crate::server::client::{Response, embedding, keyed, posted};
use crate::server::fake::vector;
use crate::server::local::{Local, Setup, with_end_token};
use crate::server::metrics::eventually;
use crate::server::program::{Program, serve};

/// A server with the keys of a key file's lines, at most `capacity` texts in flight, and batches of 200 tokens.
fn serve_keys(lines: &str, capacity: usize) -> Local {
    let mut setup = setup(60, lines);
    setup.engine.queue = capacity;
    setup.engine.limits.max_tokens = 200;
    setup.serve()
}

/// The index of the last batch with a text of `owner`.
fn last_batch_of(local: &Local, owner: u32) -> usize {
    let batches = local.control.batches();
    let place = batches
        .iter()
        .rposition(|batch| batch.iter().any(|ids| ids[0] == owner));
    place.unwrap()
}

#[test]
fn a_key_with_many_connections_leaves_another_key_its_share() {
    const GREEDY: u32 = 7;
    const MODEST: u32 = 8;
    let local = serve_keys("greedy:sk-1\nmodest:sk-2\n", 1024);
    local.control.hold();
    let mut greedy = local.clients(8);
    for (i, client) in greedy.iter_mut().enumerate() {
        client.send(keyed(
            &embedding(&texts(GREEDY, i as u32 * 200, 200, 10)),
            "sk-1",
        ));
    }
    // The greedy key holds all that it may have: seven eighths of the texts in flight.
    eventually(|| {
        let rejected = greedy.iter_mut().filter(|client| client.has_response());
        (rejected.count() == 4).then_some(())
    });
    let mut modest = local.connect();
    modest.send(keyed(&embedding(&texts(MODEST, 0, 100, 10)), "sk-2"));
    eventually(|| (local.state.models[0].engine.queue().len() >= 880).then_some(()));
    local.control.release();
    assert_eq!(modest.response().status, 200);
    let accepted = greedy.iter_mut().map(|client| client.response().status);
    assert_eq!(accepted.filter(|status| *status == 200).count(), 4);
    // 100 texts of the modest key take five batches, or ten with half of the compute. The greedy key's 800 take forty.
    assert!(
        last_batch_of(&local, MODEST) <= 13,
        "{}",
        last_batch_of(&local, MODEST)
    );
    assert!(last_batch_of(&local, GREEDY) >= 40);
}

#[test]
fn a_share_is_as_large_as_the_key_file_says() {
    const LARGE: u32 = 7;
    const SMALL: u32 = 8;
    let local = serve_keys("large:sk-1 share=3\nsmall:sk-2\n", 2048);
    local.control.hold();
    let mut clients = local.clients(2);
    for (client, (owner, key)) in clients.iter_mut().zip([(LARGE, "sk-1"), (SMALL, "sk-2")]) {
        client.send(keyed(&embedding(&texts(owner, 0, 600, 10)), key));
    }
    eventually(|| (local.state.models[0].engine.queue().len() >= 1180).then_some(()));
    local.control.release();
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.response().status, 200));
    // While both keys wait, three of four texts belong to the first.
    let early: Vec<u32> = local.control.batches()[1..30]
        .iter()
        .flatten()
        .map(|ids| ids[0])
        .collect();
    let large = early.iter().filter(|owner| **owner == LARGE).count() as f64;
    let part = large / early.len() as f64;
    assert!((0.7..0.8).contains(&part), "{part}");
}

#[test]
fn tokens_per_minute_are_counted_and_reported() {
    let local = serve_keys("a:sk-1 tokens-per-minute=600\nb:sk-2\n", 1024);
    let mut client = local.connect();
    let response = client.embed_with("sk-1", &texts(1, 0, 25, 20));
    assert_eq!(response.status, 200);
    let header = |response: &Response, name: &str| -> f64 {
        let name = format!("x-ratelimit-{name}-tokens");
        response
            .header(&name)
            .unwrap()
            .trim_end_matches('s')
            .parse()
            .unwrap()
    };
    assert_eq!(header(&response, "limit"), 600.0);
    let left = header(&response, "remaining");
    assert!((100.0..110.0).contains(&left), "{left}");
    assert!((48.0..51.0).contains(&header(&response, "reset")));
    let response = client.embed_with("sk-1", &texts(1, 100, 25, 20));
    assert_eq!(response.outcome(), (429, "rate_limit_exceeded".to_owned()));
    let wait: u32 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((35..=40).contains(&wait), "{wait}");
    assert!(header(&response, "remaining") >= left);
    // A key without a limit is not limited, and rejected texts were not computed.
    assert_eq!(client.embed_with("sk-2", &texts(2, 0, 25, 20)).status, 200);
    assert_eq!(local.control.texts(), 50);
}

#[test]
fn a_request_rejected_because_of_load_costs_a_key_no_tokens() {
    let setup = setup(4, "a:sk-1 tokens-per-minute=100000\nb:sk-2\n");
    // 2,000 tokens per second.
    let local = serve_at_rate(setup, 1000, Duration::from_millis(500));
    let mut busy = local.connect();
    assert_eq!(busy.embed_with("sk-2", &texts(0, 0, 50, 20)).status, 200);
    busy.send(keyed(&embedding(&texts(0, 100, 100, 20)), "sk-2"));
    wait_until_queued(&local, 1);
    let mut client = local.connect();
    // These texts have more tokens than their bytes suggest, so they are rejected after the key was charged.
    let digits = json!(vec!["1 2 3 4 5 6 7 8 9 ".repeat(11); 40]);
    let response = client.embed_with("sk-1", &digits);
    assert_eq!(response.outcome(), (429, "overloaded".to_owned()));
    let response = client.embed_with("sk-1", &json!([[5]]));
    assert_eq!(response.status, 200);
    let left: u32 = response
        .header("x-ratelimit-remaining-tokens")
        .unwrap()
        .parse()
        .unwrap();
    assert!(left > 99_900, "{left}");
    assert_eq!(busy.response().status, 200);
}

#[test]
fn cached_vectors_are_shared_only_within_a_salt_and_a_key_with_its_own_cache() {
    let setup = Setup {
        cache: Some(1 << 20),
        ..setup(60, "a:sk-1\nb:sk-2\nc:sk-3 cache=own\n")
    };
    let local = setup.serve();
    let mut client = local.connect();
    let mut ask = |key: &str, salt: Option<&str>| {
        let body = json!({"model": "fake", "input": [[5]], "cache_salt": salt}).to_string();
        client.send(keyed(&posted("/v1/embeddings", &body), key));
        assert_eq!(client.response().vectors(), [vector(&with_end_token(&[5]))]);
        local.control.texts()
    };
    assert_eq!(ask("sk-1", None), 1);
    assert_eq!(ask("sk-2", None), 1);
    assert_eq!(ask("sk-2", Some("x")), 2);
    assert_eq!(ask("sk-1", Some("x")), 2);
    assert_eq!(ask("sk-1", Some("y")), 3);
    assert_eq!(ask("sk-3", None), 4);
    assert_eq!(ask("sk-3", None), 4);
    assert_eq!(ask("sk-3", Some("x")), 5);
    assert_eq!(ask("sk-1", None), 5);
}

#[test]
fn logs_and_metrics_have_the_names_of_keys_but_not_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    fs_err::write(&file, "search:sk-secret-1\nsk-secret-2\n").unwrap();
    let program = Program::spawn(&mut serve(&[
        "--api-key-file",
        file.to_str().unwrap(),
        "--log-format",
        "json",
    ]));
    let mut client = program.connect();
    for (key, status) in [("sk-secret-1", 200), ("sk-secret-2", 200), ("sk-3", 401)] {
        assert_eq!(client.embed_with(key, &json!("heart")).status, status);
    }
    let text = String::from_utf8(program.connect().get("/metrics").body).unwrap();
    assert!(
        text.contains("lexivec_key_requests_total{key=\"search\",status=\"200\"} 1"),
        "{text}"
    );
    assert!(text.contains("lexivec_key_texts_total{key=\"search\"} 1"));
    drop(client);
    program.signal("-TERM");
    let (_, log) = program.wait();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("/v1/embeddings"))
        .collect();
    let named = lines.iter().filter(|line| line.contains("\"search\""));
    assert_eq!((lines.len(), named.count()), (3, 1), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
