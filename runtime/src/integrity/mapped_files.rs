//! Survives files that are truncated while they are mapped into memory, and disks that fail.
//!
//! A read beyond the new end of a mapped file ends a process by SIGBUS, and so does a page that the system cannot read.
//! Here such a read returns zeros and is counted. Code that reads mapped files compares [`zeroed_pages`] before and after: a
//! batch that read zeros gives no vectors and costs its session, and a conversion fails.
#![allow(unsafe_code)] // A signal handler.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Pages that zeros replaced.
static ZEROED_PAGES: AtomicU64 = AtomicU64::new(0);
/// Bytes of a page.
static PAGE: AtomicUsize = AtomicUsize::new(4096);

/// Number of pages that were read beyond the end of a mapped file since the process began. They contain zeros instead
/// of the file's bytes.
#[must_use]
pub fn zeroed_pages() -> u64 {
    ZEROED_PAGES.load(Ordering::SeqCst)
}

/// Installs the handler, which lets the process survive; later calls do nothing.
///
/// ```
/// use lexivec_runtime::mapped_files::{survive_truncation, zeroed_pages};
///
/// survive_truncation();
/// let before = zeroed_pages();
/// // Read mapped files here.
/// assert_eq!(zeroed_pages(), before);
/// ```
pub fn survive_truncation() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: sysconf reads a constant of the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        if let Ok(page) = usize::try_from(page) {
            PAGE.store(page, Ordering::SeqCst);
        }
        // SAFETY: all fields of a sigaction may be zero, and the handler does only what is allowed in a handler: atomics, mmap
        // and sigaction.
        let installed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_bus_error as *const () as usize;
            // On the thread's own stack: the alternate one of the standard library has hardly more room than the registers
            // of AMX take, and a mapped file that is truncated leaves a thread's stack as it was.
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut())
        };
        if installed != 0 {
            tracing::warn!("no SIGBUS handler: the process ends if a model's file is truncated while it is read");
        }
    });
}

/// Maps a page of zeros where the file has none. Other bus errors end the process, as they would without a handler.
extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    let page = PAGE.load(Ordering::SeqCst);
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO. The page at its address is mapped and has no
    // contents, so that nobody loses any by the new mapping.
    unsafe {
        if (*info).si_code == libc::BUS_ADRERR {
            let address = (*info).si_addr() as usize & !(page - 1);
            let zeros = libc::mmap(
                address as *mut libc::c_void,
                page,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            );
            if zeros != libc::MAP_FAILED {
                ZEROED_PAGES.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
        // The same instruction runs again and gets the default action.
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &raw const default, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Maps a file of three pages, and truncates it to one.
    #[test]
    fn truncated_pages_read_as_zeros_and_are_counted() {
        survive_truncation();
        survive_truncation();
        let page = PAGE.load(Ordering::SeqCst);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mapped");
        fs_err::write(&path, vec![7; 3 * page]).unwrap();
        let file = fs_err::OpenOptions::new();
        let file = { file }.read(true).write(true).open(&path).unwrap();
        use std::os::fd::AsRawFd as _;
        // SAFETY: a new mapping of a file of that size, which nothing else uses.
        let map = unsafe {
            let map = libc::mmap(
                std::ptr::null_mut(),
                3 * page,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            );
            assert_ne!(map, libc::MAP_FAILED);
            std::slice::from_raw_parts(map.cast::<u8>(), 3 * page)
        };
        let read = |place: usize| {
            let byte = std::hint::black_box(&raw const map[place]);
            // SAFETY: within the mapping.
            unsafe { byte.read_volatile() }
        };
        assert_eq!(read(2 * page), 7);
        let before = zeroed_pages();
        file.set_len(page as u64).unwrap();
        assert_eq!((read(2 * page), read(2 * page + 1), read(page)), (0, 0, 0));
        assert_eq!(read(0), 7);
        assert_eq!(zeroed_pages(), before + 2);
    }
}
