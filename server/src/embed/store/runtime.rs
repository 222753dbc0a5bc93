//! The thread that transfers objects, while the job's own threads read and compute.

use std::future::{Future, pending};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::anyhow;
use tokio::runtime::{Builder, Handle};

/// Runs `work` on the thread. Its result comes through the channel, which breaks if `work` panics.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn spawn<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> anyhow::Result<Receiver<T>> {
    static THREAD: OnceLock<Result<Handle, String>> = OnceLock::new();
    let handle = THREAD.get_or_init(|| start().map_err(|error| error.to_string()));
    let handle = handle.as_ref();
    let handle = handle.map_err(|error| anyhow!("object stores cannot be read: {error}"))?;
    let (sender, receiver) = sync_channel(1);
    handle.spawn(async move {
        // Nobody waits for the result of a job that has ended.
        let _ = sender.send(work.await);
    });
    Ok(receiver)
}

fn start() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("lexivec-stores".to_owned())
        .spawn(move || runtime.block_on(pending::<()>()))?;
    Ok(handle)
}
