//! TLS in the program itself.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use super::client::{Client, TIMEOUT};
use super::program::{Program, serve};

struct Files {
    trusted: CertificateDer<'static>,
    certificate: String,
    key: String,
}

/// A certificate for this machine and its key, in `dir`.
fn files(dir: &Path, name: &str) -> Files {
    let path = |ending: &str| {
        dir.join(format!("{name}.{ending}"))
            .to_str()
            .unwrap()
            .to_owned()
    };
    let (certificate, key) = (path("crt"), path("key"));
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
    let arguments = "req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=localhost";
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .args([
            "-addext",
            names,
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-out", &certificate, "-keyout", &key])
        .output()
        .unwrap_or_else(|e| {
            panic!("openssl makes the certificate, and does not start ({e}): install it")
        });
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Files {
        trusted: CertificateDer::from_pem_file(&certificate).unwrap(),
        certificate,
        key,
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A client that trusts only one certificate.
fn connect(address: SocketAddr, trusted: &CertificateDer<'static>) -> Client<Tls> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    Client::over(StreamOwned::new(connection, stream))
}

#[test]
fn requests_are_served_over_tls_and_plain_http_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path(), "server");
    let program = Program::start(&["--tls-cert", &files.certificate, "--tls-key", &files.key]);
    assert!(program.log().contains("https://"));
    let mut client = connect(program.address, &files.trusted);
    assert_eq!(client.get("/health").json(), json!({"status": "ok"}));
    assert_eq!(client.embed(&json!(["heart", "lung"])).vectors().len(), 2);
    assert_eq!(
        client.get("/nowhere").outcome(),
        (404, "not_found".to_owned())
    );

    let mut plain = program.connect();
    plain.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut response = Vec::new();
    // The server sends at most a TLS alert, then closes the connection.
    let _ = std::io::Read::read_to_end(&mut plain.stream, &mut response);
    assert!(!response.starts_with(b"HTTP"), "{response:?}");
    // Neither plain HTTP nor a client that is silent or disconnects during the handshake delays others.
    let silent: Vec<Client> = (0..20).map(|_| program.connect()).collect();
    program.connect().send([22, 3, 1, 2, 0]);
    assert_eq!(
        connect(program.address, &files.trusted)
            .get("/health")
            .status,
        200
    );
    drop(silent);

    program.signal("-TERM");
    assert_eq!(program.wait().0.code(), Some(0));
}

impl Files {
    /// Replaces the certificate, then the key, as renewal programs do.
    fn copy_over(&self, other: &Files) {
        fs_err::copy(&self.certificate, &other.certificate).unwrap();
        fs_err::copy(&self.key, &other.key).unwrap();
    }
}

/// Whether a new connection gets the certificate.
fn serves(program: &Program, trusted: &CertificateDer<'static>) -> bool {
    let response = connect(program.address, trusted).try_get("/health");
    response.is_some_and(|response| response.status == 200)
}

#[test]
fn a_renewed_certificate_is_reloaded_and_open_connections_continue() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (files(dir.path(), "old"), files(dir.path(), "new"));
    let program = Program::start(&["--tls-cert", &old.certificate, "--tls-key", &old.key]);
    let mut open = connect(program.address, &old.trusted);
    assert_eq!(open.get("/health").status, 200);
    assert!(!serves(&program, &new.trusted));

    new.copy_over(&old);
    let begun = Instant::now();
    while !serves(&program, &new.trusted) {
        assert!(begun.elapsed() < TIMEOUT, "{}", program.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!serves(&program, &old.trusted));
    assert_eq!(open.embed(&json!(["heart"])).vectors().len(), 1);
    assert!(!program.log().contains("ERROR"), "{}", program.log());
}

#[test]
fn a_hangup_reloads_the_certificate_at_once_and_a_broken_file_keeps_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (files(dir.path(), "old"), files(dir.path(), "new"));
    let mut program = Program::start(&["--tls-cert", &old.certificate, "--tls-key", &old.key]);
    let kept = "keeps the old one";

    // The key of another certificate, a file without a key, no file, and a pipe without a writer.
    let steps: [&dyn Fn(); 4] = [
        &|| assert!(fs_err::copy(&new.key, &old.key).is_ok()),
        &|| fs_err::write(&old.key, "not a key").unwrap(),
        &|| fs_err::remove_file(&old.key).unwrap(),
        &|| {
            let made = Command::new("mkfifo").arg(&old.key).status().unwrap();
            assert!(made.success());
        },
    ];
    for (before, step) in steps.into_iter().enumerate() {
        step();
        program.signal("-HUP");
        let line = program.wait_for("that the key is broken", |log| {
            log.lines()
                .filter(|line| line.contains(kept))
                .nth(before)
                .map(str::to_owned)
        });
        assert!(line.contains("ERROR") && line.contains(&old.key), "{line}");
        assert!(serves(&program, &old.trusted));
    }

    let read = |log: &str| log.contains("was reloaded").then_some(());
    assert!(read(&program.log()).is_none());
    fs_err::remove_file(&old.key).unwrap();
    new.copy_over(&old);
    program.signal("-HUP");
    program.wait_for("that the certificate was reloaded", read);
    assert!(serves(&program, &new.trusted) && !serves(&program, &old.trusted));
    program.signal("-TERM");
    assert_eq!(program.wait().0.code(), Some(0));
}

#[test]
fn without_tls_a_hangup_is_logged_and_the_server_continues() {
    let mut program = Program::start(&[]);
    for count in 1..=2 {
        program.signal("-HUP");
        program.wait_for("that it ignores SIGHUP", |log| {
            (log.matches("SIGHUP is ignored").count() == count).then_some(())
        });
    }
    assert_eq!(program.connect().get("/readyz").status, 200);
    program.signal("-TERM");
    assert_eq!(program.wait().0.code(), Some(0));
}

#[test]
fn files_with_a_byte_order_mark_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(dir.path(), "server");
    for path in [&files.certificate, &files.key] {
        let marked = format!("\u{feff}{}", fs_err::read_to_string(path).unwrap());
        fs_err::write(path, marked).unwrap();
    }
    let program = Program::start(&["--tls-cert", &files.certificate, "--tls-key", &files.key]);
    assert!(serves(&program, &files.trusted));
}

#[test]
fn a_client_that_trusts_another_certificate_does_not_connect() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (files(dir.path(), "ours"), files(dir.path(), "other"));
    let program = Program::start(&["--tls-cert", &ours.certificate, "--tls-key", &ours.key]);
    let mut client = connect(program.address, &other.trusted);
    let hello = std::io::Write::write_all(&mut client.stream, b"GET /health HTTP/1.1\r\n\r\n");
    assert!(
        hello.is_err()
            || client
                .try_response()
                .is_ok_and(|response| response.is_none())
    );
    assert_eq!(
        connect(program.address, &ours.trusted)
            .get("/health")
            .status,
        200
    );
}

#[test]
fn unusable_certificate_files_are_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (files(dir.path(), "one"), files(dir.path(), "two"));
    let empty = dir.path().join("empty.pem");
    fs_err::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    for (certificate, key, named) in [
        (
            one.certificate.as_str(),
            two.key.as_str(),
            "do not belong together",
        ),
        (empty, &one.key, "empty.pem"),
        (&one.certificate, empty, "empty.pem"),
        ("/nowhere.pem", &one.key, "/nowhere.pem"),
        (&one.key, &one.key, "one.key"),
    ] {
        let output = serve(&["--tls-cert", certificate, "--tls-key", key])
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(named), "{message}");
    }
    let alone = serve(&["--tls-cert", &one.certificate]).output().unwrap();
    assert_eq!(alone.status.code(), Some(2));
}
