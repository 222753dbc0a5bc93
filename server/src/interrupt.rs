//! Ctrl-C, SIGTERM and SIGHUP, for the whole process.
//!
//! Code that can stop in good order calls [`listen`]; the first signal then only sets a flag and wakes [`wait`].
//! A second signal, or one that nobody listens for, ends the process at once with the status that shells give for the
//! signal (130 for Ctrl-C, 143 for SIGTERM), after removing the file registered with [`remove_on_exit`].
//!
//! After [`take_hangups`], SIGHUP ends nothing: it wakes [`hangup`], as daemons use it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// The exit status for the first signal; 0 before it.
static STATUS: AtomicU8 = AtomicU8::new(0);
static LISTENERS: AtomicUsize = AtomicUsize::new(0);
static WAKE: Notify = Notify::const_new();
static HANGUPS_TAKEN: AtomicBool = AtomicBool::new(false);
static HANGUP: Notify = Notify::const_new();
static PARTIAL: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Shells report a process that a signal ended with this and the signal's number.
const BY_SIGNAL: u8 = 128;

/// Takes over the signals. To be called once, before any thread waits.
///
/// # Errors
/// The system gives no thread, or refuses a handler.
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

/// Ends the process without its exit handlers: those of ONNX Runtime destroy what threads that load or run a model still
/// use, and a crash or an invented error would be the last thing that a user sees.
pub(crate) fn leave(status: u8) -> ! {
    if let Some(path) = PARTIAL
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
    {
        // The process ends either way; there is nobody to tell of a failure.
        let _ = fs_err::remove_file(path);
    }
    // SAFETY: the function has no precondition. Standard error is not buffered, and what standard output still
    // holds is the beginning of a line.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(status.into())
    }
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

/// The exit status of a command that a signal stopped; `None` where no signal has come.
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

/// The file to remove where a signal ends the process; `None` once it is complete.
pub(crate) fn remove_on_exit(path: Option<&Path>) {
    *PARTIAL.lock().unwrap_or_else(PoisonError::into_inner) = path.map(Path::to_path_buf);
}
