//! Requests that ask for much more work or memory than a request may have.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Answer, Client, embedding, posted};
use super::local::{Local, MAX_LENGTH, Setup};
use super::program::Program;

const MEGABYTE: usize = 1 << 20;

fn embed(client: &mut Client, body: &Value) -> Answer {
    client.post("/v1/embeddings", body)
}

fn error(answer: &Answer) -> String {
    answer.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn texts_that_cannot_fit_are_refused_without_memory_or_time() {
    let program = Program::start(&["--max-length", "512"]);
    let mut client = program.connect();
    assert_eq!(client.embed(&json!("heart")).status, 200);
    let before = program.memory();
    for text in [" ", "\u{3000}", "\t \n", "a", "heart ", "심장", "e\u{301}"] {
        let text = text.repeat(16 * MEGABYTE / text.len());
        let begun = Instant::now();
        let answer = embed(&mut client, &json!({"model": "fake", "input": text}));
        let took = begun.elapsed();
        assert_eq!(
            answer.outcome(),
            (400, "context_length_exceeded".to_owned()),
            "{}",
            error(&answer)
        );
        assert!(took < Duration::from_secs(8), "{:?}: {took:?}", &text[..6]);
    }
    let grown = program.peak_memory().saturating_sub(before);
    // Body, parsed text, and what JSON makes of it.
    assert!(grown < 256 * MEGABYTE, "memory grew by {grown} bytes");
}

#[test]
fn a_text_that_is_cut_is_the_beginning_of_what_it_was() {
    let local = Local::start();
    let text = "heart disease ".repeat(MAX_LENGTH);
    let cut = |text: &str| {
        let body = json!({"model": "fake", "input": text, "truncate": "end"});
        embed(&mut local.connect(), &body)
    };
    // Twice the length is tokenised whole, a hundred times the length is not.
    let (once, often) = (cut(&text), cut(&text.repeat(20)));
    assert_eq!(once.status, 200, "{}", String::from_utf8_lossy(&once.body));
    assert_eq!(once.vectors(), often.vectors());
    assert_eq!(often.json()["usage"]["total_tokens"], MAX_LENGTH);
}

#[test]
fn a_text_whose_start_is_cut_is_the_end_of_what_it_was() {
    let local = Local::start();
    for instruction in [None, Some("Find the disease:")] {
        let cut = |text: &str| {
            let body = json!({
                "model": "fake", "input": text, "truncate": "start", "instruction": instruction,
            });
            embed(&mut local.connect(), &body)
        };
        for end in [" ", ".", "heart", "zz"] {
            let text = " heart disease".repeat(MAX_LENGTH) + end;
            let often = " heart disease".repeat(20 * MAX_LENGTH) + end;
            let (once, often) = (cut(&text), cut(&often));
            assert_eq!(once.vectors(), often.vectors(), "{instruction:?} {end:?}");
            assert_eq!(often.json()["usage"]["total_tokens"], MAX_LENGTH);
        }
    }
}

#[test]
fn an_instruction_longer_than_the_model_takes_is_refused_once_not_for_each_text() {
    let program = Program::start(&[]);
    let body = json!({
        "model": "fake",
        "input": vec!["a"; 2048],
        "instruction": "x ".repeat(150_000),
        "truncate": "end",
    });
    let begun = Instant::now();
    let answer = embed(&mut program.connect(), &body);
    assert_eq!(answer.outcome(), (400, "invalid_value".to_owned()));
    assert_eq!(answer.json()["error"]["param"], "instruction");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn who_goes_leaves_no_tokenizing_behind() {
    let local = Local::start();
    // Instructions of 28,000 tokens for 2,048 texts: minutes of tokenizing.
    let body = json!({
        "model": "fake",
        "input": (0..2048).map(|n| format!("text {n}")).collect::<Vec<_>>(),
        "instruction": "heart ".repeat(28_000),
    });
    for _ in 0..4 {
        let mut client = local.connect();
        client.send(posted("/v1/embeddings", &body.to_string()));
        std::thread::sleep(Duration::from_millis(500));
    }
    let begun = Instant::now();
    assert_eq!(local.connect().get("/livez").status, 200);
    // The threads that tokenise are free again as soon as they have finished one text each.
    let longer = json!({"model": "fake", "input": "heart ".repeat(200)});
    assert_eq!(embed(&mut local.connect(), &longer).status, 200);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn tokenize_is_bounded() {
    let local = Local::start();
    let ask = |texts: Value| local.connect().post("/tokenize", &json!({"inputs": texts}));
    assert_eq!(ask(json!("heart")).status, 200);
    assert_eq!(ask(json!("heart ".repeat(MEGABYTE))).status, 400);
    assert_eq!(ask(json!([1, 2])).status, 400);
    assert_eq!(ask(json!(vec!["a"; 2049])).status, 400);
}

#[test]
fn requests_share_a_budget_of_bytes_and_small_ones_keep_room() {
    let mut setup = Setup::default();
    setup.http.request_memory = 64 * MEGABYTE;
    let local = setup.serve();
    let announced = format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        16 * MEGABYTE
    );
    let withheld = vec![b' '; 16 * MEGABYTE - 1];
    let mut holders: Vec<Client> = (0..6).map(|_| local.connect()).collect();
    for holder in &mut holders {
        holder.send(&announced);
        // The server closes the connection of a request that it refuses.
        let _ = std::io::Write::write_all(&mut holder.stream, &withheld);
    }
    let refused = holders.iter_mut().filter(|holder| holder.is_answered());
    let refused: Vec<Answer> = refused
        .filter_map(|h| h.try_answer().ok().flatten())
        .collect();
    assert!(!refused.is_empty());
    for answer in refused {
        assert_eq!(answer.outcome(), (429, "overloaded".to_owned()));
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(local.connect().embed(&json!("heart")).status, 200);
    drop(holders);
    let large = json!({"model": "fake", "input": "heart ".repeat(20_000)});
    let begun = Instant::now();
    while embed(&mut local.connect(), &large).status != 200 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the bytes are not given back"
        );
    }
}

#[test]
fn items_beyond_the_limit_are_not_kept() {
    let program = Program::start(&[]);
    let before = program.memory();
    let body = format!(
        "{{\"model\":\"fake\",\"input\":[{}[1]]}}",
        "[1],".repeat(8 * MEGABYTE / 4)
    );
    let mut client = program.connect();
    client.send(posted("/v1/embeddings", &body));
    let answer = client.answer();
    assert_eq!(answer.outcome(), (400, "invalid_value".to_owned()));
    let grown = program.peak_memory().saturating_sub(before);
    assert!(grown < 64 * MEGABYTE, "memory grew by {grown} bytes");
}

#[test]
fn a_batch_that_nobody_waits_for_is_ended() {
    let program = Program::start(&["--request-timeout", "600"]);
    let stopped = || {
        let text = String::from_utf8(program.connect().get("/metrics").body).unwrap();
        text.lines().any(|line| {
            line.starts_with("lexivec_batches_total")
                && line.contains("stopped")
                && !line.ends_with(" 0")
        })
    };
    // Seconds of work for nano; clients go while it runs.
    let long = json!("heart ".repeat(4000));
    for _ in 0..20 {
        let mut client = program.connect();
        client.send(embedding(&long));
        std::thread::sleep(Duration::from_millis(150));
        drop(client);
        if stopped() {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(stopped());
    // The session is as good as before.
    assert_eq!(
        program
            .connect()
            .embed(&json!("heart"))
            .vectors()
            .first()
            .map(Vec::len),
        Some(256)
    );
}
