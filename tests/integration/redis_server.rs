//! A real Redis, started for one test; and peers that are none.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A redis-server on a port of its own; it goes when this is dropped.
pub(crate) struct RedisServer {
    port: u16,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts a server and waits until it answers. `arguments` are redis-server's.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut server = Self::reserved(arguments);
        server.launch();
        server
    }

    /// A server that is down so far.
    pub(crate) fn reserved(arguments: &[&str]) -> Self {
        Self {
            port: free_port(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            process: None,
        }
    }

    /// A server that speaks TLS alone.
    pub(crate) fn with_tls(certificate: &Path, key: &Path) -> Self {
        let mut server = Self::reserved(&["--port", "0", "--tls-auth-clients", "no"]);
        let port = server.port.to_string();
        let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
        let tls = [
            "--tls-port",
            &port,
            "--tls-cert-file",
            certificate,
            "--tls-key-file",
            key,
        ];
        server.arguments.extend(tls.map(str::to_owned));
        server.launch();
        server
    }

    /// Starts it, on its port.
    pub(crate) fn launch(&mut self) {
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        // Of two ports the later wins: with TLS there is no plain one.
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
            &port,
        ]);
        command.args(&self.arguments);
        let process = command.stdout(Stdio::null()).spawn().unwrap_or_else(|e| {
            panic!("redis-server does not start ({e}): `make redis` installs it, `make test` calls that")
        });
        self.process = Some(process);
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let process = self.process.as_mut().unwrap();
            if let Some(status) = process.try_wait().unwrap() {
                panic!("redis-server ended at once: {status}");
            }
            assert!(Instant::now() < deadline, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it at once, with everything it held.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Lets it hang: connections stay, nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        crate::program::signal(self.process.as_ref().unwrap(), signal);
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command over a connection of the test's own.
    pub(crate) fn command<T: redis::FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query(&mut connection).unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts a peer that does `serve` with every connection, each in a thread; the URL to it. It lives as long as the test.
pub(crate) fn peer(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    format!("redis://127.0.0.1:{port}")
}

/// Serves a connection like a Redis up to the first MGET, which is answered with `answer`, as is all that follows.
pub(crate) fn answer_lookups_with(mut stream: TcpStream, answer: &[u8]) {
    let mut bytes = [0; 65536];
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        let said = String::from_utf8_lossy(&bytes[..read]);
        let reply = match () {
            () if said.contains("PING") => &b"+PONG\r\n"[..],
            // CLIENT SETINFO, twice at once.
            () if said.contains("CLIENT") => b"+OK\r\n+OK\r\n",
            () => answer,
        };
        if stream.write_all(reply).is_err() {
            return;
        }
    }
}

/// Passes bytes on to a server, and its answers back at `rate` bytes a second.
pub(crate) fn slow_line(client: TcpStream, port: u16, rate: f64) {
    let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut asking, mut asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut asking, &mut asked));
    let mut back = client;
    let mut bytes = [0; 65536];
    let mut free = Instant::now();
    while let Ok(read @ 1..) = server.read(&mut bytes) {
        std::thread::sleep(free.saturating_duration_since(Instant::now()));
        free = free.max(Instant::now() - Duration::from_millis(50))
            + Duration::from_secs_f64(read as f64 / rate);
        if back.write_all(&bytes[..read]).is_err() {
            return;
        }
    }
}
