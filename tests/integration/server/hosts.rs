//! The host names that a server accepts, which protects it from DNS rebinding.

use serde_json::json;

use super::client::{Response, embedding};
use super::program::{Program, serve};

/// Sends a request with these lines in place of its `Host` header.
fn send(program: &Program, request: &str, hosts: &str) -> Response {
    let mut client = program.connect();
    client.send(request.replace("Host: localhost\r\n", hosts));
    client.response()
}

fn get(program: &Program, target: &str, host: &str) -> Response {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    send(program, &request, &format!("Host: {host}\r\n"))
}

fn rejected() -> (u16, String) {
    (403, "host_not_allowed".to_owned())
}

#[test]
fn an_open_local_server_accepts_only_addresses_and_localhost() {
    let program = Program::start(&[]);
    for path in [
        "/",
        "/health",
        "/metrics",
        "/v1/models",
        "/docs/",
        "/nowhere",
    ] {
        let response = get(&program, path, "evil.example:30000");
        assert_eq!(response.outcome(), rejected(), "{path}");
        assert!(response.header("x-request-id").is_some());
        let message = response.json()["error"]["message"].to_string();
        assert!(
            message.contains("`evil.example:30000`") && message.contains("--allowed-host"),
            "{message}"
        );
    }
    // Load balancers send probes with any `Host` header.
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(&program, path, "evil.example:30000").status, 200);
    }
    for host in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:30000",
        "[::1]:80",
        "192.0.2.7",
    ] {
        assert_eq!(get(&program, "/health", host).status, 200, "{host}");
    }

    let request = embedding(&json!("heart"));
    assert_eq!(
        send(&program, &request, "Host: 127.0.0.1\r\n")
            .vectors()
            .len(),
        1
    );
    for hosts in [
        "Host: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: localhost:1@evil.example\r\n",
        "Host: \r\n",
    ] {
        let response = send(&program, &request, hosts);
        assert_eq!(response.status, 403, "{hosts:?}");
        assert_eq!(response.outcome(), rejected(), "{hosts:?}");
    }
    // actix-http itself rejects heads without a `Host` header or with two.
    for hosts in ["", "Host: localhost\r\nHost: evil.example\r\n"] {
        assert_eq!(send(&program, &request, hosts).status, 400, "{hosts:?}");
    }
    // A host in the request line is checked, too.
    assert_eq!(
        get(&program, "http://evil.example/health", "localhost").outcome(),
        rejected()
    );
    assert_eq!(
        get(&program, "http://localhost/health", "localhost").status,
        200
    );
}

#[test]
fn cors_gives_a_rebound_host_no_permission() {
    let program = Program::start(&["--cors-allow-origin", "*"]);
    let request = "OPTIONS /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\
                   Access-Control-Request-Method: POST\r\n\r\n";
    let response = send(&program, request, "Host: evil.example\r\n");
    assert_eq!(response.outcome(), rejected());
    assert_eq!(response.header("access-control-allow-origin"), None);
}

#[test]
fn hosts_are_added_by_flag_and_variable() {
    let flags = Program::start(&[
        "--allowed-host",
        "one.example",
        "--allowed-host",
        "two.example",
    ]);
    let variable = Program::spawn(
        serve(&["--host", "0.0.0.0"]).env("LEXIVEC_ALLOWED_HOSTS", "one.example,two.example"),
    );
    for program in [&flags, &variable] {
        for host in ["one.example", "Two.Example:8080", "localhost", "127.0.0.1"] {
            assert_eq!(get(program, "/health", host).status, 200, "{host}");
        }
        assert_eq!(
            get(program, "/health", "three.example").outcome(),
            rejected()
        );
    }
    let output = serve(&["--allowed-host", "http://one.example"])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("--allowed-host: `http://one.example`"),
        "{message}"
    );
}

#[test]
fn servers_with_keys_or_for_other_machines_accept_every_host() {
    for arguments in [["--api-key", "sk-one"], ["--host", "0.0.0.0"]] {
        let program = Program::start(&arguments);
        for host in ["evil.example", ""] {
            assert_eq!(get(&program, "/health", host).status, 200, "{arguments:?}");
        }
    }
}
