//! Many connections, and those that do nothing or hardly anything.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, PATIENCE};
use super::local::Setup;
use super::program::{Program, serve};

/// What the test wants, and what a machine with a low hard limit must at least allow.
const MANY: u64 = 10_000;
const AT_LEAST: u64 = 4_000;

#[test]
fn ten_thousand_idle_connections_are_held_while_requests_get_through() {
    let files = rlimit::increase_nofile_limit(MANY + 500).unwrap();
    let many = MANY.min(files.saturating_sub(500));
    assert!(
        many >= AT_LEAST,
        "the hard limit of open files, {files}, is too low for this test"
    );
    // The soft limit that shells give is not enough: the program raises it itself.
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
    assert!(started.elapsed() < PATIENCE);
    // Every one of them is still there.
    for client in &mut idle {
        client.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    assert!(idle.iter_mut().all(|client| client.answer().status == 200));
}

#[test]
fn connections_beyond_the_most_wait_to_be_accepted() {
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
    assert!(!late.is_answered(), "a fifth connection was served");
    held.clear();
    assert_eq!(late.answer().status, 200);
}

#[test]
fn a_head_that_trickles_in_is_cut_off_and_others_are_served() {
    let mut setup = Setup::default();
    setup.http.header_timeout = Duration::from_secs(1);
    let local = setup.serve();
    let mut slow = local.clients(20);
    let mut letters = "GET /health HTTP/1.1\r\nX-Slow: "
        .bytes()
        .chain(std::iter::repeat(b'a'));
    let begun = Instant::now();
    // One byte at a time for twice as long as a head may take.
    while begun.elapsed() < Duration::from_secs(2) {
        let letter = [letters.next().unwrap()];
        // The server may have closed it.
        slow.iter_mut()
            .for_each(|client| drop(std::io::Write::write(&mut client.stream, &letter)));
        assert_eq!(local.connect().get("/health").status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    for client in &mut slow {
        // By actix-http, before there is a request: nothing could give it a body.
        if let Ok(Some(answer)) = client.try_answer() {
            assert!(answer.status == 408 && answer.body.is_empty());
        }
        assert!(client.try_answer().is_ok_and(|more| more.is_none()));
    }
}

#[test]
fn a_connection_without_requests_is_closed_after_a_while() {
    let mut setup = Setup::default();
    setup.http.keep_alive = Duration::from_secs(1);
    let local = setup.serve();
    let mut client = local.connect();
    assert_eq!(client.get("/health").status, 200);
    assert!(client.is_closed());
}

#[test]
fn the_head_of_a_later_request_has_a_deadline_too() {
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
fn the_rest_of_a_refused_body_is_not_waited_for() {
    let mut setup = Setup::default();
    setup.http.header_timeout = Duration::from_secs(1);
    let local = setup.serve();
    let mut client = local.connect();
    client.send("POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(client.answer().status, 404);
    let begun = Instant::now();
    let closed = loop {
        if std::io::Write::write_all(&mut client.stream, b"x").is_err() {
            break true;
        }
        if begun.elapsed() > Duration::from_secs(5) {
            break client.is_answered();
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(closed, "the connection is still open");
}

#[test]
fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let mut setup = Setup::default();
    setup.http.write_timeout = Duration::from_secs(1);
    let local = setup.serve();
    let mut client = local.connect();
    // As many answers as the sockets' buffers cannot hold.
    let request = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for _ in 0..4_000 {
        if std::io::Write::write_all(&mut client.stream, request.as_bytes()).is_err() {
            break;
        }
    }
    std::thread::sleep(Duration::from_secs(3));
    let mut answers = 0;
    while let Ok(Some(_)) = client.try_answer() {
        answers += 1;
    }
    assert!(answers < 4_000, "all {answers} answers were kept");
    assert_eq!(local.connect().get("/health").status, 200);
}

#[test]
fn an_address_has_a_part_of_the_connections() {
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
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[test]
fn quick_requests_go_on_for_longer_than_a_head_may_take() {
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
