//! Ctrl-C and SIGTERM, for the whole process.
//!
//! Who can stop in good order says so with [`listen`]; the first signal then only sets a flag and wakes [`wait`].
//! A second signal, or one that nobody listens for, ends the process at once, after removing the file registered with
//! [`remove_on_exit`]: nothing half-written stays.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

static ASKED: AtomicBool = AtomicBool::new(false);
static LISTENERS: AtomicUsize = AtomicUsize::new(0);
static WAKE: Notify = Notify::const_new();
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Takes over the signals. To be called once, before any thread waits.
pub(crate) fn install() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(on_signal)
}

fn on_signal() {
    let first = !ASKED.swap(true, Ordering::SeqCst);
    if first && LISTENERS.load(Ordering::SeqCst) > 0 {
        WAKE.notify_waiters();
        return;
    }
    if let Some(path) = PARTIAL
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
    {
        // The process ends either way; there is nobody to tell of a failure.
        let _ = fs_err::remove_file(path);
    }
    std::process::exit(1);
}

/// While this lives, the first signal is left to its holder.
#[derive(Debug)]
pub(crate) struct Listening(());

/// Promises to look at [`requested`] or [`wait`] until the result is dropped.
pub(crate) fn listen() -> Listening {
    LISTENERS.fetch_add(1, Ordering::SeqCst);
    Listening(())
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether a signal has come.
pub(crate) fn requested() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Waits for a signal.
pub(crate) async fn wait() {
    // Created before the flag is read, so that a signal between the two is not missed.
    let woken = WAKE.notified();
    if !requested() {
        woken.await;
    }
}

/// The file to remove where a signal ends the process; `None` once it is complete.
pub(crate) fn remove_on_exit(path: Option<&Path>) {
    *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = path.map(Path::to_path_buf);
}
