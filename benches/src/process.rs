//! Reads from /proc the CPU time and memory of processes, and the CPU use of the rest of the machine.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::time::Instant;

use fs_err as fs;

/// The unit of CPU times in /proc/PID/stat (USER_HZ), which is the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The CPU time and memory of a process and its children since they started.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Seconds of CPU, including threads that have ended.
    pub cpu: f64,
    /// Seconds of CPU of running threads, summed by name. ONNX Runtime's threads have the name of the thread that started
    /// them, so the first thread's time is under `main`.
    pub threads: BTreeMap<String, f64>,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Highest resident memory in bytes.
    pub peak: u64,
}

impl Usage {
    /// Reads the use of a process and its children.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut usage = Self {
            cpu: cpu_of(pid)?,
            ..Self::default()
        };
        for line in fs::read_to_string(format!("/proc/{pid}/status"))?.lines() {
            match line.split_once(':') {
                Some(("VmRSS", size)) => usage.resident = kibibytes(size),
                Some(("VmHWM", size)) => usage.peak = kibibytes(size),
                _ => {}
            }
        }
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            // The thread may have ended meanwhile.
            let Ok(spent) = fs::read_to_string(task.join("schedstat")) else {
                continue;
            };
            let name = if task.ends_with(pid.to_string()) {
                "main".to_owned()
            } else {
                fs::read_to_string(task.join("comm"))
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            };
            let nanoseconds: f64 = first_number(&spent);
            *usage.threads.entry(name).or_default() += nanoseconds / 1e9;
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|c| c.parse().ok()) {
                // The child may have ended meanwhile.
                usage.add(&Self::of(child).unwrap_or_default());
            }
        }
        Ok(usage)
    }

    fn add(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.resident += other.resident;
        self.peak += other.peak;
        for (name, seconds) in &other.threads {
            *self.threads.entry(name.clone()).or_default() += seconds;
        }
    }

    /// Returns the CPU time between `earlier` and now, with the memory of now.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |name: &String| earlier.threads.get(name).copied().unwrap_or(0.0);
        let threads = self.threads.iter();
        Self {
            cpu: self.cpu - earlier.cpu,
            threads: threads
                .map(|(name, seconds)| (name.clone(), seconds - before(name)))
                .collect(),
            ..*self
        }
    }
}

/// Returns the seconds of CPU that this process has used, without its children.
///
/// # Errors
/// If there is no /proc.
pub fn own_cpu() -> io::Result<f64> {
    cpu_of(std::process::id())
}

/// Returns the seconds of CPU of this process's children that have ended and were waited for.
///
/// # Errors
/// If there is no /proc.
pub fn ended_children_cpu() -> io::Result<f64> {
    seconds(std::process::id(), 13..15)
}

/// Returns a process's seconds of user and system time.
fn cpu_of(pid: u32) -> io::Result<f64> {
    seconds(pid, 11..13)
}

/// Returns the sum of times in /proc/PID/stat, by their places after the name.
fn seconds(pid: u32, places: Range<usize>) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name is in parentheses and may contain any character. User and system time are the 12th and 13th field after it, and those of
    // children that have ended the next two.
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let ticks = fields.get(places).unwrap_or_default().iter();
    Ok(ticks.map(|t| first_number(t)).sum::<f64>() / TICKS_PER_SECOND)
}

fn first_number(text: &str) -> f64 {
    let first = text.split_whitespace().next();
    first.and_then(|n| n.parse().ok()).unwrap_or(0.0)
}

fn kibibytes(size: &str) -> u64 {
    first_number(size) as u64 * 1024
}

/// The busy seconds of all cores at a moment, including stolen time.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    at: Instant,
    busy: f64,
}

impl Machine {
    /// Reads the current values.
    ///
    /// # Errors
    /// If there is no /proc/stat.
    pub fn now() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let all = stat.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal
        let fields: Vec<f64> = all
            .split_whitespace()
            .skip(1)
            .take(8)
            .map(first_number)
            .collect();
        let idle: f64 = fields.get(3..5).unwrap_or_default().iter().sum();
        Ok(Self {
            at: Instant::now(),
            busy: (fields.iter().sum::<f64>() - idle) / TICKS_PER_SECOND,
        })
    }

    /// Returns the cores that were busy on average since `earlier`, without `own` seconds of CPU.
    #[must_use]
    pub fn others_since(&self, earlier: &Self, own: f64) -> f64 {
        let seconds = (self.at - earlier.at).as_secs_f64();
        ((self.busy - earlier.busy - own) / seconds).max(0.0)
    }
}
