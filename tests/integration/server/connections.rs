//! Many connections, and connections that are idle or slow.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, TIMEOUT};
use super::local::Setup;
use super::program::{Program, serve};

/// The connections that the test wants, and the fewest that a machine with a low hard limit must allow.
const MANY: u64 = 10_000;
const AT_LEAST: u64 = 4_000;

#[test]
fn requests_are_served_beside_ten_thousand_idle_connections() {
    let files = rlimit::increase_nofile_limit(MANY + 500).unwrap();
    let many = MANY.min(files.saturating_sub(500));
    assert!(
        many >= AT_LEAST,
        "the hard limit of open files, {files}, is too low for this test"
    );
    // The usual soft limit of shells is too low: the program must raise it itself.
    let direct = serve(&["--header-timeout", "300", "--log", "warn"]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 256; exec \"$0\" \"$@\""]);
    command.arg(direct.get_program()).args(direct.get_args());
    let program = Program::spawn(&mut command);

    let mut idle: Vec<Client> = Vec::new();
    for _ in 0..many {
        idle.push(program.connect());
    }
    let started = Instant::now();
    for client in idle.iter_mut().step_by(100) {
        assert_eq!(client.get("/health").status, 200);
    }
    assert_eq!(program.connect().embed(&json!("heart")).vectors().len(), 1);
    assert!(started.elapsed() < TIMEOUT);
    // All idle connections are still open.
    for client in &mut idle {
        client.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    assert!(
        idle.iter_mut()
            .all(|client| client.response().status == 200)
    );
}

#[test]
fn connections_beyond_the_limit_wait_to_be_accepted() {
    let mut setup = Setup::default();
    setup.http.max_connections = 4;
    let local = setup.serve();
    let mut held = local.clients(4);
    for client in &mut held {
        assert_eq!(client.get("/health").status, 200);
    }
    let mut late = local.connect();
    late.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    std::thread::sleep(Duration::from_millis(500));
    assert!(!late.has_response(), "a fifth connection was served");
    held.clear();
    assert_eq!(late.response().status, 200);
}

#[test]
fn a_slow_head_ends_its_connection_and_others_are_served() {
    let mut setup = Setup::default();
    setup.http.header_timeout = Duration::from_secs(1);
    let local = setup.serve();
    let mut slow = local.clients(20);
    let mut letters = "GET /health HTTP/1.1\r\nX-Slow: "
        .bytes()
        .chain(std::iter::repeat(b'a'));
    let begun = Instant::now();
    // One byte at a time, for twice the time limit of a head.
    while begun.elapsed() < Duration::from_secs(2) {
        let letter = [letters.next().unwrap()];
        // The server may have closed it.
        slow.iter_mut()
            .for_each(|client| drop(std::io::Write::write(&mut client.stream, &letter)));
        assert_eq!(local.connect().get("/health").status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    for client in &mut slow {
        // actix-http responds before there is a request, so no code of ours could add a body.
        if let Ok(Some(response)) = client.try_response() {
            assert!(response.status == 408 && response.body.is_empty());
        }
        assert!(client.try_response().is_ok_and(|more| more.is_none()));
    }
}

#[test]
fn an_idle_connection_is_closed_after_the_keep_alive_time() {
    let mut setup = Setup::default();
    setup.http.keep_alive = Duration::from_secs(1);
    let local = setup.serve();
    let mut client = local.connect();
    assert_eq!(client.get("/health").status, 200);
    assert!(client.is_closed());
}

#[test]
fn the_head_of_a_later_request_has_a_deadline() {
    let mut setup = Setup::default();
    setup.http.header_timeout = Duration::from_secs(1);
    let local = setup.serve();
    let mut clients = local.clients(20);
    for client in &mut clients {
        assert_eq!(client.get("/health").status, 200);
    }
    let begun = Instant::now();
    for letter in "GET /health HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa".bytes() {
        // The server may have closed it.
        clients
            .iter_mut()
            .for_each(|client| drop(std::io::Write::write(&mut client.stream, &[letter])));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() > Duration::from_secs(2));
    assert!(
        clients
            .iter_mut()
            .all(|client| client.is_closed() || client.is_closed())
    );
}

#[test]
fn the_server_does_not_wait_for_the_rest_of_a_rejected_body() {
    let mut setup = Setup::default();
    setup.http.header_timeout = Duration::from_secs(1);
    let local = setup.serve();
    let mut client = local.connect();
    client.send("POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(client.response().status, 404);
    let begun = Instant::now();
    let closed = loop {
        if std::io::Write::write_all(&mut client.stream, b"x").is_err() {
            break true;
        }
        if begun.elapsed() > Duration::from_secs(5) {
            break client.has_response();
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(closed, "the connection is still open");
}

#[test]
fn a_client_that_does_not_read_its_responses_is_disconnected() {
    let mut setup = Setup::default();
    setup.http.write_timeout = Duration::from_secs(1);
    let local = setup.serve();
    let mut client = local.connect();
    // More responses than the sockets' buffers hold.
    let request = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for _ in 0..4_000 {
        if std::io::Write::write_all(&mut client.stream, request.as_bytes()).is_err() {
            break;
        }
    }
    std::thread::sleep(Duration::from_secs(3));
    let mut responses = 0;
    while let Ok(Some(_)) = client.try_response() {
        responses += 1;
    }
    assert!(responses < 4_000, "all {responses} responses were kept");
    assert_eq!(local.connect().get("/health").status, 200);
}

#[test]
fn connections_are_limited_per_address() {
    let mut setup = Setup::default();
    setup.http.max_connections_per_address = 3;
    let local = setup.serve();
    let mut held = local.clients(3);
    for client in &mut held {
        assert_eq!(client.get("/health").status, 200);
    }
    assert!(local.connect().is_closed());
    held.pop();
    let begun = Instant::now();
    while local.connect().try_get("/health").is_none() {
        assert!(begun.elapsed() < TIMEOUT);
    }
}

#[test]
fn quick_requests_may_continue_beyond_the_time_limit_of_a_head() {
    let mut setup = Setup::default();
    setup.http.header_timeout = Duration::from_secs(1);
    let local = setup.serve();
    let mut client = local.connect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(client.get("/livez").status, 200);
    }
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(client.get("/livez").status, 200);
}
