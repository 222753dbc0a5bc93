//! Gives memory back to the system after a peak.
//!
//! The C library keeps freed memory for later, both Rust's and ONNX Runtime's: gigabytes after one long text.
#![allow(unsafe_code)] // A call into the C library.

use std::thread;
use std::time::Duration;

/// How often the process looks at its size.
const EVERY: Duration = Duration::from_secs(10);
/// Growth since the last trim that is worth another one under load.
const GROWTH: usize = 128 << 20;
/// A process that computed for less than this since the last look is idle.
const IDLE: Duration = Duration::from_millis(500);

/// Starts the thread that trims the heap when the process has grown, and once when it becomes idle.
pub(crate) fn start() {
    let work = || {
        let mut schedule = Schedule::new(resident());
        let mut cpu = cpu_time();
        loop {
            thread::sleep(EVERY);
            let used = cpu_time().saturating_sub(cpu);
            cpu += used;
            if schedule.is_due(resident(), used) {
                trim();
                schedule.trimmed(resident());
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

/// Decides when a trim pays.
#[derive(Debug)]
struct Schedule {
    /// The smallest resident size since the last trim.
    least: usize,
    /// The process was busy, and was not trimmed while idle since.
    was_busy: bool,
}

impl Schedule {
    fn new(resident: usize) -> Self {
        Self {
            least: resident,
            was_busy: false,
        }
    }

    /// Whether to trim a process of this size that used this much CPU time since the last look.
    fn is_due(&mut self, resident: usize, used: Duration) -> bool {
        self.least = self.least.min(resident);
        if used >= IDLE {
            self.was_busy = true;
            return resident > self.least.saturating_add(GROWTH);
        }
        // The last trim may have fallen into a peak: what was freed afterwards does not make the process grow.
        std::mem::take(&mut self.was_busy)
    }

    fn trimmed(&mut self, resident: usize) {
        self.least = resident;
    }
}

/// CPU time that this process has used.
fn cpu_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for a write of this struct, which is valid when zeroed.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let duration = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let micros = u32::try_from(time.tv_usec).unwrap_or(0);
        Duration::new(seconds, micros * 1000)
    };
    duration(usage.ru_utime) + duration(usage.ru_stime)
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

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Duration = Duration::from_secs(15);

    #[test]
    fn growth_is_trimmed_under_load() {
        let mut schedule = Schedule::new(100 << 20);
        assert!(!schedule.is_due(200 << 20, BUSY));
        assert!(schedule.is_due(300 << 20, BUSY));
        schedule.trimmed(250 << 20);
        assert!(!schedule.is_due(300 << 20, BUSY));
    }

    #[test]
    fn a_process_that_was_trimmed_in_a_peak_is_trimmed_again_when_it_becomes_idle() {
        let mut schedule = Schedule::new(100 << 20);
        assert!(schedule.is_due(900 << 20, BUSY));
        schedule.trimmed(800 << 20);
        assert!(schedule.is_due(800 << 20, Duration::ZERO));
        schedule.trimmed(150 << 20);
        assert!(!schedule.is_due(150 << 20, Duration::ZERO));
    }
}
