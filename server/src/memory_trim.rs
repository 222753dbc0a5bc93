//! Gives memory back to the system after a peak.
//!
//! The C library keeps freed memory for later, both Rust's and ONNX Runtime's: gigabytes after one long text.
#![allow(unsafe_code)] // A call into the C library.

use std::thread;
use std::time::Duration;

/// How often the process looks at its size.
const EVERY: Duration = Duration::from_secs(10);
/// Growth since the last time that is worth returning.
const GROWTH: usize = 128 << 20;

/// Starts the thread that trims the heap when the process has grown.
pub(crate) fn start() {
    let work = || {
        let mut trimmed = resident();
        loop {
            thread::sleep(EVERY);
            // A look during a peak must not set the measure for what comes after it.
            trimmed = trimmed.min(resident());
            if resident() > trimmed.saturating_add(GROWTH) {
                trim();
                trimmed = resident();
            }
        }
    };
    let started = thread::Builder::new()
        .name("lexivec-trim".to_owned())
        .spawn(work);
    if let Err(error) = started {
        tracing::warn!(%error, "no thread to return memory to the system");
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: the call takes no pointer, and may be made from any thread at any time (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

/// Bytes of this process in memory; 0 where the system does not say.
fn resident() -> usize {
    let statm = fs_err::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse().ok());
    // SAFETY: the call takes no pointer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.map_or(0, |pages: usize| pages * usize::try_from(page).unwrap_or(0))
}
