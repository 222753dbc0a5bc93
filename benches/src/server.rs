//! Starts what is measured.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::NamedTempFile;

use crate::client::Client;

/// A server that runs; it goes when this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    log: NamedTempFile,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The first batches load kernels and fill allocators, and a Python server imports for half a minute.
const PATIENCE: Duration = Duration::from_secs(180);

impl Server {
    /// `lexivec serve` with these arguments, as released.
    ///
    /// # Errors
    /// The program cannot be built, or does not begin to serve.
    pub async fn lexivec(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::of(&program()?, arguments).await
    }

    /// The same of another lexivec program.
    ///
    /// # Errors
    /// It does not begin to serve.
    pub async fn of(program: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(program);
        command.arg("serve").args(arguments);
        command.args(["--port", &port.to_string()]);
        Self::start(command, port).await
    }

    /// Another server, which is told to listen on `port` of 127.0.0.1 and answers `GET /health`.
    ///
    /// # Errors
    /// It does not begin to serve.
    pub async fn start(mut command: Command, port: u16) -> anyhow::Result<Self> {
        let log = NamedTempFile::new()?;
        let process = command
            .stdin(Stdio::null())
            .stdout(log.reopen()?)
            .stderr(log.reopen()?)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Self {
            process,
            log,
            address,
        };
        let deadline = Instant::now() + PATIENCE;
        while Client::new(address).get("/health").await.is_err() {
            if let Some(status) = server.process.try_wait()? {
                bail!("{command:?} ended with {status}:\n{}", server.end_of_log());
            }
            ensure!(
                Instant::now() < deadline,
                "{command:?} does not answer /health:\n{}",
                server.end_of_log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }

    fn end_of_log(&self) -> String {
        let log = fs_err::read_to_string(self.log.path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Stops it where it is, so that it uses no CPU while another is measured.
    ///
    /// # Errors
    /// It has gone.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal("-STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It has gone.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal("-CONT")
    }

    /// To its whole process group: some servers have workers.
    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        for pid in family(self.pid()) {
            let status = Command::new("kill")
                .args([signal, &pid.to_string()])
                .status()?;
            ensure!(status.success(), "kill {signal} {pid} failed");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.signal("-KILL");
        let _ = self.process.wait();
    }
}

/// A process and its children's children.
fn family(pid: u32) -> Vec<u32> {
    let children = fs_err::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|c| c.parse().ok());
    std::iter::once(pid)
        .chain(children.flat_map(family))
        .collect()
}

/// A port that nobody listens on.
///
/// # Errors
/// There is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A path below the project's root.
#[must_use]
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The program as released; built if it is not there or not new.
///
/// # Errors
/// It does not build.
pub fn program() -> anyhow::Result<PathBuf> {
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--quiet",
            "--locked",
            "--bin",
            "lexivec",
        ])
        .current_dir(project("."))
        .status()?;
    ensure!(status.success(), "the program does not build");
    // Benchmarks are built where it is.
    let bench = std::env::current_exe()?;
    let programs = bench.ancestors().map(|folder| folder.join("lexivec"));
    let program = programs.into_iter().find(|program| program.is_file());
    program.context("the program was built into another folder than this benchmark")
}
