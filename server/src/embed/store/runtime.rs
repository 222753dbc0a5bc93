//! The thread that transfers objects, while the job's own threads read and compute.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{anyhow, bail};
use futures_util::FutureExt as _;
use tokio::runtime::{Builder, Handle};

use crate::stdio::say;

const NAME: &str = "lexivec-stores";
/// How long a job waits in silence. Each later message comes after twice the time of the one before.
const PATIENCE: Duration = Duration::from_secs(5);

/// Work of the thread.
#[derive(Debug)]
pub(super) struct Task<T>(Receiver<Result<T, String>>);

impl<T> Task<T> {
    /// The result of the work. While it takes long, `progress` says how far it is.
    ///
    /// # Errors
    /// The work panicked.
    pub(super) fn wait(self, progress: impl Fn() -> String) -> anyhow::Result<T> {
        self.wait_within(PATIENCE, |waited| {
            say!("{} ({} s)", progress(), waited.as_secs());
        })
    }

    fn wait_within(self, mut patience: Duration, report: impl Fn(Duration)) -> anyhow::Result<T> {
        let mut waited = Duration::ZERO;
        loop {
            match self.0.recv_timeout(patience) {
                Ok(Ok(result)) => return Ok(result),
                Ok(Err(place)) => bail!(
                    "the library for object stores failed (panic at {place}): check the variables that configure the store"
                ),
                Err(RecvTimeoutError::Disconnected) => bail!("the thread of object stores ended"),
                Err(RecvTimeoutError::Timeout) => {
                    waited += patience;
                    patience = waited;
                    report(waited);
                }
            }
        }
    }
}

/// Runs `work` on the thread.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn spawn<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> anyhow::Result<Task<T>> {
    static THREAD: OnceLock<Result<Handle, String>> = OnceLock::new();
    let handle = THREAD.get_or_init(|| start().map_err(|error| error.to_string()));
    let handle = handle.as_ref();
    let handle = handle.map_err(|error| anyhow!("object stores cannot be read: {error}"))?;
    let (sender, receiver) = sync_channel(1);
    handle.spawn(async move {
        let result = AssertUnwindSafe(work).catch_unwind().await;
        let result = result.map_err(|_| PLACE.take());
        // Nobody waits for the result of a job that has ended.
        let _ = sender.send(result);
    });
    Ok(Task(receiver))
}

thread_local! {
    /// Where the thread has panicked last.
    static PLACE: RefCell<String> = RefCell::default();
}

fn start() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name(NAME.to_owned())
        .spawn(move || {
            report_no_panics();
            runtime.block_on(pending::<()>());
        })?;
    Ok(handle)
}

/// Panics of this thread become errors of the work, so they are not printed.
fn report_no_panics() {
    let this = std::thread::current().id();
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() != this {
            return report(panic);
        }
        // The whole path would be that of the machine that built the program.
        let place = panic.location().map(|place| {
            let file = Path::new(place.file()).file_name().unwrap_or_default();
            format!("{}:{}", file.display(), place.line())
        });
        PLACE.set(place.unwrap_or_default());
    }));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_panic_is_an_error_that_names_its_place() {
        for _ in 0..2 {
            let task: Task<()> = spawn(async { panic!("not printed") }).unwrap();
            let said = task.wait(String::new).unwrap_err().to_string();
            assert!(said.contains("failed (panic at runtime.rs:"), "{said}");
        }
        assert_eq!(spawn(async { 1 }).unwrap().wait(String::new).unwrap(), 1);
    }

    #[test]
    fn a_long_wait_is_reported_at_growing_intervals() {
        let (go, gone) = futures_util::future::abortable(pending::<()>());
        let reports = Cell::new(0);
        let task = spawn(go).unwrap();
        let report = |_| {
            reports.set(reports.get() + 1);
            if reports.get() == 3 {
                gone.abort();
            }
        };
        let waited = task.wait_within(Duration::from_millis(10), report);
        assert!(waited.unwrap().is_err());
        assert!(reports.get() >= 3);
    }
}
