//! Shutdown: orderly, immediate, and when something hangs.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, TIMEOUT, embedding};
use super::fake::vector;
use super::local::{Setup, with_end_token};
use super::metrics::{eventually, metric};
use super::program::{Program, serve};
use crate::program::signal;

/// How many servers are ended while they load.
const ENDS: u32 = 24;

/// The status of `/readyz` on a new connection; `None` if the server accepts none.
fn ready(program: &Program) -> Option<u16> {
    let mut client = Client::try_connect(program.address).ok()?;
    client.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    Some(client.try_response().ok()??.status)
}

#[test]
fn a_signal_under_load_loses_no_accepted_request() {
    let program = Program::start(&["--shutdown-delay", "2", "--log", "warn"]);
    let expected = program.connect().embed(&json!("heart")).vectors();
    let (answered, left) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = program.connect();
                let begun = Instant::now();
                while begun.elapsed() < 2 * TIMEOUT {
                    if std::io::Write::write_all(
                        &mut client.stream,
                        embedding(&json!("heart")).as_bytes(),
                    )
                    .is_err()
                    {
                        break;
                    }
                    // Either a complete response, or, once the server closes its connections, not one byte: the request was not accepted.
                    match client.try_response() {
                        Ok(Some(response)) => assert_eq!(response.vectors(), expected),
                        Ok(None) => break,
                        Err(error) => panic!("an response broke off: {error}"),
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                assert!(
                    left.load(Ordering::Relaxed),
                    "a connection was closed before the signal"
                );
            });
        }
        eventually(|| (answered.load(Ordering::Relaxed) > 50).then_some(()));
        assert_eq!(ready(&program), Some(200));
        left.store(true, Ordering::Relaxed);
        program.signal("-TERM");
        // The server is not ready now, but serves until load balancers have noticed.
        eventually(|| (ready(&program) == Some(503)).then_some(()));
        let then = answered.load(Ordering::Relaxed);
        eventually(|| (answered.load(Ordering::Relaxed) > then + 8).then_some(()));
        eventually(|| ready(&program).is_none().then_some(()));
    });
    let (status, log) = program.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn shutdown_finishes_accepted_requests_and_accepts_no_more() {
    let setup = Setup {
        models: &["finishing"],
        ..Setup::default()
    };
    let mut local = setup.serve();
    local.control.hold();
    let mut clients = local.clients(16);
    for (id, client) in clients.iter_mut().enumerate() {
        client.send(super::client::embedding_by("finishing", &json!([[id]])));
    }
    local.control.wait_for_batches(1);
    let computing = local.control.texts() as f64;
    eventually(|| {
        let waiting = metric(&local, "lexivec_queue_texts{model=\"finishing\"}");
        (waiting + computing == 16.0).then_some(())
    });
    let mut idle = local.connect();
    assert_eq!(idle.get("/health").status, 200);
    local.stop();
    // Idle connections are closed.
    assert!(idle.is_closed());
    eventually(|| Client::try_connect(local.address).is_err().then_some(()));
    local.control.release();
    for (id, client) in clients.iter_mut().enumerate() {
        assert_eq!(
            client.response().vectors(),
            [vector(&with_end_token(&[id as u32]))]
        );
        assert!(client.is_closed());
    }
    local.wait();
}

/// Sends a request that takes minutes, in batches that take less than a second each, and waits until it is in flight.
fn keep_busy(program: &Program) -> Client {
    let text = "heart ".repeat(500);
    let texts: Vec<String> = (0..2000).map(|id| format!("{id} {text}")).collect();
    let mut client = program.connect();
    client.send(embedding(&json!(texts)));
    let mut second = program.connect();
    eventually(|| {
        let metrics = String::from_utf8(second.get("/metrics").body).unwrap();
        metrics
            .contains("lexivec_batch_texts_count{model=\"fake\"} 2")
            .then_some(())
    });
    client
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let program = Program::start(&["--shutdown-delay", "300", "--max-batch-tokens", "2048"]);
    let _client = keep_busy(&program);
    program.signal("-TERM");
    eventually(|| (ready(&program) == Some(503)).then_some(()));
    let begun = Instant::now();
    program.signal("-TERM");
    let (status, _) = program.wait();
    assert_eq!(status.code(), Some(143));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_signal_while_loading_always_ends_with_the_same_status_and_no_error() {
    // With several sessions, some have threads while others load.
    let arguments = ["--sessions", "4"];
    let begun = Instant::now();
    drop(Program::start(&arguments));
    let mut loading = begun.elapsed();
    let mut ended_while_loading = 0;
    for step in 0..ENDS {
        let delay = loading * step / ENDS;
        let mut process = serve(&arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(delay);
        signal(&process, "-TERM");
        let mut log = String::new();
        let mut stderr = process.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        let ended = process.wait().unwrap();
        if log.contains("serving") {
            // Loading takes less time than the first start did, so later signals come earlier.
            loading = delay;
            continue;
        }
        ended_while_loading += 1;
        // Before the program handles the signal, the signal kills it. A shell reports both as 143.
        let status = ended.code().or(ended.signal().map(|signal| 128 + signal));
        assert_eq!(status, Some(143), "step {step}: {ended}\n{log}");
        assert!(!log.contains("error"), "step {step}:\n{log}");
    }
    assert!(ended_while_loading > ENDS / 2, "{ended_while_loading}");
}

#[test]
fn a_request_beyond_the_shutdown_timeout_is_dropped() {
    let program = Program::start(&["--shutdown-timeout", "1", "--max-batch-tokens", "2048"]);
    let mut client = keep_busy(&program);
    program.signal("-TERM");
    let begun = Instant::now();
    let (status, log) = program.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(
        client
            .try_response()
            .is_ok_and(|response| response.is_none())
    );
}

#[test]
fn an_idle_server_ends_at_once() {
    let program = Program::start(&[]);
    let mut idle = program.connect();
    assert_eq!(idle.get("/health").status, 200);
    program.signal("-INT");
    let begun = Instant::now();
    let (status, _) = program.wait();
    assert_eq!(status.code(), Some(0));
    // Far less than the 30 seconds that requests would have.
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_batch_that_never_ends_does_not_block_shutdown() {
    let mut setup = Setup::default();
    setup.http.shutdown_timeout = Duration::from_secs(1);
    let mut local = setup.serve();
    local.control.hold();
    let mut client = local.connect();
    client.send(embedding(&json!([[1]])));
    local.control.wait_for_batches(1);
    local.stop();
    local.wait();
    assert!(client.is_closed());
    // The program gives up on the batch after a while.
    assert!(!local.state.close(Duration::from_millis(100)));
    local.control.release();
    assert!(local.state.close(TIMEOUT));
}
