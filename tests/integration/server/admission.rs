//! Who is let in, whose turn it is, and what clients are told of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lexivec_server::http::ApiKeys;
use serde_json::{Value, json};

use super::client::{Answer, Client, embedding, posted};
use super::fake::{Fate, vector};
use super::local::{Local, Setup, whole};
use super::program::{Program, serve};

/// `request` with a key.
fn keyed(request: &str, key: &str) -> String {
    request.replacen(
        "\r\n\r\n",
        &format!("\r\nAuthorization: Bearer {key}\r\n\r\n"),
        1,
    )
}

fn embed(client: &mut Client, key: &str, input: &Value) -> Answer {
    client.send(keyed(&embedding(input), key));
    client.answer()
}

/// So many texts of `length` tokens, all different; the first token says whose they are.
fn texts(owner: u32, first: u32, count: u32, length: usize) -> Value {
    let text = |id| [vec![owner; length - 2], vec![id]].concat();
    json!((first..first + count).map(text).collect::<Vec<_>>())
}

#[test]
fn under_twice_the_load_what_is_accepted_is_answered_in_time() {
    const CLIENTS: u32 = 96;
    let mut setup = Setup {
        request_timeout: Duration::from_secs(2),
        ..Setup::default()
    };
    // 10,000 tokens per second; each client wants 200, so that the 96 of them want twice what fits into a second.
    setup.engine.limits.max_tokens = 1000;
    let local = setup.serve();
    local
        .control
        .always(|| Fate::Slow(Duration::from_millis(100)));
    // Shows the rate.
    let mut first = local.connect();
    assert_eq!(first.embed(&texts(0, 0, 50, 20)).status, 200);
    let before = local.control.texts();
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for owner in 1..=CLIENTS {
            let (local, answered, refused, done) = (&local, &answered, &refused, &done);
            scope.spawn(move || {
                let mut client = local.connect();
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let answer = client.embed(&texts(owner, round * 10, 10, 20));
                    match answer.outcome() {
                        (200, _) => answered.fetch_add(10, Ordering::Relaxed),
                        (429, code) => {
                            assert_eq!(code, "overloaded");
                            let seconds = answer.header("retry-after").unwrap();
                            assert!(seconds.parse::<u32>().unwrap() >= 1);
                            assert!(answer.header("x-ratelimit-limit-tokens").is_some());
                            std::thread::sleep(Duration::from_millis(20));
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        // A 503 would be a request that was accepted and not answered in time.
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
    assert!(refused.into_inner() > 0);
    assert!(
        answered * 100 >= computed * 95,
        "{answered} of {computed} computed texts were answered"
    );
}

fn with_keys(lines: &str, queue: usize) -> Local {
    let mut keys = ApiKeys::default();
    keys.add_lines(lines).unwrap();
    let mut setup = Setup {
        keys,
        ..Setup::default()
    };
    setup.engine.queue = queue;
    setup.engine.limits.max_tokens = 200;
    setup.serve()
}

/// The last batch with a text of `owner`.
fn last_batch_of(local: &Local, owner: u32) -> usize {
    let batches = local.control.batches();
    let place = batches
        .iter()
        .rposition(|batch| batch.iter().any(|ids| ids[0] == owner));
    place.unwrap()
}

#[test]
fn a_key_with_many_connections_leaves_another_its_share() {
    const GREEDY: u32 = 7;
    const MODEST: u32 = 8;
    let local = with_keys("greedy:sk-1\nmodest:sk-2\n", 1024);
    local.control.hold();
    let mut greedy = local.clients(8);
    for (i, client) in greedy.iter_mut().enumerate() {
        client.send(keyed(
            &embedding(&texts(GREEDY, i as u32 * 200, 200, 10)),
            "sk-1",
        ));
    }
    // All that it may have is in: seven eighths of the room.
    super::metrics::eventually(|| {
        let refused = greedy.iter_mut().filter(|client| client.is_answered());
        (refused.count() == 4).then_some(())
    });
    let mut modest = local.connect();
    modest.send(keyed(&embedding(&texts(MODEST, 0, 100, 10)), "sk-2"));
    super::metrics::eventually(|| {
        (local.state.models[0].engine.queue().len() >= 880).then_some(())
    });
    local.control.release();
    assert_eq!(modest.answer().status, 200);
    let accepted = greedy.iter_mut().map(|client| client.answer().status);
    assert_eq!(accepted.filter(|status| *status == 200).count(), 4);
    // 100 texts of the modest one take five batches, ten at half of the sessions; the greedy one's 800 take forty.
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
    let local = with_keys("large:sk-1 share=3\nsmall:sk-2\n", 2048);
    local.control.hold();
    let mut clients = local.clients(2);
    for (client, (owner, key)) in clients.iter_mut().zip([(LARGE, "sk-1"), (SMALL, "sk-2")]) {
        client.send(keyed(&embedding(&texts(owner, 0, 600, 10)), key));
    }
    super::metrics::eventually(|| {
        (local.state.models[0].engine.queue().len() >= 1180).then_some(())
    });
    local.control.release();
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.answer().status, 200));
    // While both wait, three of four texts are the first one's.
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
fn tokens_per_minute_are_counted_and_told() {
    let local = with_keys("a:sk-1 tokens-per-minute=600\nb:sk-2\n", 1024);
    let mut client = local.connect();
    let answer = embed(&mut client, "sk-1", &texts(1, 0, 25, 20));
    assert_eq!(answer.status, 200);
    let header = |answer: &Answer, name: &str| -> f64 {
        let name = format!("x-ratelimit-{name}-tokens");
        answer
            .header(&name)
            .unwrap()
            .trim_end_matches('s')
            .parse()
            .unwrap()
    };
    assert_eq!(header(&answer, "limit"), 600.0);
    let left = header(&answer, "remaining");
    assert!((100.0..110.0).contains(&left), "{left}");
    assert!((48.0..51.0).contains(&header(&answer, "reset")));
    let answer = embed(&mut client, "sk-1", &texts(1, 100, 25, 20));
    assert_eq!(answer.outcome(), (429, "rate_limit_exceeded".to_owned()));
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((35..=40).contains(&wait), "{wait}");
    assert!(header(&answer, "remaining") >= left);
    // A key without a limit is not held back, and what was refused was not computed.
    assert_eq!(embed(&mut client, "sk-2", &texts(2, 0, 25, 20)).status, 200);
    assert_eq!(local.control.texts(), 50);
}

#[test]
fn a_request_that_is_refused_for_load_costs_a_key_nothing() {
    let mut setup = Setup {
        request_timeout: Duration::from_secs(4),
        ..Setup::default()
    };
    setup
        .keys
        .add_lines("a:sk-1 tokens-per-minute=100000\nb:sk-2\n")
        .unwrap();
    setup.engine.limits.max_tokens = 1000;
    let local = setup.serve();
    local
        .control
        .always(|| Fate::Slow(Duration::from_millis(500)));
    // Shows the rate: 2,000 tokens per second.
    let mut busy = local.connect();
    assert_eq!(embed(&mut busy, "sk-2", &texts(0, 0, 50, 20)).status, 200);
    busy.send(keyed(&embedding(&texts(0, 100, 100, 20)), "sk-2"));
    super::metrics::eventually(|| (local.state.models[0].engine.queue().cost() > 0).then_some(()));
    let mut client = local.connect();
    // Text takes more tokens than its bytes tell, so that it is refused after it was charged for.
    let answer = embed(
        &mut client,
        "sk-1",
        &json!(vec!["1 2 3 4 5 6 7 8 9 ".repeat(11); 40]),
    );
    assert_eq!(answer.outcome(), (429, "overloaded".to_owned()));
    let answer = embed(&mut client, "sk-1", &json!([[5]]));
    assert_eq!(answer.status, 200);
    let left: u32 = answer
        .header("x-ratelimit-remaining-tokens")
        .unwrap()
        .parse()
        .unwrap();
    assert!(left > 99_900, "{left}");
    assert_eq!(busy.answer().status, 200);
}

#[test]
fn a_text_that_is_cut_counts_as_what_is_left_of_it() {
    let mut setup = Setup {
        request_timeout: Duration::from_secs(400),
        ..Setup::default()
    };
    setup.engine.limits.max_tokens = 1000;
    let local = setup.serve();
    local
        .control
        .always(|| Fate::Slow(Duration::from_millis(200)));
    // Shows the rate: 5,000 tokens per second, 1,000,000 in half of the time. Until it is known what a long text costs, one
    // of 32,768 tokens counts as 860,000.
    let mut busy = local.connect();
    assert_eq!(busy.embed(&texts(0, 0, 50, 20)).status, 200);
    busy.send(embedding(&texts(0, 100, 100, 20)));
    super::metrics::eventually(|| (local.state.models[0].engine.queue().cost() > 0).then_some(()));
    // 32,768 tokens at most, and bytes for ten times as many.
    let body = json!({"model": "fake", "input": "heart ".repeat(600_000), "truncate": "end"});
    let mut client = local.connect();
    assert_eq!(client.post("/v1/embeddings", &body).status, 200);
    assert_eq!(busy.answer().status, 200);
}

#[test]
fn what_is_cached_is_answered_under_any_load() {
    let mut setup = Setup {
        request_timeout: Duration::from_secs(2),
        cache: Some(1 << 20),
        ..Setup::default()
    };
    setup.engine.limits.max_tokens = 1000;
    let local = setup.serve();
    let mut client = local.connect();
    let known: Vec<String> = (0..64).map(|i| format!("heart {i} ").repeat(4)).collect();
    let known = [json!("heart"), json!(known)];
    local
        .control
        .always(|| Fate::Slow(Duration::from_millis(400)));
    for known in &known {
        assert_eq!(client.embed(known).status, 200);
    }
    assert_eq!(client.embed(&texts(0, 0, 50, 20)).status, 200);
    let mut busy = local.clients(6);
    for (i, busy) in busy.iter_mut().enumerate() {
        busy.send(embedding(&texts(0, 100 * (i as u32 + 1), 50, 20)));
    }
    let queue = || local.state.models[0].engine.queue().cost();
    super::metrics::eventually(|| (queue() >= 1000).then_some(()));
    let mut refused = local.connect();
    assert_eq!(refused.embed(&texts(1, 0, 80, 20)).status, 429);
    for known in &known {
        assert_eq!(client.embed(known).status, 200);
    }
    for mut busy in busy {
        assert!([200, 429].contains(&busy.answer().status));
    }
}

#[test]
fn results_are_shared_within_a_salt_and_a_key_that_asks_for_its_own() {
    let mut keys = ApiKeys::default();
    keys.add_lines("a:sk-1\nb:sk-2\nc:sk-3 cache=own\n")
        .unwrap();
    let setup = Setup {
        keys,
        cache: Some(1 << 20),
        ..Setup::default()
    };
    let local = setup.serve();
    let mut client = local.connect();
    let mut ask = |key: &str, salt: Option<&str>| {
        let body = json!({"model": "fake", "input": [[5]], "cache_salt": salt}).to_string();
        client.send(keyed(&posted("/v1/embeddings", &body), key));
        assert_eq!(client.answer().vectors(), [vector(&whole(&[5]))]);
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
fn names_of_keys_are_in_logs_and_metrics_and_keys_are_not() {
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
        assert_eq!(embed(&mut client, key, &json!("heart")).status, status);
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

#[test]
fn texts_that_never_fit_into_the_time_are_refused_at_once_and_for_good() {
    let mut setup = Setup {
        request_timeout: Duration::from_secs(2),
        ..Setup::default()
    };
    setup.engine.limits.max_tokens = 1000;
    let local = setup.serve();
    local
        .control
        .always(|| Fate::Slow(Duration::from_millis(500)));
    let mut client = local.connect();
    // Shows the rate: 2,000 tokens per second.
    assert_eq!(client.embed(&texts(0, 0, 50, 20)).status, 200);
    let computed = local.control.texts();
    let answer = client.embed(&texts(0, 100, 400, 20));
    assert_eq!(answer.outcome(), (413, "request_too_large".to_owned()));
    assert_eq!(answer.header("retry-after"), None);
    let message = String::from_utf8(answer.body).unwrap();
    assert!(message.contains("fewer texts"), "{message}");
    assert_eq!(local.control.texts(), computed);
    assert_eq!(client.embed(&texts(0, 600, 50, 20)).status, 200);
}

#[test]
fn callers_that_come_later_make_no_accepted_request_late() {
    const CALLERS: usize = 20;
    let mut keys = ApiKeys::default();
    let line = |i| format!("name{i}:sk-{i}\n");
    keys.add_lines(&(0..=CALLERS).map(line).collect::<String>())
        .unwrap();
    let mut setup = Setup {
        request_timeout: Duration::from_secs(4),
        keys,
        ..Setup::default()
    };
    setup.engine.limits.max_tokens = 500;
    let local = setup.serve();
    local
        .control
        .always(|| Fate::Slow(Duration::from_millis(100)));
    let mut first = local.connect();
    // Shows the rate: 5,000 tokens per second.
    assert_eq!(embed(&mut first, "sk-0", &texts(0, 0, 25, 20)).status, 200);
    // 1.9 of the two seconds that it may take.
    first.send(keyed(&embedding(&texts(0, 1000, 475, 20)), "sk-0"));
    let queue = || local.state.models[0].engine.queue().cost();
    super::metrics::eventually(|| (queue() > 5000).then_some(()));
    std::thread::scope(|scope| {
        for caller in 1..=CALLERS {
            let local = &local;
            scope.spawn(move || {
                let mut client = local.connect();
                let key = format!("sk-{caller}");
                for round in 0..8 {
                    let texts = texts(caller as u32, round * 100, 50, 20);
                    let answer = embed(&mut client, &key, &texts);
                    assert!(
                        [200, 429].contains(&answer.status),
                        "{:?}",
                        answer.outcome()
                    );
                    if answer.status == 429 {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            });
        }
        assert_eq!(first.answer().status, 200);
    });
}
