//! Starts the servers under measurement.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::NamedTempFile;

use crate::client::Client;

/// A running server. Dropping it ends the process.
#[derive(Debug)]
pub struct Server {
    process: Child,
    log: NamedTempFile,
    /// Address that the server listens on.
    pub address: SocketAddr,
}

/// How long a server may take to start. A Python server takes half a minute to import its modules.
const PATIENCE: Duration = Duration::from_secs(180);

impl Server {
    /// Starts `lexivec serve` of a release build with these arguments.
    ///
    /// # Errors
    /// If the program cannot be built or does not start to serve.
    pub async fn lexivec(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::of(None, arguments).await
    }

    /// As [`lexivec`](Self::lexivec), with the given program instead of this project's, if there is one.
    ///
    /// # Errors
    /// As [`lexivec`](Self::lexivec).
    pub async fn of(given: Option<&Path>, arguments: &[&str]) -> anyhow::Result<Self> {
        let program = given.map_or_else(program, |given| Ok(given.to_path_buf()))?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.arg("serve").args(arguments);
        command.args(["--port", &port.to_string()]);
        Self::start(command, port).await
    }

    /// Serves models/nano with additional flags, by the given program or this project's.
    ///
    /// # Errors
    /// As [`lexivec`](Self::lexivec).
    pub async fn nano(given: Option<&Path>, flags: &str) -> anyhow::Result<Self> {
        let nano = project("models/nano");
        let mut arguments = vec![nano.to_str().context("the project's path is not UTF-8")?];
        arguments.extend(flags.split_whitespace());
        Self::of(given, &arguments).await
    }

    /// Starts any server that listens on `port` of 127.0.0.1 and answers `GET /health`.
    ///
    /// # Errors
    /// If the server does not start to answer.
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

    /// Returns the process ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Pauses the server, so that it uses no CPU while another one is measured.
    ///
    /// # Errors
    /// If the server has ended.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal("-STOP")
    }

    /// Resumes the server after a pause.
    ///
    /// # Errors
    /// If the server has ended.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal("-CONT")
    }

    /// Sends a signal to the server and its child processes, because some servers have workers.
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

/// Returns a process and all its descendants.
fn family(pid: u32) -> Vec<u32> {
    let children = fs_err::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|c| c.parse().ok());
    std::iter::once(pid)
        .chain(children.flat_map(family))
        .collect()
}

/// Returns a port that is not in use.
///
/// # Errors
/// If there is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Returns a path relative to the project's root.
#[must_use]
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Builds the program in release mode and returns its path.
///
/// # Errors
/// If the build fails.
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
    ensure!(status.success(), "cargo could not build lexivec");
    // The benchmark is in the same target folder as the program.
    let bench = std::env::current_exe()?;
    let programs = bench.ancestors().map(|folder| folder.join("lexivec"));
    let program = programs.into_iter().find(|program| program.is_file());
    program.context("the program was built into another folder than this benchmark")
}
