//! Ctrl-C, SIGTERM and SIGHUP, for the whole process.
//!
//! Code that can stop in good order calls [`listen`]. The first signal then only sets a flag and wakes [`wait`]. A second signal, or a
//! signal without a listener, removes the file that [`remove_on_exit`] registered, and ends the process at once. The exit status is
//! the one that shells report for the signal (130 for Ctrl-C, 143 for SIGTERM).
//!
//! After [`take_hangups`], SIGHUP wakes [`hangup`] instead of ending the process, as is usual for daemons.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// The exit status for the first signal; 0 before a signal.
static STATUS: AtomicU8 = AtomicU8::new(0);
static LISTENERS: AtomicUsize = AtomicUsize::new(0);
static WAKE: Notify = Notify::const_new();
static HANGUPS_TAKEN: AtomicBool = AtomicBool::new(false);
static HANGUP: Notify = Notify::const_new();
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Shells add this to the number of the signal that ended a process.
const BY_SIGNAL: u8 = 128;

/// Installs the handlers. The program calls it once, before any thread waits for a signal.
///
/// # Errors
/// The system cannot start a thread, or rejects a handler.
pub(crate) fn install() -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(entered);
    let watch = async move {
        loop {
            on_signal(tokio::select! {
                _ = interrupt.recv() => BY_SIGNAL + 2,
                _ = terminate.recv() => BY_SIGNAL + 15,
                _ = hangup.recv() => {
                    if HANGUPS_TAKEN.load(Ordering::SeqCst) {
                        HANGUP.notify_one();
                        continue;
                    }
                    BY_SIGNAL + 1
                }
            });
        }
    };
    std::thread::Builder::new()
        .name("lexivec-signals".to_owned())
        .spawn(move || runtime.block_on(watch))?;
    Ok(())
}

fn on_signal(status: u8) {
    let first = STATUS.compare_exchange(0, status, Ordering::SeqCst, Ordering::SeqCst);
    if first.is_ok() && LISTENERS.load(Ordering::SeqCst) > 0 {
        WAKE.notify_waiters();
        return;
    }
    leave(status)
}

/// Ends the process without its exit handlers. Those of ONNX Runtime destroy objects that threads still use while they load or run a
/// model, and the user would see a crash or a misleading error last.
pub(crate) fn leave(status: u8) -> ! {
    if let Some(path) = PARTIAL
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
    {
        // The process ends either way, so a failure cannot be reported.
        let _ = fs_err::remove_file(path);
    }
    // SAFETY: the function has no precondition. Standard error is not buffered, and what standard output still
    // holds is the beginning of a line.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(status.into())
    }
}

/// A listener. While it exists, the first signal does not end the process.
#[derive(Debug)]
pub(crate) struct Listening(());

/// Registers a listener, which checks [`requested`] or [`wait`] until the result is dropped.
pub(crate) fn listen() -> Listening {
    LISTENERS.fetch_add(1, Ordering::SeqCst);
    Listening(())
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The exit status of a command that a signal stopped; `None` without a signal.
pub(crate) fn status() -> Option<u8> {
    Some(STATUS.load(Ordering::SeqCst)).filter(|status| *status != 0)
}

/// Whether a signal has come.
pub(crate) fn requested() -> bool {
    status().is_some()
}

/// Waits for a signal.
pub(crate) async fn wait() {
    // Created before the flag is read, so that a signal between the two is not missed.
    let woken = WAKE.notified();
    if !requested() {
        woken.await;
    }
}

/// From now on SIGHUP wakes [`hangup`] instead of ending the process.
pub(crate) fn take_hangups() {
    HANGUPS_TAKEN.store(true, Ordering::SeqCst);
}

/// Waits for a SIGHUP; returns at once if one came since the last call.
pub(crate) async fn hangup() {
    HANGUP.notified().await;
}

/// Registers the file that a signal removes when it ends the process; `None` once the file is complete.
pub(crate) fn remove_on_exit(path: Option<&Path>) {
    *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = path.map(Path::to_path_buf);
}
