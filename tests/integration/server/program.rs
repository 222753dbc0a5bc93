//! The real program, serving models/nano.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lexivec_convert::{ConvertOptions, Silent, convert};
use lexivec_models::{Checkpoint, MANIFEST_FILE, Precision};

use super::client::{Client, TIMEOUT};
use crate::program::lexivec;
use crate::support::{nano, options};

/// `lexivec serve`; killed when it is dropped.
pub(crate) struct Program {
    process: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// The converted nano model. It is converted once per build of the tests, because each test may run in its own process.
pub(crate) fn model() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dir = tmp.join("served-nano");
    let lock = fs_err::File::create(tmp.join("served-nano.lock")).unwrap();
    lock.file().lock().unwrap();
    let written = |path: &Path| fs_err::metadata(path).and_then(|m| m.modified());
    let built = written(&std::env::current_exe().unwrap()).unwrap();
    if written(&dir.join(MANIFEST_FILE)).is_ok_and(|made| made > built) {
        return dir;
    }
    let options = ConvertOptions {
        verify: false,
        force: true,
        ..options(Precision::Fp32)
    };
    convert(&Checkpoint::open(&nano()).unwrap(), &dir, &options, &Silent).unwrap();
    dir
}

/// The command `lexivec serve` for nano on a free port.
pub(crate) fn serve(arguments: &[&str]) -> Command {
    let mut command = lexivec();
    command
        .arg("serve")
        .arg(model())
        .args(["--served-model-name", "fake", "--port", "0"]);
    command.args(arguments);
    command
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut serve(arguments))
    }

    /// Starts a command of [`serve`], and waits until its log has the address.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut program = Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            reader: Some(reader),
        };
        program.address = program.wait_for("where it listens", |log| {
            let (_, rest) = log.split_once("://")?;
            rest.split(['/', '"']).next()?.parse().ok()
        });
        program
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until `find` finds something in the log; `what` describes it for the failure message.
    pub(crate) fn wait_for<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            // Checked before the log is read, so that no line can be missed in between.
            let over = self.process.try_wait().unwrap().is_some() || begun.elapsed() > TIMEOUT;
            if let Some(found) = find(&self.log()) {
                return found;
            }
            assert!(!over, "the log never said {what}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        crate::program::signal(&self.process, signal);
    }

    /// Waits for the end. Returns the exit status and the complete log.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(
                begun.elapsed() < TIMEOUT,
                "it does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        self.reader.take().unwrap().join().unwrap();
        (status, self.log())
    }

    /// The resident memory in bytes.
    pub(crate) fn memory(&self) -> usize {
        resident(&self.process.id().to_string())
    }

    /// The peak resident memory in bytes.
    pub(crate) fn peak_memory(&self) -> usize {
        peak_memory(&self.process.id().to_string())
    }
}

/// The resident memory of a process in bytes; `self` is this process.
pub(crate) fn resident(process: &str) -> usize {
    status_bytes(process, "VmRSS:")
}

/// The peak resident memory of a process in bytes.
pub(crate) fn peak_memory(process: &str) -> usize {
    status_bytes(process, "VmHWM:")
}

fn status_bytes(process: &str, field: &str) -> usize {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

impl Drop for Program {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
